"""What perfkit costs a training run: step-time ratios, alternating in one process.

    python benchmarks/overhead.py

`always-on` compares a loop with perfkit between its profiled windows to the plain loop; `profiled`
compares steps inside a perfkit window to steps inside a torch.profiler window with the same
options. Each ratio is the median over rounds of the ratio of median step times of two
neighbouring blocks, with the quartiles over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

import perfkit

SIZES = {"1 ms": (64, 256, 2), "5 ms": (128, 512, 4), "25 ms": (256, 1024, 4)}
"""Batch, width and depth of a multi-layer perceptron, named by its rough step time."""


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

    def steps(self, batches: Iterable[Any], after: Callable[[], None]) -> list[float]:
        """Train on the batches; seconds of each step, data and `after` included."""
        times = []
        last = time.perf_counter()
        for (batch,) in batches:
            self._optimizer.zero_grad()
            self._net(batch).square().mean().backward()
            self._optimizer.step()
            after()
            now = time.perf_counter()
            times.append(now - last)
            last = now
        return times[2:]


def plain(training: Training, count: int) -> list[float]:
    """The loop as it is."""
    return training.steps(training.batches(count), lambda: None)


def always_on(training: Training, count: int) -> list[float]:
    """The loop between profiled windows."""
    with tempfile.TemporaryDirectory() as folder, perfkit.profile(folder, repeat=0) as p:
        return training.steps(p.steps(training.batches(count)), lambda: None)


def torch_window(training: Training, count: int) -> list[float]:
    """Steps inside a torch.profiler window."""
    plan = schedule(wait=0, warmup=2, active=count + 10)
    with profile(activities=[ProfilerActivity.CPU], schedule=plan) as p:
        return training.steps(training.batches(count), p.step)


def perfkit_window(training: Training, count: int) -> list[float]:
    """Steps inside a perfkit window."""
    with (
        tempfile.TemporaryDirectory() as folder,
        perfkit.profile(Path(folder), wait=0, warmup=2, active=count + 10) as p,
    ):
        return training.steps(p.steps(training.batches(count)), lambda: None)


def ratios(
    training: Training, count: int, rounds: int, ours: Callable[..., list[float]],
    theirs: Callable[..., list[float]],
) -> list[float]:  # fmt: skip
    """Ratio of median step times, ours to theirs, a round each; who goes first alternates."""
    found = []
    for number in range(rounds + 1):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        medians = {run: statistics.median(run(training, count)) for run in order}
        found.append(medians[ours] / medians[theirs])
    return found[1:]  # the first warms up


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.6, help="of a block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, size in SIZES.items():
        training = Training(*size)
        step = statistics.median(plain(training, 50))
        count = max(int(options.seconds / step), 20)
        for mode, ours, theirs in (
            ("always-on / plain", always_on, plain),
            ("profiled / torch.profiler", perfkit_window, torch_window),
        ):
            found = ratios(training, count, options.rounds, ours, theirs)
            low, middle, high = statistics.quantiles(found, n=4)
            print(
                f"{name:>6} model ({step * 1e3:5.2f} ms a step)  {mode:26}"
                f" {middle:.3f}  ({low:.3f} to {high:.3f}, {len(found)} rounds)",
                flush=True,
            )


if __name__ == "__main__":
    main()
