"""What perfkit costs a training run: step times with it against without, alternating.

    python benchmarks/overhead.py [--calls]

`always-on` compares a loop with perfkit between its profiled windows to the plain loop; `profiled`
compares steps inside a perfkit window to steps inside a torch.profiler window with the same
options. The first 300 steps of each always-on block are left out: of a loader's first 200 batches
each is timed in full, and what a run keeps to is the pace after them. Windows that slow steps
would open are off.

Two numbers a row, each the median over rounds with the quartiles: the ratio of median step times
(wall clock) of two neighbouring blocks, and what is added to the processor time of the training
thread in microseconds a step. That compares the steps' 10th percentiles, which other work on the
machine disturbs least. --calls counts instead what perfkit's own code calls in a step, which
nothing disturbs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, schedule

import perfkit
from perfkit import collectors

SIZES = {
    "0.5 ms": (16, 32, 2),
    "1 ms": (64, 256, 2),
    "5 ms": (128, 512, 4),
    "25 ms": (256, 1024, 4),
}
"""Batch, width and depth of a multi-layer perceptron, named by its rough step time."""
SKIPPED = 300
WARMUP = 5


class Times(NamedTuple):
    """Of a block's steps the median wall time and 10th percentile of processor time, in seconds."""

    wall: float
    cpu: float


class Training:
    """A model, its optimizer, and a loop over batches that a DataLoader makes."""

    def __init__(self, batch: int, width: int, depth: int) -> None:
        torch.manual_seed(0)
        layers = [torch.nn.Linear(width, width) for _ in range(depth)]
        self._net = torch.nn.Sequential(*layers)
        self._optimizer = torch.optim.SGD(self._net.parameters(), 1e-3)
        data = torch.utils.data.TensorDataset(torch.randn(batch * 64, width))
        self._loader = torch.utils.data.DataLoader(data, batch_size=batch)

    def batches(self, count: int) -> Iterator[Any]:
        """So many batches, of as many epochs as that takes."""
        while count > 0:
            for batch in self._loader:
                yield batch
                count -= 1
                if count == 0:
                    return

    def step(self, batch: torch.Tensor) -> None:
        """Train on a batch."""
        self._optimizer.zero_grad()
        self._net(batch).square().mean().backward()
        self._optimizer.step()

    def steps(self, batches: Iterable[Any], after: Callable[[], None], skipped: int) -> Times:
        """Train on the batches; a step's times include its data and `after`."""
        wall, cpu = [time.perf_counter()], [time.thread_time()]
        for (batch,) in batches:
            self.step(batch)
            after()
            wall.append(time.perf_counter())
            cpu.append(time.thread_time())
        wall_s, cpu_s = ([b - a for a, b in pairwise(marks[skipped:])] for marks in (wall, cpu))
        return Times(statistics.median(wall_s), statistics.quantiles(cpu_s, n=10)[0])


def nothing() -> None:
    """What a plain loop does after a step."""


def plain(training: Training, count: int) -> Times:
    """The loop as it is."""
    return training.steps(training.batches(count), nothing, WARMUP)


def always_on(training: Training, count: int) -> Times:
    """The loop between profiled windows, at its steady pace."""
    with (
        tempfile.TemporaryDirectory() as folder,
        perfkit.profile(folder, repeat=0, watch=False) as p,
    ):
        return training.steps(p.steps(training.batches(count + SKIPPED)), nothing, SKIPPED)


def torch_window(training: Training, count: int) -> Times:
    """Steps inside a torch.profiler window."""
    plan = schedule(wait=0, warmup=2, active=count + 10)
    with profile(activities=[ProfilerActivity.CPU], schedule=plan) as p:
        return training.steps(training.batches(count), p.step, WARMUP)


def perfkit_window(training: Training, count: int) -> Times:
    """Steps inside a perfkit window."""
    with (
        tempfile.TemporaryDirectory() as folder,
        perfkit.profile(Path(folder), wait=0, warmup=2, active=count + 10) as p,
    ):
        return training.steps(p.steps(training.batches(count)), nothing, WARMUP)


def calls(training: Training, skipped: int, **options: Any) -> str:
    """What perfkit's code is called and calls in a step after so many: the median of nine."""
    folder, counts = str(Path(collectors.__file__).parent), list[tuple[int, int]]()
    found = {"call": 0, "c_call": 0}

    def count(frame: FrameType, event: str, _: object) -> None:
        if event in found and frame.f_code.co_filename.startswith(folder):
            found[event] += 1

    with tempfile.TemporaryDirectory() as root, perfkit.profile(root, watch=False, **options) as p:
        for number, (batch,) in enumerate(p.steps(training.batches(skipped + 10))):
            counts.append((found["call"], found["c_call"]))
            if number == skipped:
                sys.setprofile(count)
            training.step(batch)
        sys.setprofile(None)
    python, c = (statistics.median(b - a for a, b in pairwise(of))
                 for of in zip(*counts[skipped:], strict=True))  # fmt: skip
    return f"{python:.0f} Python functions, {c:.0f} C functions"


Run = Callable[[Training, int], Times]


def compare(training: Training, count: int, rounds: int, ours: Run, theirs: Run) -> str:
    """Ratio and added microseconds, ours to theirs, a round each; who goes first alternates."""
    ratios, added_us = [], []
    for number in range(rounds + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        times = {run: run(training, count) for run in order}
        ratios.append(times[ours].wall / times[theirs].wall)
        added_us.append((times[ours].cpu - times[theirs].cpu) * 1e6)
    return f"{_quartiles(ratios[1:], 3)}   {_quartiles(added_us[1:], 1)} us"  # the first warms up


def _quartiles(found: list[float], digits: int) -> str:
    low, middle, high = (f"{v:.{digits}f}" for v in statistics.quantiles(found, n=4))
    return f"{middle} ({low} to {high})"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a block, at least 50 steps")
    parser.add_argument("--calls", action="store_true", help="count calls, and measure no time")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.calls:
        training = Training(*SIZES["0.5 ms"])
        print("always-on:", calls(training, SKIPPED, repeat=0))
        print("profiled:", calls(training, 20, wait=0, warmup=2, active=100))
        return
    for name in options.sizes:
        training = Training(*SIZES[name])
        step = plain(training, 50).wall
        count = max(int(options.seconds / step), 50)
        for mode, ours, theirs in (
            ("always-on / plain", always_on, plain),
            ("profiled / torch.profiler", perfkit_window, torch_window),
        ):
            row = compare(training, count, options.rounds, ours, theirs)
            print(f"{name:>6} model ({step * 1e3:5.2f} ms a step)  {mode:26} {row}", flush=True)


if __name__ == "__main__":
    main()
