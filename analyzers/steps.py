"""Where one training iteration ends and the next begins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import is_sorted, spans
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.analyzers.own_ranges import family_of, own_ranges
from perfkit.analyzers.repeats import repeats
from perfkit.analyzers.served import PROPOSES, SERVED, VERIFIES
from perfkit.model.diagnosis import Excluded, Marker
from perfkit.model.trace import Int64s, Kind, Trace

_STEP = re.compile(r"^ProfilerStep#(\d{1,15})$")
_OPTIMIZER = re.compile(r"^Optimizer\.step#.*\.step$")
_FEWEST_BORDERS = 3
_MOST_OPTIMIZERS = 6
_UNEVEN = 0.1
_MUCH_LEFT = 0.1  # of the last step's wall time
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Windows:
    """Step windows [start, end) in nanoseconds, in order; shape (steps,)."""

    start: Int64s
    end: Int64s
    labels: tuple[str, ...]
    marker: Marker
    note: str | None = None
    excluded: tuple[Excluded, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.start)

    @property
    def counted(self) -> Int64s:
        """Positions of the steps that enter the means."""
        out = {entry.step for entry in self.excluded}
        return np.array([i for i, label in enumerate(self.labels) if label not in out], np.int64)

    @property
    def edges(self) -> Int64s:
        """All borders, sorted and unique."""
        return np.unique(np.concatenate((self.start, self.end)))


def steps(trace: Trace, work: GpuWork, calls: Launches) -> Windows:
    """Windows from the profiler's marks, else from what repeats, else one window."""
    marks = _marks(trace)
    if marks is not None:
        return _from_marks(trace, work, calls, *marks)
    found = _from_optimizer(trace, calls) or _from_engine(trace, work, calls)
    found = found or _from_own_ranges(trace, work, calls) or _from_kernels(trace, work, calls)
    return found or _one_window(trace, work)


def _marks(trace: Trace) -> tuple[Int64s, Int64s] | None:
    """(rows, step numbers) of the ProfilerStep marks in order of time."""
    rows = _host_marks(trace, _STEP)
    if not len(rows):
        return None
    found = (_STEP.search(trace.names[i]) for i in trace.name[rows].tolist())
    numbers = np.array([int(match[1]) for match in found if match], dtype=np.int64)
    first = np.sort(np.unique(numbers, return_index=True)[1])
    return rows[first], numbers[first]


def _host_marks(trace: Trace, pattern: re.Pattern[str]) -> Int64s:
    on_host = trace.kind != Kind.GPU_ANNOTATION
    return np.flatnonzero(matching(trace, pattern)[trace.name] & on_host)


def _from_marks(
    trace: Trace, work: GpuWork, calls: Launches, rows: Int64s, numbers: Int64s
) -> Windows:
    """Each window runs to the next step's mark; the last of a run to the end of its last kernel."""
    start, mark_end = spans(trace, rows)
    following = np.concatenate((numbers[1:] == numbers[:-1] + 1, [False]))
    next_start = np.concatenate((start[1:], start[-1:]))
    end = next_start.copy()
    for i in np.flatnonzero(~following).tolist():
        end[i] = _last_work(trace, work, calls, int(start[i]), int(mark_end[i]))
    end[:-1] = np.minimum(end[:-1], start[1:])  # a queue may outlast the next run's first mark
    labels = tuple(f"ProfilerStep#{n}" for n in numbers.tolist())
    note = None if trace.info.damage.truncated else _outlasting(end - start, mark_end - end)
    return Windows(start, end, labels, "ProfilerStep", note)


def _outlasting(wall: Int64s, left: Int64s) -> str | None:
    """What to say where the last step's mark is open long after its last GPU operation."""
    if left[-1] <= _MUCH_LEFT * wall[-1]:
        return None
    return (
        f"the last step's mark is open for {left[-1] / 1e6:,.1f} ms after its last GPU operation; "
        "that time is not counted"
    )


def _last_work(trace: Trace, work: GpuWork, calls: Launches, start: int, end: int) -> int:
    """End of the last GPU operation launched in [start, end); `end` without one."""
    launched = np.where(calls.call >= 0, trace.ts[calls.call], work.start)
    inside = work.end[(launched >= start) & (launched < end)]
    return max(int(inside.max()), start) if len(inside) else end


def _from_optimizer(trace: Trace, calls: Launches) -> Windows | None:
    """An iteration ends where the first optimizer's step returns (or every n-th, for several)."""
    rows = _host_marks(trace, _OPTIMIZER)
    rows = rows[trace.name[rows] == trace.name[rows[0]]] if len(rows) else rows
    ends = spans(trace, rows)[1]
    if len(ends) < _FEWEST_BORDERS:
        return None
    launched = np.sort(trace.ts[calls.call[calls.call >= 0]])
    choices = [ends[every - 1 :: every] for every in range(1, _MOST_OPTIMIZERS + 1)]
    choices = [borders for borders in choices if len(borders) >= _FEWEST_BORDERS]
    even = [b for b in choices if _even(np.diff(np.searchsorted(launched, b)))]
    note = "no ProfilerStep marks: steps run from one optimizer step's end to the next"
    return _tiles((even or choices)[0], note)


def _even(counts: Int64s) -> bool:
    """Whether iterations launch about as much as one another."""
    usual = float(np.median(counts))
    return bool((np.abs(counts - usual) <= _UNEVEN * usual).mean() >= 1 - _UNEVEN)


def _from_engine(trace: Trace, work: GpuWork, calls: Launches) -> Windows | None:
    """A serving engine has a range around each step of its scheduler."""
    rows = _host_marks(trace, SERVED)
    if matching(trace, VERIFIES)[trace.name[rows]].any():
        rows = rows[~matching(trace, PROPOSES)[trace.name[rows]]]
    return _from_ranges(trace, work, calls, rows, "the ranges of the serving engine")


def _from_own_ranges(trace: Trace, work: GpuWork, calls: Launches) -> Windows | None:
    """The program may have a range of its own around each iteration, or around a part of it."""
    rows = own_ranges(trace, work, calls)
    if not len(rows):
        return None
    name = family_of(trace.names[trace.name[rows[0]]][:_LONGEST_LABEL])
    what = f"the program's own ranges ({name})"
    return _from_ranges(trace, work, calls, rows, what)


def _from_ranges(
    trace: Trace, work: GpuWork, calls: Launches, rows: Int64s, what: str
) -> Windows | None:
    """Windows that begin where these ranges do."""
    if len(rows) < _FEWEST_BORDERS:
        return None
    windows = _from_marks(trace, work, calls, rows, np.arange(len(rows)))
    return replace(
        windows,
        labels=tuple(f"step {i + 1}" for i in range(len(rows))),
        marker="detected",
        note=f"no ProfilerStep marks: steps are {what}",
    )


def _from_kernels(trace: Trace, work: GpuWork, calls: Launches) -> Windows | None:
    """An iteration is one period of a kernel sequence that repeats from end to end.

    Where no kernel runs once in each, a copy may, such as that of the batch or of the loss.
    """
    launched = np.where(calls.call >= 0, trace.ts[calls.call], work.start)
    for what, rows in (
        ("a kernel sequence that repeats", np.flatnonzero(~work.is_copy)),
        ("a sequence of kernels and copies that repeats", np.arange(len(work))),
    ):
        order = rows[np.argsort(launched[rows], kind="stable")]
        starts = repeats(trace.name[work.rows[order]], launched[order])
        if starts is not None:
            return _tiles(starts, f"no ProfilerStep marks: steps are {what}")
    return None


def _tiles(borders: Int64s, note: str) -> Windows:
    labels = tuple(f"step {i + 1}" for i in range(len(borders) - 1))
    return Windows(borders[:-1], borders[1:], labels, "detected", note)


def _one_window(trace: Trace, work: GpuWork) -> Windows:
    """From the first host operation to the end of the last GPU operation."""
    host = (trace.kind == Kind.OPERATOR) | (trace.kind == Kind.ANNOTATION)
    host |= trace.kind == Kind.RUNTIME
    start = min([*trace.ts[host][:1].tolist(), *work.start[:1].tolist()], default=0)
    ends = work.end if len(work) else trace.end[host]
    end = int(ends.max()) if len(ends) else start
    note = "no step marks and nothing repeats: the whole recording counts as one step"
    borders = np.array([start, max(end, start)], dtype=np.int64)
    return replace(_tiles(borders, note), labels=("whole recording",), marker="none")


def step_of(times: Int64s, windows: Windows) -> Int64s:
    """Position of the window that holds each time, -1 outside; windows are disjoint."""
    borders = np.stack((windows.start, windows.end), axis=1).ravel()
    if is_sorted(times) and is_sorted(borders):  # a few searches, where there are many times
        count = np.diff(np.searchsorted(times, borders), prepend=0, append=len(times))
        found = np.full(len(count), -1, dtype=np.int64)
        found[1::2] = np.arange(len(windows))
        return np.repeat(found, count)
    at = np.searchsorted(windows.start, times, side="right") - 1
    inside = (at >= 0) & (times < windows.end[np.maximum(at, 0)])
    return np.where(inside, at, -1)
