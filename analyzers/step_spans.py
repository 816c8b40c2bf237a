"""When a run took steps: what is told per step must lie there, not in start-up or at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.intervals import Intervals, union
from perfkit.model.capture import StepTimes
from perfkit.trace.capture_records import Records

Floats = NDArray[np.float64]
_LONGEST_US = 1e13  # four months: no step takes that long


def taken(records: Records) -> Intervals:
    """The blocks of steps, in nanoseconds since the epoch; between them no step ran."""
    spans = [(block.start_ns, _length_us(block)) for block in records.of(StepTimes)]
    start = np.array([begin for begin, _ in spans], dtype=np.int64)
    return union(start, start + _ns([length for _, length in spans]))


def from_first_to_last(records: Records) -> Intervals:
    """From the first step's start to the last one's end, as one interval; empty without steps."""
    return _whole(taken(records))


def after_the_first(records: Records) -> Intervals:
    """The same without the run's first step, which starts everything up, where others follow."""
    whole = from_first_to_last(records)
    first = next((block for block in records.of(StepTimes) if block.first == 0), None)
    if first is None or not len(whole):
        return whole
    began = first.start_ns + int(_ns(_times_us(first)[:1]).sum())
    return whole.clip(began, int(whole.end[0])) or whole


def inside_us(spans: Sequence[tuple[int, float]], times: Intervals) -> Floats:
    """How much of each span (start in nanoseconds, length in microseconds) lies in these times."""
    start = np.array([begin for begin, _ in spans], dtype=np.int64)
    end = start + _ns([length for _, length in spans])
    return np.asarray(times.covered(start, end) / 1000, dtype=np.float64)


def _whole(times: Intervals) -> Intervals:
    return union(times.start[:1], times.end[-1:])


def _times_us(block: StepTimes) -> Floats:
    """The block's steps; what is no time counts as none."""
    wall = np.array(block.wall_us, dtype=np.float64)
    return np.where(np.isfinite(wall) & (wall > 0) & (wall < _LONGEST_US), wall, 0.0)


def _length_us(block: StepTimes) -> float:
    return float(_times_us(block).sum())


def _ns(us: Sequence[float] | Floats) -> NDArray[np.int64]:
    return np.rint(np.array(us, dtype=np.float64) * 1000).astype(np.int64)
