"""Threads that wait for one another: forward for backward, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.graph.streams import edges
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import Intervals, spans, union
from perfkit.model.trace import Int64s, Trace

_SHORTEST_NS = 100_000
"""A thread that waits for another does nothing for longer than this."""


@dataclass(frozen=True)
class Handovers:
    """Times in which thread `waiting` did nothing and `working` worked; shapes (handovers,)."""

    start: Int64s
    end: Int64s
    waiting: Int64s
    working: Int64s

    def __len__(self) -> int:
        return len(self.start)


def handovers(host: Host, main: int, threads: list[int]) -> Handovers:
    """Idle times of the main thread, in which another launching thread worked.

    The other one has to be idle at both ends: what it does is then a part of what is waited for.
    """
    everyone = {main, *threads}
    busy = {t: union(*spans(host.trace, host.rows[host.thread == t])) for t in everyone}
    found = []
    for other in (t for t in threads if t != main):
        if not len(busy[main]):
            break
        start, end = busy[main].end[:-1], busy[main].start[1:]
        long = end - start >= _SHORTEST_NS
        start, end = start[long], end[long]
        worked = busy[other].covered(start, end) > 0
        apart = (_open_at(busy[other], start) | _open_at(busy[other], end)) == 0
        keep = worked & apart
        found.append((start[keep], end[keep], other))
    return Handovers(
        np.concatenate([np.empty(0, np.int64), *(s for s, _, _ in found)]),
        np.concatenate([np.empty(0, np.int64), *(e for _, e, _ in found)]),
        np.full(sum(len(s) for s, _, _ in found), main),
        np.concatenate([np.empty(0, np.int64), *(np.full(len(s), t) for s, _, t in found)]),
    )


def driver_edges(trace: Trace, points: Points, rows: Int64s) -> Edges:
    """Between the ends of calls of two threads that overlapped: the driver has one lock."""
    start, end = spans(trace, rows)
    order = np.argsort(end, kind="stable")
    first, second = order[:-1], order[1:]
    overlap = (trace.lane[rows[first]] != trace.lane[rows[second]]) & (start[second] < end[first])
    first, second = rows[first[overlap]], rows[second[overlap]]
    return edges(points.end[first], points.end[second], 0, Edge.DRIVER)


def _open_at(busy: Intervals, times: Int64s) -> Int64s:
    at = np.searchsorted(busy.start, times, side="left") - 1
    inside = (at >= 0) & (times < np.append(busy.end, 0)[at])
    return inside.astype(np.int64)


def thread_edges(begins: Int64s, other_begins: Int64s, other_ends: Int64s, ends: Int64s) -> Edges:
    """Between marks of the two threads: all time of a handover is work of the other one."""
    source = np.concatenate((begins, other_ends))
    return edges(source, np.concatenate((other_begins, ends)), 0, Edge.THREAD)
