"""What perfkit costs a training run: one process trains with perfkit and without, in turns.

    python benchmarks/overhead.py [--check] [--sizes small medium] [--out docs/overhead.md]
    python benchmarks/overhead.py --calls

The same model, optimizer and loader on the same core, so that all lies at the same addresses. A
turn is 3 to 60 steps, some 60 ms, so that what changes the machine's speed changes it for both
turns of a pair; who goes first alternates. perfkit is started before each of its turns and stopped
after it. The first steps of a turn find cold caches and are left out. After four pairs new models
take their place, as where one lies matters, too.

`always-on` compares steps between perfkit's profiled windows to the plain loop. `profiled` compares
steps inside a perfkit window to steps inside a torch.profiler window. Before a turn as many batches
are taken as a loader's very first, which are timed in full, and not trained on; of its first 200,
those that follow 100 ms after the last one that was are timed in full, too, and later ones five a
second. Windows that slow steps would open are off.

A row's ratio is the median over pairs of the ratio of their mean step times, so it leaves out what
perfkit does once a second; what is added is the median over pairs of the difference. Intervals
are of 95 % of resamplings of the models. --check compares the plain loop to itself, and to one with
1 % of a step added, which says what can be told apart. Rows are added to those in --rows, in place
of older ones of the kind, and --out is written from all, so that sizes can be measured apart.
--calls counts what perfkit's own code calls in a step, which nothing disturbs.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from itertools import pairwise, takewhile
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, schedule

import perfkit
from perfkit import collectors
from perfkit.version import __version__

HOW = """\
# What perfkit costs a training run

Made on {date} with perfkit {version}, torch {torch} and Python {python}, on one core of a shared
host, by these with `--rows FILE`, and `--out` in the end:

{commands}

Do not edit. One process trains the same model, by turns of a few steps with perfkit and without. A
ratio is the median over pairs of neighbouring turns, of their mean steps, with the interval of 95 %
of resamplings of the models, of which new ones are made after four pairs; `step, ms` and the
ratio's base are of the turns without perfkit. What perfkit does once a second is not in it.
The aims are {aims}.
`kept`: the whole interval is within the aim; `missed`: none of it is; `not told`: the aim lies
inside, or all of it lies below 1, where only the machine can have made a difference.
`python benchmarks/overhead.py --help` says more.

`plain / plain` and `1 % more / plain` check the method: the first has to be 1, the second 1.01.
The loader makes its batches in the training process, which times one in 100 ms in full; a loader
with workers leaves that to these.
"""
TITLES = ["model", "compared", "step, ms", "ratio", "added, us a step", "pairs", "aim"]
RESAMPLINGS = 2000
FEWEST_ROUNDS = 6
MOST_STEPS = 60
"""Of a turn."""
SKIPPED = 10
"""Batches before a turn: a loader's first 8 are timed in full, others of its first 200 if 100 ms
lie between them."""
ORDER = (True, False, False, True)
"""Whether perfkit goes first, in the pairs of a model."""
_AT_REST = 200
"""Steps after which collectors rest between windows."""
_ACTIVE = MOST_STEPS + 20 + SKIPPED
"""Steps of a window, which do not end with the turn."""
EPOCH = 1024
"""Batches, more than a turn takes."""
WARMUP = 20


class Size(NamedTuple):
    """A model and its batch: samples of `length` vectors (0: of one) of `width`, `depth` layers."""

    batch: int
    length: int
    width: int
    depth: int

    @property
    def name(self) -> str:
        """What it is, in words."""
        kind = "transformer" if self.length else "perceptron"
        samples = f"{self.batch} x {self.length}" if self.length else self.batch
        return f"{kind}, {self.depth} layers of {self.width}, batch {samples}"

    def network(self) -> torch.nn.Module:
        """The model."""
        if not self.length:
            layers = [torch.nn.Linear(self.width, self.width) for _ in range(self.depth)]
            return torch.nn.Sequential(*layers)
        layer = torch.nn.TransformerEncoderLayer(
            self.width, self.width // 32, 4 * self.width, dropout=0.0, batch_first=True
        )
        return torch.nn.TransformerEncoder(layer, self.depth, enable_nested_tensor=False)

    def samples(self, count: int) -> torch.Tensor:
        """So many."""
        shape = (self.length, self.width) if self.length else (self.width,)
        return torch.randn(count, *shape)


SIZES = {
    "tiny": Size(16, 0, 32, 2),
    "small": Size(32, 0, 128, 2),
    "medium": Size(4, 16, 64, 1),
    "large": Size(4, 32, 128, 2),
    "huge": Size(8, 64, 128, 4),
}


class Training:
    """A model, its optimizer, and a loader that makes batches in this process."""

    def __init__(self, size: Size) -> None:
        torch.manual_seed(0)
        self._net = size.network()
        self._optimizer = torch.optim.AdamW(self._net.parameters(), 1e-4)
        data = torch.utils.data.TensorDataset(size.samples(size.batch * 64))
        order = [i % len(data) for i in range(size.batch * EPOCH)]
        self.loader = torch.utils.data.DataLoader(data, batch_size=size.batch, sampler=order)
        """Of more batches than a turn has."""
        self.step_s = statistics.median(timed(self, Loop(iter(self.loader), nothing), WARMUP))
        """Of the plain loop, when it was new."""

    def step(self, batch: torch.Tensor) -> None:
        """Train on a batch."""
        self._optimizer.zero_grad()
        self._net(batch).square().mean().backward()
        self._optimizer.step()


class Loop(NamedTuple):
    """A loop that can be gone on with: its batches, and what it calls after each step."""

    batches: Iterator[Any]
    after: Callable[[], object]


def nothing() -> None:
    """What a plain loop does after a step."""


@contextmanager
def plain(training: Training) -> Iterator[Loop]:
    """The loop as it is."""
    yield Loop(iter(training.loader), nothing)


@contextmanager
def slower(training: Training) -> Iterator[Loop]:
    """The loop with a hundredth of its step time added."""
    added_s = training.step_s / 100

    def spin() -> None:
        end = time.perf_counter() + added_s
        while time.perf_counter() < end:
            pass

    yield Loop(iter(training.loader), spin)


@contextmanager
def always_on(training: Training) -> Iterator[Loop]:
    """The loop between profiled windows, at its steady pace."""
    with (
        tempfile.TemporaryDirectory() as folder,
        perfkit.profile(folder, repeat=0, watch=False) as p,
    ):
        yield Loop(iter(p.steps(training.loader)), nothing)


@contextmanager
def torch_window(training: Training) -> Iterator[Loop]:
    """Steps inside a torch.profiler window."""
    plan = schedule(wait=0, warmup=2, active=_ACTIVE)
    with profile(activities=[ProfilerActivity.CPU], schedule=plan) as p:
        yield Loop(iter(training.loader), p.step)


@contextmanager
def perfkit_window(training: Training) -> Iterator[Loop]:
    """Steps inside a perfkit window."""
    with (
        tempfile.TemporaryDirectory() as folder,
        perfkit.profile(folder, wait=0, warmup=2, active=_ACTIVE, watch=False) as p,
    ):
        yield Loop(iter(p.steps(training.loader)), nothing)


Mode = Callable[[Training], AbstractContextManager[Loop]]


class Comparison(NamedTuple):
    """Two ways to train; ours is expected to be the slower one."""

    name: str
    ours: Mode
    theirs: Mode


COMPARED = {
    compared.name: compared
    for compared in (
        Comparison("always-on / plain", always_on, plain),
        Comparison("profiled / torch.profiler", perfkit_window, torch_window),
        Comparison("plain / plain", plain, plain),
        Comparison("1 % more / plain", slower, plain),
    )
}
AIMS = {"always-on / plain": 1.01, "profiled / torch.profiler": 1.05}
"""The ratio at most; comparisons without one check the method."""


def timed(training: Training, loop: Loop, count: int) -> list[float]:
    """Seconds that each of the next steps takes, its data and what comes after it included."""
    marks = [time.perf_counter()]
    for _ in range(count):
        (batch,) = next(loop.batches)
        training.step(batch)
        loop.after()
        marks.append(time.perf_counter())
    return [b - a for a, b in pairwise(marks)]


class Plan(NamedTuple):
    """How a turn is cut: steps that count, after some that do not."""

    counted: int
    dropped: int

    @classmethod
    def of(cls, step_s: float) -> Plan:
        """About 60 ms."""
        counted = min(max(round(0.06 / step_s), 3), MOST_STEPS)
        return cls(counted, max(counted // 5, 1))


class Pair(NamedTuple):
    """Mean step times of two neighbouring turns, in seconds."""

    ours_s: float
    theirs_s: float


class Middle(msgspec.Struct):
    """A median, and between what it lies in 95 % of resamplings."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[Sequence[float]]) -> Middle:
        """Of all numbers; resampled by rounds, whose numbers have something in common."""
        found, random = np.array(rounds), np.random.default_rng(0)
        drawn = random.integers(0, len(found), (RESAMPLINGS, len(found)))
        medians = np.median(found[drawn].reshape(RESAMPLINGS, -1), axis=1)
        return cls(float(np.median(found)), *np.quantile(medians, (0.025, 0.975)).tolist())

    def text(self, digits: int) -> str:
        """As in `1.002 (0.999 to 1.004)`."""
        value, low, high = (f"{v:.{digits}f}" for v in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


class Row(msgspec.Struct):
    """A comparison on a model."""

    size: str
    compared: str
    step_ms: float
    ratio: Middle
    added_us: Middle
    pairs: int
    command: str

    @property
    def said(self) -> str:
        """Whether the aim is kept, as far as the interval can tell; checks have none."""
        aim = AIMS.get(self.compared)
        if aim is None:
            return ""
        if self.ratio.high < 1:  # no profiler makes a step faster
            return "not told"
        if self.ratio.high <= aim:
            return "kept"
        return "missed" if self.ratio.low > aim else "not told"

    def cells(self) -> list[str]:
        """Of the table."""
        return [SIZES[self.size].name, self.compared, f"{self.step_ms:.2f}", self.ratio.text(3),
                self.added_us.text(0), str(self.pairs), self.said]  # fmt: skip


def turn(training: Training, mode: Mode, plan: Plan) -> float:
    """A turn's mean step time, in seconds."""
    with mode(training) as loop:
        for _ in range(SKIPPED):
            next(loop.batches)
        timed(training, loop, plan.dropped)
        return statistics.fmean(timed(training, loop, plan.counted))


def pair(training: Training, compared: Comparison, plan: Plan, ours_first: bool) -> Pair:
    """A turn of each."""
    order = (compared.ours, compared.theirs)
    took = [turn(training, mode, plan) for mode in order[:: 1 if ours_first else -1]]
    return Pair(*took[:: 1 if ours_first else -1])


def measured(size: str, compared: Comparison, seconds: float) -> Row:
    """A row, of as many models as the time allows."""
    plan = Plan.of(Training(SIZES[size]).step_s)
    check = "" if compared.name in AIMS else " --check"
    rounds, end = list[list[Pair]](), time.monotonic() + seconds
    while len(rounds) < FEWEST_ROUNDS or time.monotonic() < end:
        training = Training(SIZES[size])
        rounds.append([pair(training, compared, plan, ours_first) for ours_first in ORDER])
    return Row(
        size=size,
        compared=compared.name,
        step_ms=statistics.median(p.theirs_s for pairs in rounds for p in pairs) * 1e3,
        ratio=Middle.of([[p.ours_s / p.theirs_s for p in pairs] for pairs in rounds]),
        added_us=Middle.of([[(p.ours_s - p.theirs_s) * 1e6 for p in pairs] for pairs in rounds]),
        pairs=sum(map(len, rounds)),
        command=f"python benchmarks/overhead.py{check} --seconds {seconds:g} --sizes {size}",
    )


def calls(training: Training, skipped: int, **options: Any) -> str:
    """What perfkit's code is called and calls in a step after so many: the median of nine."""
    folder, counts = str(Path(collectors.__file__).parent), list[tuple[int, int]]()
    found = {"call": 0, "c_call": 0}

    def count(frame: FrameType, event: str, _: object) -> None:
        if event in found and frame.f_code.co_filename.startswith(folder):
            found[event] += 1

    with tempfile.TemporaryDirectory() as root, perfkit.profile(root, watch=False, **options) as p:
        for number, (batch,) in enumerate(p.steps(training.loader)):
            counts.append((found["call"], found["c_call"]))
            if number == skipped:
                sys.setprofile(count)
            training.step(batch)
            if number == skipped + 10:
                break
        sys.setprofile(None)
    python, c = (statistics.median(b - a for a, b in pairwise(of))
                 for of in zip(*counts[skipped:], strict=True))  # fmt: skip
    return f"{python:.0f} Python functions, {c:.0f} C functions"


def document(rows: Sequence[Row]) -> str:
    """Markdown: how it was measured, the table, and what follows from it."""
    how = HOW.format(
        commands="\n".join(f"    {command}" for command in dict.fromkeys(r.command for r in rows)),
        date=date.today().isoformat(),
        version=__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        aims=" and ".join(f"{aim} of `{name}`" for name, aim in AIMS.items()),
    )
    ordered = sorted(rows, key=lambda r: (list(COMPARED).index(r.compared), r.step_ms))
    table = [TITLES, ["---"] * len(TITLES), *(row.cells() for row in ordered)]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return "\n".join([how, *lines, "", *(held(rows, name) for name in AIMS), ""])


def held(rows: Sequence[Row], compared: str) -> str:
    """From which step time on the aim is kept, in the rows that say it of all longer steps too."""
    of = sorted((r for r in rows if r.compared == compared), key=lambda r: -r.step_ms)
    kept = list(takewhile(lambda row: row.said == "kept", of))
    aim = f"- `{compared}`, at most {AIMS[compared]}:"
    return (
        f"{aim} kept from steps of {kept[-1].step_ms:.1f} ms on." if kept else f"{aim} not shown."
    )


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of a row")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--check", action="store_true", help="try the method, and not perfkit")
    parser.add_argument("--calls", action="store_true", help="count calls, and measure no time")
    parser.add_argument("--rows", type=Path, help="a file of rows, which new ones are added to")
    parser.add_argument("--out", type=Path, help="write the document here, as Markdown")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    asked = options(arguments)
    torch.set_num_threads(1)
    if asked.calls:
        training = Training(SIZES["tiny"])
        print("always-on:", calls(training, _AT_REST, repeat=0))
        print("profiled:", calls(training, 20, wait=0, warmup=2, active=100))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = {(row.size, row.compared): row for row in read(asked.rows)}
    for size in asked.sizes:
        for name in (name for name in COMPARED if (name in AIMS) is not asked.check):
            row = rows[size, name] = measured(size, COMPARED[name], asked.seconds)
            print("  ".join(row.cells()), flush=True)
    if asked.rows:
        asked.rows.write_bytes(msgspec.json.encode(list(rows.values())))
    if asked.out:
        asked.out.write_text(document(list(rows.values())), "utf-8")


def read(path: Path | None) -> list[Row]:
    """The rows of earlier runs."""
    known = path is not None and path.exists()
    return msgspec.json.decode(path.read_bytes(), type=list[Row]) if path and known else []


if __name__ == "__main__":
    main()
