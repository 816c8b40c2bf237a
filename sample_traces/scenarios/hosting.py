"""The host: Python between operations, garbage collection, checkpoints, too few cores."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from sample_traces.scenarios.base import (
    Program,
    Scenario,
    Setting,
    counted_work,
    python_work,
)
from sample_traces.scenarios.training import (
    SMALL_GPU,
    Size,
    Trainer,
    fast_loader,
    size_for,
)

_OFTEN, _RARELY = 5, 500  # steps from one checkpoint to the next
_OBJECTS = 600_000
_AT_MOST_S = 60


def _launching(setting: Setting) -> Size:
    """A model whose kernels take less time than what the host is made to do."""
    return SMALL_GPU if setting.on_gpu else size_for(setting)


@contextmanager
def _python_between(setting: Setting) -> Generator[Program]:
    size = _launching(setting)
    trainer = Trainer(setting, size)
    pause = 8 * setting.dose if setting.is_faulty else 0.0

    def step(batch: torch.Tensor) -> None:
        trainer.step(batch, (lambda: python_work(pause)) if pause else None)

    yield Program(fast_loader(setting, size), step)


@contextmanager
def _gc_storm(setting: Setting) -> Generator[Program]:
    """What was there before is frozen in both forms, so that the cost follows the dose."""
    trainer = Trainer(setting)
    gc.collect()
    gc.freeze()
    objects = [[i] for i in range(int(_OBJECTS * setting.dose) * (2 if setting.on_gpu else 1))]

    def step(batch: torch.Tensor) -> int:
        trainer.step(batch)
        if setting.is_faulty:
            gc.collect()
        return len(objects)

    if not setting.is_faulty:
        gc.freeze()
    yield Program(fast_loader(setting), step)
    gc.unfreeze()


@contextmanager
def _checkpoint(setting: Setting) -> Generator[Program]:
    """A thread of its own would be no cure: torch.save holds Python's lock for most of its time."""
    trainer = Trainer(setting)
    every = _OFTEN if setting.is_faulty else _RARELY
    file = setting.scratch / "checkpoint.pt"
    parts, numbers = 4, int(32 * setting.dose * 2**20) // 4
    state = [torch.zeros(numbers, device=setting.device) for _ in range(parts)]
    done = 0

    def step(batch: torch.Tensor) -> None:
        nonlocal done
        trainer.step(batch)
        done += 1
        if done % every == 0:
            torch.save(state, file)

    yield Program(fast_loader(setting), step)


@contextmanager
def _contention(setting: Setting) -> Generator[Program]:
    """On a GPU the host needs most of the step's time, so that a slower one holds the GPU up."""
    size = _launching(setting)
    trainer = Trainer(setting, size)
    between = (lambda: counted_work(75_000)) if setting.on_gpu else None
    count = round(2 * setting.dose * (os.cpu_count() or 1)) if setting.is_faulty else 0
    busy = [_busy_process() for _ in range(count)]
    try:
        yield Program(fast_loader(setting, size), lambda batch: trainer.step(batch, between))
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _busy_process() -> subprocess.Popen[Any]:
    """Keeps a core busy until it is killed; by itself it ends after a minute."""
    code = f"import time; end = time.time() + {_AT_MOST_S}\nwhile time.time() < end: pass"
    return subprocess.Popen([sys.executable, "-S", "-c", code])


SCENARIOS = (
    Scenario(
        name="python_between",
        program=_python_between,
        injected="8 ms of Python after each layer of the forward pass.",
        fixed="No Python between the layers.",
        cause="python",
        finding="launch-bound",
        cpu_finding="python-overhead",
    ),
    Scenario(
        name="gc_storm",
        program=_gc_storm,
        injected=f"gc.collect() each step, with {_OBJECTS:,} live lists (on a GPU twice as many).",
        fixed="No gc.collect(), and gc.freeze() before the first step.",
        cause="gc",
        finding="garbage-collection",
        cpu_finding="garbage-collection",
    ),
    Scenario(
        name="checkpoint",
        program=_checkpoint,
        injected=f"torch.save of 128 MiB every {_OFTEN} steps, in the training thread.",
        fixed=f"The same every {_RARELY} steps, so that a short run sees none.",
        cause="checkpoint",
        finding="synchronous-checkpoint",
        cpu_finding="synchronous-checkpoint",
    ),
    Scenario(
        name="cpu_contention",
        program=_contention,
        injected="Two busy processes on each core of the machine.",
        fixed="No other process.",
        finding="cpu-contention",
        cpu_finding="cpu-contention",
    ),
)
