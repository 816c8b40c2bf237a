"""Batches that loader workers make beside the training: when they come does not follow the step."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.graph.streams import edges
from perfkit.analyzers.graph.workers import SAME_MOMENT_NS, Made, delivery, made_for
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.names import matching
from perfkit.model.trace import Bools, Int64s

_WORKERS = re.compile(r"enumerate\(DataLoader\)#\w*MultiProcessing")
_READY_NS = 200_000
"""A batch that was ready is handed over within this."""
_PREFETCH = 2
"""Batches that are asked of a worker ahead, unless told otherwise (torch.utils.data)."""
_TIME_TO_SPARE = 2
"""Times as long as a batch takes the loader: then one stood ready."""
_MUCH_LONGER = 3
"""Times the usual wait: a batch that was late, such as one of a slow file."""
_SETS_THE_PACE = 0.9
"""Of the batches late: the time between them is that which the loader needs."""


@dataclass(frozen=True)
class Pace:
    """How fast a loader with workers could be.

    `taken` are the times at which batches of workers were had, shape (batches,). In the long run
    one comes every `deliver_ns`; where that is None and `is_hidden`, most were ready and nobody
    knows.
    """

    taken: Int64s
    deliver_ns: float | None
    is_hidden: bool


@dataclass(frozen=True)
class Batches:
    """What the main thread took from loader workers; shapes (batches,), nanoseconds.

    Those that were late with one before them, and where records tell when all were made, all of
    them. `is_late` says which the thread waited for.
    """

    start: Int64s
    end: Int64s
    is_late: Bools
    made: Made | None
    pace: Pace

    def __len__(self) -> int:
        return len(self.start)


def batches(host: Host, main: int) -> Batches:
    """Batches of workers; a wait that is long enough shows that the batch was not ready."""
    mine = host.thread == main
    rows = host.rows[mine][matching(host.trace, _WORKERS)[host.trace.name[host.rows[mine]]]]
    start, end = spans(host.trace, rows)
    made = made_for(host.trace, start, end)
    late = (end - start > _READY_NS) & ~_stood_ready(start, end, delivery(host.trace))
    pace = Pace(end, delivery(host.trace), bool(late.sum() < _SETS_THE_PACE * len(late)))
    if made is None:
        some = _with_anchor(late)
        return Batches(start[some], end[some], late[some], None, pace)
    late[:] = False
    late[made.taken] = made.end > start[made.taken]
    return Batches(start, end, late, made, pace)


def _stood_ready(start: Int64s, end: Int64s, deliver_ns: float | None) -> Bools:
    """Batches that workers who make them as fast as records say had time for, twice.

    Taking one over then takes as long as it usually does; one that takes much longer was late.
    """
    if deliver_ns is None or not len(start):
        return np.zeros(len(start), dtype=np.bool_)
    had_time = np.diff(end, prepend=end[:1] - 2**62) >= _TIME_TO_SPARE * deliver_ns
    usual = float(np.median(end - start))
    return np.asarray(had_time & (end - start <= _MUCH_LONGER * usual))


def _with_anchor(late: Bools) -> Int64s:
    """Positions of the late batches, and of one before the first that its time is counted from.

    A late batch was begun when that one was taken or before, as the workers' places were full.
    """
    some = np.flatnonzero(late)
    if not len(some) or not some[0]:
        return some
    apart = int(np.median(np.diff(some))) if len(some) > 1 else 0
    return np.concatenate(([max(int(some[0]) - max(apart, _PREFETCH), 0)], some))


def batch_edges(points: Points, arrivals: Int64s, work: Int64s, batches: Batches) -> list[Edges]:
    """`arrivals` are the points of the batches, `work` those of the workers' marks.

    A batch comes once it is made, and is made once its place in the queue is free. Without
    records each late batch follows the one before: the loader keeps its pace, whatever the
    training does.
    """
    made = batches.made
    if made is None:
        source, target = arrivals[:-1], arrivals[1:]
        return [edges(source, target, points.time[target] - points.time[source], Edge.DATA)]
    place = np.append(arrivals, -1)[made.freed]
    return [
        edges(work[1::2], arrivals[made.taken], _transport(made, batches), Edge.DATA),
        edges(place, work[0::2], 0, Edge.DATA),
    ]


def _transport(made: Made, batches: Batches) -> Int64s:
    """Nanoseconds until the training has a batch: through the queue, and the thread that pins it.

    What it took for those that were late; the others stood ready, and take as long as usual.
    """
    took = batches.end[made.taken] - made.end
    late = batches.is_late[made.taken]
    return np.where(late, took, int(np.median(took[late])) if late.any() else 0)


def set_lags(lag: Int64s, points: Points, arrivals: Int64s, work: Int64s, batches: Batches) -> None:
    """What the thread and the workers need where they wait for nothing."""
    waits = batches.is_late.copy()
    if batches.made is None:
        waits[:1] = False  # nothing says what the first one waited for
    late = arrivals[waits]
    before = batches.start[waits] - points.time[points.prev[late]]
    lag[late] = np.maximum(before, 0)
    begins = work[0::2]
    follows = points.prev[begins] >= 0
    busy = begins[follows & ~_waited_for_a_place(batches)]
    # Between two batches, where it waits for nothing; a worker that always waits needs no time.
    lag[begins[follows]] = lag[busy].min() if len(busy) else 0


def _waited_for_a_place(batches: Batches) -> Bools:
    """Whether each batch was begun as soon as its place in the queue was free; shape (made,)."""
    made = batches.made
    if made is None:
        return np.empty(0, dtype=np.bool_)
    freed = np.where(made.freed >= 0, np.append(batches.end, 0)[made.freed], 0)
    return np.asarray((made.freed >= 0) & (made.start - freed <= SAME_MOMENT_NS))
