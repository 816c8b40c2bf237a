"""GPU only: calls that make the host wait for the GPU."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset

from sample_traces.scenarios.base import Program, Scenario, Setting, python_work
from sample_traces.scenarios.training import GPU, VOCABULARY, Trainer, fast_loader

_NO_GPU = {"cpu": "on a CPU the host waits for every operation anyway"}


@contextmanager
def _item(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting)
    total = torch.zeros((), device=setting.device)

    def step(batch: torch.Tensor) -> None:
        loss = trainer.step(batch)
        total.add_(loss)
        if setting.is_faulty:
            loss.item()
        python_work(8 * setting.dose)

    yield Program(fast_loader(setting), step)


@contextmanager
def _synchronize(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting)

    def between() -> None:
        if setting.is_faulty:
            torch.cuda.synchronize()
        python_work(1.5 * setting.dose)

    yield Program(fast_loader(setting), lambda batch: trainer.step(batch, between))


class _Images(Dataset[torch.Tensor]):
    """The same big batch each time, in pageable or in pinned memory."""

    def __init__(self, count: int, megabytes: float, *, pinned: bool) -> None:
        self.count = count
        self.data = torch.zeros(int(megabytes * 2**20), dtype=torch.uint8)
        if pinned:
            self.data = self.data.pin_memory()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.data


@contextmanager
def _pageable(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting)
    numbers = torch.arange(GPU.batch, device=setting.device) % VOCABULARY
    images = _Images(setting.steps, 128 * setting.dose, pinned=not setting.is_faulty)

    def step(batch: torch.Tensor) -> None:
        moved = batch.to(setting.device, non_blocking=True)
        trainer.step(numbers + moved[:1])

    yield Program(DataLoader(images, batch_size=None), step)


SCENARIOS = (
    Scenario(
        name="item_every_step",
        program=_item,
        injected="`.item()` on the loss each step, before 8 ms of logging in Python.",
        fixed="The loss stays on the GPU, so that queued kernels hide the same logging.",
        cause="sync",
        finding="host-sync-in-step",
        skip=_NO_GPU,
    ),
    Scenario(
        name="synchronize",
        program=_synchronize,
        injected="torch.cuda.synchronize() after each layer, before 1.5 ms of Python.",
        fixed="The same Python without synchronize(), which queued kernels hide.",
        cause="sync",
        finding="host-sync-in-step",
        skip=_NO_GPU,
    ),
    Scenario(
        name="pageable_copy",
        program=_pageable,
        injected="Each step copies 128 MiB from pageable memory to the GPU.",
        fixed="The same bytes from pinned memory.",
        cause="copy",
        finding="pageable-copy",
        skip={"cpu": "on a CPU nothing is copied to a device"},
    ),
)
