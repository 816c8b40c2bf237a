"""Algebra of half-open time intervals in integer nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.model.trace import Bools, Int64s, Trace


@dataclass(frozen=True, slots=True)
class Intervals:
    """Disjoint, sorted, non-empty intervals; `start` and `end` have shape (intervals,)."""

    start: Int64s
    end: Int64s

    def __len__(self) -> int:
        return len(self.start)

    def covered_before(self, times: Int64s) -> Int64s:
        """Covered nanoseconds before each time; same shape as `times`, which need no order."""
        if not len(self):
            return np.zeros(np.shape(times), dtype=np.int64)
        total = np.concatenate(([0], np.cumsum(self.end - self.start)))
        index = np.searchsorted(self.start, times, side="right")
        excess = np.maximum(self.end[np.maximum(index - 1, 0)] - times, 0)
        return np.asarray(total[index] - np.where(index > 0, excess, 0), dtype=np.int64)

    def covered(self, start: Int64s, end: Int64s) -> Int64s:
        """Covered nanoseconds inside each window [start, end)."""
        return self.covered_before(end) - self.covered_before(start)

    def complement(self, start: int, end: int) -> Intervals:
        """What of [start, end) is not covered."""
        inside = self.clip(start, end)
        return _non_empty(
            np.concatenate(([start], inside.end)), np.concatenate((inside.start, [end]))
        )

    def clip(self, start: int, end: int) -> Intervals:
        """The part inside [start, end)."""
        return _non_empty(np.maximum(self.start, start), np.minimum(self.end, end))


def ends(trace: Trace, rows: Int64s | Bools) -> Int64s:
    """End of these events; `Trace.end` adds up those of all."""
    return np.asarray(trace.ts[rows] + trace.dur[rows])


def spans(trace: Trace, rows: Int64s | Bools) -> tuple[Int64s, Int64s]:
    """Start and end of these events."""
    return trace.ts[rows], ends(trace, rows)


def distinct(times: Int64s) -> Int64s:
    """Each time once, sorted; quicker than np.unique where most differ."""
    times = times if is_sorted(times) else np.sort(times)
    return times[np.diff(times, prepend=times[:1] - 1) > 0]


def is_sorted(times: Int64s) -> bool:
    """Whether no time is before the one that precedes it."""
    return bool((times[1:] >= times[:-1]).all())


def union(start: Int64s, end: Int64s) -> Intervals:
    """The union of any intervals; empty ones vanish."""
    return union_and_first(start, end)[0]


def union_and_first(start: Int64s, end: Int64s, slack: int = 0) -> tuple[Intervals, Int64s]:
    """The union, and the position of the interval that begins each of its parts.

    Touching intervals stay apart, and so do those that overlap by no more than `slack`.
    """
    rows = np.flatnonzero(end > start)
    if not len(rows):
        return Intervals(start[rows], end[rows]), rows
    rows = rows[np.argsort(start[rows], kind="stable")]
    starts, reach = start[rows], np.maximum.accumulate(end[rows])
    first = np.concatenate(([True], starts[1:] >= reach[:-1] - slack))
    last = np.concatenate((first[1:], [True]))
    starts = starts[first]
    ends = np.minimum(reach[last], np.append(starts[1:], reach[-1]))
    return _with(Intervals(starts, ends), rows[first])


def _with(intervals: Intervals, first: Int64s) -> tuple[Intervals, Int64s]:
    keep = intervals.end > intervals.start
    return Intervals(intervals.start[keep], intervals.end[keep]), first[keep]


def split(start: Int64s, end: Int64s, cuts: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Cut disjoint sorted intervals at sorted `cuts`.

    Returns (starts, ends, position of the interval each part is of).
    """
    at = np.searchsorted(start, cuts, side="left") - 1
    inside = (at >= 0) & (cuts < np.append(end, 0)[at])
    cuts, at = cuts[inside], at[inside]
    parent = np.repeat(np.arange(len(start)), 1 + np.bincount(at, minlength=len(start)))
    later = at + np.arange(1, len(at) + 1)  # parts that a cut begins
    starts, ends = start[parent], end[parent]
    starts[later] = ends[later - 1] = cuts
    return starts, ends, parent


def split_any(start: Int64s, end: Int64s, cuts: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """The same of intervals that may overlap, in any order, which takes two searches."""
    low = np.searchsorted(cuts, start, side="right")
    count = np.maximum(np.searchsorted(cuts, end, side="left") - low, 0) + 1
    parent = np.repeat(np.arange(len(start)), count)
    starts, ends = start[parent], end[parent]
    later = 1 + np.flatnonzero(parent[1:] == parent[:-1])  # parts that a cut begins
    nth = later - (np.cumsum(count) - count)[parent[later]]
    starts[later] = ends[later - 1] = cuts[low[parent[later]] + nth - 1]
    return starts, ends, parent


def _non_empty(start: Int64s, end: Int64s) -> Intervals:
    keep = end > start
    return Intervals(np.asarray(start[keep], dtype=np.int64), np.asarray(end[keep], dtype=np.int64))
