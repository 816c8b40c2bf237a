"""When GPU work of which no record exists may have run: idle time there is not idle for sure."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import Intervals, spans, union
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.model.trace import Int64s, Kind, Trace

_DRAINS = re.compile(r"(cuda|hip|cu|syn)(Device|Stream|Ctx)Synchronize|^urQueueFinish")


def unrecorded(trace: Trace, work: GpuWork, calls: Launches, horizon: int) -> Intervals:
    """Times in which a launch without a GPU record may have run.

    Taken to be on the stream its thread launched to before: there it ran after what was launched
    before it, before what was launched after it, and no later than the return of the next
    synchronization.
    """
    orphans = calls.orphans
    if not len(orphans):
        return Intervals(orphans, orphans)
    stream = _streams(trace, work, calls)
    start, end = np.zeros(len(orphans), dtype=np.int64), np.full(len(orphans), horizon)
    for lane in np.unique(stream).tolist():
        there = np.flatnonzero(stream == lane)
        start[there], end[there] = _on_stream(trace, work, calls, orphans[there], lane, horizon)
    return union(start, np.minimum(end, _finished_by(trace, orphans, horizon)))


def _streams(trace: Trace, work: GpuWork, calls: Launches) -> Int64s:
    """The lane each orphan was launched to as far as can be told; shape (orphans,)."""
    launched = np.flatnonzero(calls.call >= 0)
    launched = launched[np.argsort(calls.call[launched], kind="stable")]
    call, lane = calls.call[launched], trace.lane[work.rows[launched]]
    stream = np.full(len(calls.orphans), lane[0] if len(lane) else -1, dtype=np.int64)
    for thread in np.unique(trace.lane[calls.orphans]).tolist():
        mine = np.flatnonzero(trace.lane[calls.orphans] == thread)
        known = np.flatnonzero(trace.lane[call] == thread)
        if len(known):
            before = np.searchsorted(call[known], calls.orphans[mine]) - 1
            stream[mine] = lane[known[np.maximum(before, 0)]]
    return stream


def _on_stream(
    trace: Trace, work: GpuWork, calls: Launches, orphans: Int64s, lane: int, horizon: int
) -> tuple[Int64s, Int64s]:
    """For each orphan the time it can have run in among the operations of a stream."""
    mine = np.flatnonzero((trace.lane[work.rows] == lane) & (calls.call >= 0))
    mine = mine[np.argsort(calls.call[mine], kind="stable")]
    at = np.searchsorted(calls.call[mine], orphans)
    reach = np.concatenate(([0], np.maximum.accumulate(work.end[mine])))
    start = np.maximum(reach[at], trace.ts[orphans])
    return start, np.append(work.start[mine], horizon)[at]


def _finished_by(trace: Trace, orphans: Int64s, horizon: int) -> Int64s:
    """End of the first synchronization that starts after each launch."""
    rows = np.flatnonzero((trace.kind == Kind.RUNTIME) & matching(trace, _DRAINS)[trace.name])
    at = np.searchsorted(trace.ts[rows], trace.ts[orphans])
    return np.append(spans(trace, rows)[1], horizon)[at]
