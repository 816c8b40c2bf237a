"""Input: datasets and collation that are too slow, and a slow dataset that costs nothing."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from sample_traces.scenarios.base import Program, Scenario, Setting
from sample_traces.scenarios.training import Batches, Trainer, loader, size_for

_STARVATION = "dataloader-starvation"
_DELIVER_MS = 20  # enough workers give a batch so often, which no step here is shorter than
_TEXT = bytes(range(256)) * 256


class _Stored(Batches):
    """Batches that take a while to come, as from storage: the processor is free meanwhile."""

    def __init__(self, setting: Setting, milliseconds: float) -> None:
        super().__init__(setting.steps, size_for(setting).batch)
        self.seconds = milliseconds / 1000

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.seconds)
        return super().__getitem__(index)


def _one(batch: list[torch.Tensor]) -> torch.Tensor:
    return batch[0]


class _Compressing:
    """A collate function that computes: it compresses 64 kB again and again."""

    def __init__(self, milliseconds: float) -> None:
        self.seconds = milliseconds / 1000

    def __call__(self, batch: list[torch.Tensor]) -> torch.Tensor:
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            zlib.compress(_TEXT, 6)
        return _one(batch)


def _enough_workers(milliseconds: float) -> int:
    """Workers that hide so long a wait for each batch, with one to spare."""
    return math.ceil(milliseconds / _DELIVER_MS) + 1


@contextmanager
def _slow_dataset(setting: Setting) -> Generator[Program]:
    wait = 80 * setting.dose
    workers = 0 if setting.is_faulty else _enough_workers(wait)
    yield _program(setting, _Stored(setting, wait), num_workers=workers)


@contextmanager
def _slow_workers(setting: Setting) -> Generator[Program]:
    wait = 160 * setting.dose
    workers = 2 if setting.is_faulty else _enough_workers(wait)
    yield _program(setting, _Stored(setting, wait), num_workers=workers)


@contextmanager
def _heavy_collate(setting: Setting) -> Generator[Program]:
    dataset = Batches(setting.steps, size_for(setting).batch)
    collate = _Compressing(60 * setting.dose) if setting.is_faulty else _one
    yield _program(setting, dataset, batch_size=1, collate_fn=collate)


@contextmanager
def _hidden_dataset(setting: Setting) -> Generator[Program]:
    wait = 40 * setting.dose
    dataset = _Stored(setting, wait if setting.is_faulty else 0)
    yield _program(setting, dataset, num_workers=_enough_workers(wait))


def _program(setting: Setting, dataset: Batches, **options: Any) -> Program:
    options = {"batch_size": None, **options}
    return Program(loader(setting, dataset, **options), Trainer(setting).step)


SCENARIOS = (
    Scenario(
        name="slow_dataset",
        program=_slow_dataset,
        injected="A batch takes 80 ms to come, in the training process (num_workers=0).",
        fixed=f"{_enough_workers(80)} workers wait for batches ahead of time.",
        cause="dataloader",
        finding=_STARVATION,
        cpu_finding=_STARVATION,
    ),
    Scenario(
        name="slow_workers",
        program=_slow_workers,
        injected="A batch takes 160 ms to come, and 2 workers are too few for that.",
        fixed=f"{_enough_workers(160)} workers.",
        cause="dataloader",
        finding=_STARVATION,
        cpu_finding=_STARVATION,
    ),
    Scenario(
        name="heavy_collate",
        program=_heavy_collate,
        injected="The collate function computes for 60 ms, in the training process.",
        fixed="The collate function passes the batch on.",
        cause="dataloader",
        finding=_STARVATION,
        cpu_finding=_STARVATION,
    ),
    Scenario(
        name="hidden_dataset",
        program=_hidden_dataset,
        injected=f"A batch takes 40 ms to come, which {_enough_workers(40)} workers hide.",
        fixed="A batch takes no time; steps are as long.",
        healthy=True,
    ),
)
