"""When GPU work of which no record exists may have run: idle time there is not idle for sure."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import Intervals, union
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.model.trace import Int64s, Kind, Trace

_DRAINS = re.compile(r"(cuda|hip|cu)(Device|Stream|Ctx)Synchronize")


def unrecorded(trace: Trace, work: GpuWork, calls: Launches, horizon: int) -> Intervals:
    """Times in which a launch without a GPU record may have run.

    On whichever stream it was, it ran after what was launched there before it, before what was
    launched there after it, and no later than the return of the next synchronization.
    """
    orphans = calls.orphans
    if not len(orphans):
        return Intervals(orphans, orphans)
    lane = trace.lane[work.rows]
    starts, ends = [], []
    for stream in np.unique(lane).tolist():
        mine = np.flatnonzero((lane == stream) & (calls.call >= 0))
        start, end = _on_stream(trace, work, calls, mine, horizon)
        starts.append(start)
        ends.append(end)
    start, end = np.concatenate(starts), np.concatenate(ends)
    finished = _finished_by(trace, np.tile(orphans, len(starts)), horizon)
    return union(start, np.minimum(end, finished))


def _on_stream(
    trace: Trace, work: GpuWork, calls: Launches, mine: Int64s, horizon: int
) -> tuple[Int64s, Int64s]:
    """For each orphan the time it can have run in on a stream with these operations."""
    order = np.argsort(calls.call[mine], kind="stable")
    mine = mine[order]
    at = np.searchsorted(calls.call[mine], calls.orphans)
    reach = np.concatenate(([0], np.maximum.accumulate(work.end[mine])))
    start = np.maximum(reach[at], trace.ts[calls.orphans])
    return start, np.append(work.start[mine], horizon)[at]


def _finished_by(trace: Trace, orphans: Int64s, horizon: int) -> Int64s:
    """End of the first synchronization that starts after each launch."""
    rows = np.flatnonzero((trace.kind == Kind.RUNTIME) & matching(trace, _DRAINS)[trace.name])
    at = np.searchsorted(trace.ts[rows], trace.ts[orphans])
    return np.append(trace.end[rows], horizon)[at]
