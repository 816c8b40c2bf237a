"""Points of threads and streams, lane by lane, before anything is known of what they wait for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.graph.model import Point
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import distinct, spans
from perfkit.analyzers.launches import Launches
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Int8s, Int32s, Int64s, Trace


@dataclass(frozen=True)
class Points:
    """Points in order of lane and time; shapes (points,), but for the look-ups.

    `operation` is the point of each GPU operation; `start` and `end` are the points of each trace
    row that is a call here, -1 for others; `mark` are those of the marks, as they were given.
    """

    time: Int64s
    dur: Int64s
    kind: Int8s
    row: Int64s
    lane: Int32s
    operation: Int64s
    start: Int64s
    end: Int64s
    mark: Int64s

    @property
    def prev(self) -> Int64s:
        """The point before each on its lane, -1 for the first."""
        before = np.arange(len(self.time)) - 1
        before[np.flatnonzero(np.diff(self.lane, prepend=-1))] = -1
        return before


def calls_of(host: Host, calls: Launches) -> Int64s:
    """Trace rows of the calls that launch, wait, or give memory back, in order."""
    waits = [CODE[c] for c in (Cause.SYNC, Cause.COPY, Cause.ALLOCATOR)]
    rows = host.rows[np.isin(host.cause, waits)]
    return distinct(np.concatenate((rows, calls.call[calls.call >= 0])))


def points_of(
    trace: Trace, work: GpuWork, rows: Int64s, marks: Int64s, mark_lane: Int32s
) -> Points:
    """Points of calls `rows`, of marks (times and lanes), and of operations."""
    begin, finish = spans(trace, rows)
    calls, nth = len(rows), np.arange(len(rows))
    none = np.full(len(marks), -1, dtype=np.int64)
    time = np.concatenate((begin, finish, marks, work.start))
    lane = np.concatenate((trace.lane[rows], trace.lane[rows], mark_lane, trace.lane[work.rows]))
    kind = np.repeat(
        np.array((Point.START, Point.END, Point.MARK, Point.OPERATION), dtype=np.int8),
        (calls, calls, len(marks), len(work)),
    )
    # At one time a call's start comes before its end, then marks, then the start of the next.
    between = 4 * np.searchsorted(begin, marks) - 1
    turn = np.concatenate((4 * nth, 4 * nth + 2, between, np.arange(len(work))))
    order = np.lexsort((turn, time, lane))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    row = np.concatenate((rows, rows, none, work.rows))
    dur = np.where(kind == Point.OPERATION, trace.dur[row], 0)
    return Points(
        time[order], dur[order], kind[order], row[order], lane[order].astype(np.int32),
        operation=place[2 * calls + len(marks) :],
        start=_by_row(len(trace), rows, place[:calls]),
        end=_by_row(len(trace), rows, place[calls : 2 * calls]),
        mark=place[2 * calls : 2 * calls + len(marks)],
    )  # fmt: skip


def _by_row(count: int, rows: Int64s, points: Int64s) -> Int64s:
    found = np.full(count, -1, dtype=np.int64)
    found[rows] = points
    return found
