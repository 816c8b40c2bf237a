"""The device's own work: many tiny kernels, allocation, precision, occupancy, and healthy runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch

from sample_traces.scenarios.base import Program, Scenario, Setting
from sample_traces.scenarios.training import (
    SMALL_GPU,
    Size,
    Trainer,
    fast_loader,
    plain_program,
    side_stream,
)

_NO_GPU = {"cpu": "it is about kernels and memory of a GPU"}
_ONE_LAYER = Size(batch=4096, width=4096, layers=1, dtype=torch.bfloat16)


@contextmanager
def _healthy(setting: Setting) -> Generator[Program]:
    yield plain_program(setting)


def _tiny_operations(setting: Setting) -> Callable[[], None]:
    """Thousands of operations of a microsecond or two, one after the other."""
    state = torch.zeros(16_384, device=setting.device)

    def run() -> None:
        for _ in range(int(750 * setting.dose)):
            state.mul_(0.999).add_(0.001)

    return run


def _as_graph(run: Callable[[], None]) -> Callable[[], None]:
    """The same kernels behind a single launch."""
    aside = side_stream()
    with torch.cuda.stream(aside):
        run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


@contextmanager
def _tiny_kernels(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting, _ONE_LAYER)
    run = _tiny_operations(setting)
    tiny = run if setting.is_faulty else _as_graph(run)

    def step(batch: torch.Tensor) -> None:
        trainer.step(batch)
        tiny()

    yield Program(fast_loader(setting, _ONE_LAYER), step)


@contextmanager
def _allocator(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting)

    def step(batch: torch.Tensor) -> None:
        trainer.step(batch)
        for _ in range(max(round(2 * setting.dose), 1)):
            scratch = [torch.empty(32 << 20, device=setting.device) for _ in range(16)]
            scratch.clear()
            if setting.is_faulty:
                torch.cuda.empty_cache()

    yield Program(fast_loader(setting), step)


@contextmanager
def _float32(setting: Setting) -> Generator[Program]:
    size = Size(batch=4096, width=4096, layers=max(round(4 * setting.dose), 1))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if setting.is_faulty else "high")
    yield plain_program(setting, size)
    torch.set_float32_matmul_precision(precision)


@contextmanager
def _low_occupancy(setting: Setting) -> Generator[Program]:
    trainer = Trainer(setting, SMALL_GPU)
    rows = 4 if setting.is_faulty else 4096
    values = torch.zeros(rows, (16 << 20) // rows, device=setting.device)

    def step(batch: torch.Tensor) -> None:
        trainer.step(batch)
        for _ in range(max(round(20 * setting.dose), 1)):
            torch.softmax(values, dim=1)

    yield Program(fast_loader(setting, SMALL_GPU), step)


SCENARIOS = (
    Scenario(
        name="tiny_kernels",
        program=_tiny_kernels,
        injected="1500 kernels of about 2 us each step, each launched for itself.",
        fixed="The same kernels in a CUDA graph.",
        cause="launch",
        also=("dispatch", "python"),
        finding="launch-bound",
        skip=_NO_GPU,
        active=3,
    ),
    Scenario(
        name="allocator_churn",
        program=_allocator,
        injected="torch.cuda.empty_cache() twice a step, after 16 buffers of 128 MiB.",
        fixed="The same buffers without empty_cache().",
        cause="allocator",
        finding="allocator-churn",
        skip=_NO_GPU,
    ),
    Scenario(
        name="float32_matmul",
        program=_float32,
        injected="4 layers train in float32 with TF32 off.",
        fixed="The same layers with TF32.",
        finding="low-precision-unused",
        skip=_NO_GPU,
    ),
    Scenario(
        name="low_occupancy",
        program=_low_occupancy,
        injected="20 softmaxes over 4 rows of 4 Mi numbers: 4 blocks on the whole GPU.",
        fixed="As many numbers in 4096 rows.",
        skip=_NO_GPU,
    ),
    Scenario(
        name="deep_queue",
        program=_healthy,
        injected="Nothing: large kernels, queued far ahead.",
        fixed="Nothing.",
        healthy=True,
        forms=("fixed",),
        skip={"cpu": "a CPU has no queue"},
    ),
    Scenario(
        name="healthy",
        program=_healthy,
        injected="Nothing.",
        fixed="Nothing.",
        healthy=True,
        forms=("fixed",),
        skip={"cuda": "deep_queue is the healthy run of a GPU"},
    ),
)
