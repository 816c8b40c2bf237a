"""What operations wait for: their launch, the operation before them, other streams."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.intervals import ends
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.analyzers.rows import present
from perfkit.model.trace import Bools, Int64s, Kind, Trace

_STREAM_WAIT = re.compile(r"(cuda|hip|cu)StreamWaitEvent")
_LAUNCHED_LONG_AGO_NS = 50_000
MOST_GAP_NS = 10_000
"""Longer gaps between two operations have another reason than the order of theirs."""
_USUAL_LATENCY_NS = 5_000  # where a trace shows none
_USUAL_GAP_NS = 1_000


def edges(source: Int64s, target: Int64s, lag: Int64s | int, kind: Edge) -> Edges:
    """Edges of one kind; those from or to no point (-1) are left out."""
    known = (source >= 0) & (target >= 0)
    lags = np.broadcast_to(np.asarray(lag, dtype=np.int64), source.shape)[known]
    kinds = np.full(int(known.sum()), kind, dtype=np.int8)
    return Edges(source[known], target[known], lags, kinds)


@dataclass(frozen=True)
class Queue:
    """GPU operations in the order they were launched; shapes (operations,).

    `order` are positions in the work, `launched` the times of their launches (their own start
    where that is unknown), `lane` their streams.
    """

    order: Int64s
    launched: Int64s
    lane: Int64s

    def streams(self) -> list[Int64s]:
        """Positions in this queue of each stream's operations."""
        return [np.flatnonzero(self.lane == lane) for lane in present(self.lane)]


def queue_of(trace: Trace, work: GpuWork, calls: Launches) -> Queue:
    """The launch order."""
    launched = np.where(calls.call >= 0, trace.ts[calls.call], work.start)
    order = np.lexsort((work.start, launched))
    lane = trace.lane[work.rows[order]].astype(np.int64)
    return Queue(order, launched[order], lane)


def launch_edges(
    trace: Trace, work: GpuWork, calls: Launches, points: Points, queue: Queue
) -> Edges:
    """From the start of the call: operations often begin before it returns."""
    call = np.where(calls.call >= 0, points.start[calls.call], -1)
    lag = _latency(trace, work, calls, queue)
    return edges(call, points.operation, lag, Edge.LAUNCH)


def _latency(trace: Trace, work: GpuWork, calls: Launches, queue: Queue) -> Int64s:
    """Nanoseconds from launch to start on a device that waits for it, by kind of operation.

    The whole device has to: an operation on an idle stream may still wait for another stream.
    """
    known = calls.call >= 0
    took = work.start - np.where(known, trace.ts[calls.call], work.start)
    known &= work.end > ends(trace, calls.call)  # a call that held the host did more than launch
    idle = known & (_device_end_before(work, queue) < np.where(known, trace.ts[calls.call], 0))
    lag = np.full(len(work), _USUAL_LATENCY_NS, dtype=np.int64)
    for kind in (Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET):
        mine = trace.kind[work.rows] == kind
        seen = took[mine & idle & (took > 0)]
        lag[mine] = np.percentile(seen, 25) if len(seen) else _USUAL_LATENCY_NS
    return lag


def _device_end_before(work: GpuWork, queue: Queue) -> Int64s:
    """End of all operations launched before each, 0 for the first; shape (operations,)."""
    found = np.zeros(len(work), dtype=np.int64)
    found[queue.order[1:]] = np.maximum.accumulate(work.end[queue.order])[:-1]
    return found


def _end_before(trace: Trace, work: GpuWork) -> Int64s:
    """End of the operation before each on its stream, 0 for the first; shape (operations,)."""
    found = np.zeros(len(work), dtype=np.int64)
    lanes = trace.lane[work.rows]
    for lane in present(lanes):
        rows = np.flatnonzero(lanes == lane)  # the work is in order of start
        found[rows[1:]] = work.end[rows[:-1]]
    return found


def stream_gap(trace: Trace, work: GpuWork, calls: Launches) -> int:
    """Nanoseconds between operations of a stream that are queued up."""
    before = _end_before(trace, work)
    launched = np.where(calls.call >= 0, trace.ts[calls.call], work.start)
    gap = work.start - before
    seen = gap[(before - launched > _LAUNCHED_LONG_AGO_NS) & (gap >= 0) & (gap <= MOST_GAP_NS)]
    return int(np.median(seen)) if len(seen) else _USUAL_GAP_NS


def event_edges(trace: Trace, work: GpuWork, points: Points, queue: Queue, gap: int) -> Edges:
    """Between streams: what the next operation behind a cudaStreamWaitEvent waits for.

    Where the trace says which stream waits for which, that is taken; else the operation launched
    last on another stream that had ended in time, of several the one that ended last.
    """
    waits = stream_waits(trace)
    lanes = np.array(present(queue.lane))
    if not len(waits) or len(lanes) < 2:
        return edges(waits[:0], waits[:0], 0, Edge.EVENT)
    waiting, awaited = _told(trace, waits, lanes)
    target = _next(queue, trace.ts[waits], waiting)
    source = last_before(queue, trace.ts[waits])
    known = (source >= 0) & (target >= 0)[:, None]
    known &= (awaited[:, None] < 0) | (awaited[:, None] == np.arange(len(lanes)))
    known &= trace.lane[work.rows[target]][:, None] != lanes
    over = np.where(known, work.end[source], -1)
    over[over > work.start[target][:, None]] = -1
    fits = np.flatnonzero(over.max(axis=1, initial=-1) >= 0)
    found = np.stack((source[fits, over[fits].argmax(axis=1)], target[fits]), axis=1)
    found = np.unique(found, axis=0)
    return edges(points.operation[found[:, 0]], points.operation[found[:, 1]], gap, Edge.EVENT)


def stream_waits(trace: Trace) -> Int64s:
    """Rows of the calls that let a stream wait for an event."""
    return np.flatnonzero((trace.kind == Kind.RUNTIME) & matching(trace, _STREAM_WAIT)[trace.name])


def _told(trace: Trace, waits: Int64s, lanes: Int64s) -> tuple[Int64s, Int64s]:
    """Positions in `lanes` of the stream that waits and of that waited for; -1: not said."""
    records = np.flatnonzero((trace.kind == Kind.SYNC) & (trace.wait_stream >= 0))
    place = {trace.lanes[lane].stream: i for i, lane in enumerate(lanes.tolist())}
    said = {
        int(trace.corr[row]): (
            place.get(trace.lanes[trace.lane[row]].stream, -1),
            place.get(int(trace.wait_stream[row]), -1),
        )
        for row in records.tolist()
    }
    pairs = [said.get(corr, (-1, -1)) for corr in trace.corr[waits].tolist()]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def last_before(queue: Queue, times: Int64s) -> Int64s:
    """The operation launched last before each time on each stream; shape (times, streams).

    -1 where there is none; streams in the order of their lanes.
    """
    streams = queue.streams()
    found = np.full((len(times), len(streams)), -1, dtype=np.int64)
    for i, mine in enumerate(streams):
        at = np.searchsorted(queue.launched[mine], times) - 1
        found[:, i] = np.where(at >= 0, queue.order[mine[np.maximum(at, 0)]], -1)
    return found


def _next(queue: Queue, times: Int64s, stream: Int64s) -> Int64s:
    """The first operation launched from each time on, on that stream where it is told, or -1."""
    at = np.searchsorted(queue.launched, times)
    found = np.append(queue.order, -1)[at]
    for i, mine in enumerate(queue.streams()):
        told = stream == i
        at = np.searchsorted(queue.launched[mine], times[told])
        found[told] = np.append(queue.order[mine], -1)[at]
    return found


def graph_edges(trace: Trace, work: GpuWork, calls: Launches, points: Points, gap: int) -> Edges:
    """Between streams inside of one CUDA graph launch: its branches."""
    together = _launched_together(work, calls)
    rows = np.flatnonzero(together)
    order = rows[np.lexsort((work.start[rows], calls.call[rows]))]
    if len(order) < 2:
        return edges(order[:0], order[:0], 0, Edge.EVENT)
    # The one that ended last before, when it was on another stream and of the same launch.
    same = np.concatenate(([False], calls.call[order][1:] == calls.call[order][:-1]))
    before = np.concatenate((order[:1], order[:-1]))
    other = trace.lane[work.rows[before]] != trace.lane[work.rows[order]]
    fits = same & other & (work.end[before] <= work.start[order])
    return edges(points.operation[before[fits]], points.operation[order[fits]], gap, Edge.EVENT)


def _launched_together(work: GpuWork, calls: Launches) -> Bools:
    """Operations whose call launched more than one."""
    known = calls.call >= 0
    count = np.bincount(calls.call[known], minlength=1) if known.any() else np.zeros(1, np.int64)
    many = np.zeros(len(work), dtype=np.bool_)
    many[known] = count[calls.call[known]] > 1
    return many
