"""What calls on the host wait for: room in the queue, operations, the whole device."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.graph.streams import Queue, edges, last_before
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import distinct, ends, spans
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.analyzers.rows import mask, present
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Bools, Int64s, Kind, Trace

_DEVICE = re.compile(r"(cuda|hip|cu)(Device|Ctx)Synchronize")
_EVENT = re.compile(r"(cuda|hip|cu)EventSynchronize")
_EVENT_RECORD = re.compile(r"(cuda|hip|cu)EventRecord")
_RETURN_NS = 7_000  # a call returns 6-8 us after what it waited for
_LATE_NS = 30_000  # what ended longer before the return was not waited for
CALL_NS = 5_000
"""A synchronizing call that has nothing to wait for."""
_UNBLOCKED = 5  # percentile of launches: there are always some that find room
_BLOCKED = 3  # times such a launch
_SHALLOWEST = 64  # queues hold a thousand operations; graphs and large arguments take more room
_FEWEST_BLOCKED = 20
_FEWEST_ALIKE = 3
_ALIKE = 0.9  # of the waits for events: they ask for the same one of each step
_UNEVEN = 50  # share of the queue that other streams fill
_MOST_SPREAD_NS = 20_000
_DRAINED_NS = 20_000


@dataclass(frozen=True)
class Waits:
    """Edges to the ends of calls, and what these calls take without waiting.

    `rows` are trace rows of calls and `cost` nanoseconds; shapes (calls,). `depth` is the size of
    the queue they wait for room in.
    """

    edges: Edges
    rows: Int64s
    cost: Int64s
    depth: int | None = None


def queue_waits(
    trace: Trace, work: GpuWork, calls: Launches, points: Points, queue: Queue
) -> list[Waits]:
    """Launches wait for room in the queue of their stream, where the trace shows that they do."""
    found = [_full_queue(trace, work, calls, points, queue.order[s]) for s in queue.streams()]
    return [waits for waits in found if waits is not None]


def _full_queue(
    trace: Trace, work: GpuWork, calls: Launches, points: Points, ops: Int64s
) -> Waits | None:
    """`ops` are one stream's operations in launch order."""
    ops = ops[calls.call[ops] >= 0]
    rows = calls.call[ops]
    start, end = spans(trace, rows)
    if not len(rows):
        return None
    usual = max(int(np.percentile(end - start, _UNBLOCKED)), 1)
    ends = np.maximum.accumulate(work.end[ops])
    depth = np.arange(1, len(ops) + 1) - np.searchsorted(ends, end, side="right")
    slow = (end - start > _BLOCKED * usual) & (depth >= _SHALLOWEST)
    if np.count_nonzero(slow) < _FEWEST_BLOCKED:
        return None
    size = int(np.bincount(depth[slow]).argmax())
    # Operations of other streams fill the queue too, so it holds a few less of this one at times.
    full = slow & (np.abs(depth - size) <= max(size // _UNEVEN, 1))
    nth = np.arange(len(ops))
    ahead = nth - np.where(full, depth, size)
    lag = end[full] - ends[ahead[full]]
    if 2 * np.count_nonzero(full) < np.count_nonzero(slow) or _spread(lag) > _MOST_SPREAD_NS:
        return None
    usual_lag, later = int(np.median(lag)), nth[ahead >= 0]
    source, target = points.operation[ops[ahead[later]]], points.end[rows[later]]
    held = later[((end - start) > 2 * usual)[later]]
    held = held[np.abs(end[held] - ends[ahead[held]] - usual_lag) <= _LATE_NS]
    cost = np.full(len(held), usual, dtype=np.int64)
    return Waits(edges(source, target, usual_lag, Edge.QUEUE), rows[held], cost, size)


def _spread(lag: Int64s) -> float:
    return float(np.percentile(np.abs(lag - np.median(lag)), 90)) if len(lag) else np.inf


def sync_waits(
    trace: Trace, work: GpuWork, calls: Launches, host: Host, points: Points, queue: Queue
) -> Waits:
    """Synchronizing calls wait for what was launched before them.

    On which stream, the trace says where it has synchronization records; else it is the stream
    whose last operation ended last inside of the call, or the one its thread launched to.
    """
    launching = mask(calls.call, len(trace))[host.rows]
    rows = host.rows[(host.cause == CODE[Cause.SYNC]) & ~launching]
    rows = rows[~matching(trace, _EVENT)[trace.name[rows]]]
    start, end = spans(trace, rows)
    last = last_before(queue, start)
    known = last >= 0
    over = np.where(known, work.end[np.maximum(last, 0)], np.iinfo(np.int64).min)
    fits = known & (over <= end[:, None])
    whole = matching(trace, _DEVICE)[trace.name[rows]]
    fits &= whole[:, None] | _awaited(trace, rows, queue, np.where(fits, over, -1), start)
    call, stream = np.nonzero(fits)
    waiting = edges(
        points.operation[last[call, stream]], points.end[rows[call]], _RETURN_NS, Edge.SYNC
    )
    explained = end - np.where(fits, over, -1).max(axis=1, initial=-1) <= _LATE_NS
    return Waits(waiting, rows[explained], np.full(int(explained.sum()), CALL_NS))


def event_waits(trace: Trace, work: GpuWork, host: Host, points: Points, queue: Queue) -> Waits:
    """Calls that wait for an event, which may lie far behind what has been launched since.

    The event is that of the record, where there is one, else of the cudaEventRecord whose work
    ended last before the call returned, and shortly before. Calls that had nothing to wait for
    are taken to ask for the event recorded as many records back as the others do.
    """
    rows = host.rows[host.cause == CODE[Cause.SYNC]]
    rows = rows[matching(trace, _EVENT)[trace.name[rows]]]
    recording = np.flatnonzero(
        (trace.kind == Kind.RUNTIME) & matching(trace, _EVENT_RECORD)[trace.name]
    )
    work_of = _recorded_work(trace, queue, recording)
    told = _told_event(trace, rows, recording)
    source = np.where(told >= 0, np.append(work_of, -1)[told], -1)
    guessed = _ended_before(trace, work, rows, distinct(work_of[work_of >= 0]))
    source = np.where(told >= 0, source, guessed)
    source = np.where(
        source >= 0, source, _as_far_back(trace, work, rows, recording, work_of, guessed)
    )
    over = np.where(source >= 0, work.end[source], -1)
    start, end = spans(trace, rows)
    waiting = edges(
        np.where(over >= 0, points.operation[source], -1), points.end[rows], _RETURN_NS, Edge.SYNC
    )
    explained = (over <= end) & ((over >= end - _LATE_NS) | (end - start < _LATE_NS)) & (over >= 0)
    return Waits(waiting, rows[explained], np.full(int(explained.sum()), CALL_NS))


def _recorded_work(trace: Trace, queue: Queue, recording: Int64s) -> Int64s:
    """The operation that each recorded event stands for: of those launched before, the last."""
    at = np.searchsorted(queue.launched, trace.ts[recording]) - 1
    return np.where(at >= 0, queue.order[np.maximum(at, 0)], -1)


def _told_event(trace: Trace, rows: Int64s, recording: Int64s) -> Int64s:
    """Position in `recording` of the event each call waited for, -1 where it is not said."""
    place = {corr: i for i, corr in enumerate(trace.corr[recording].tolist())}
    records = np.flatnonzero((trace.kind == Kind.SYNC) & (trace.wait_corr >= 0))
    said = {int(trace.corr[r]): place.get(int(trace.wait_corr[r]), -1) for r in records.tolist()}
    return np.array([said.get(corr, -1) for corr in trace.corr[rows].tolist()], dtype=np.int64)


def _ended_before(trace: Trace, work: GpuWork, rows: Int64s, candidates: Int64s) -> Int64s:
    """The candidate that ended last before each call returned, if while it waited; else -1."""
    start, end = spans(trace, rows)
    candidates = candidates[np.argsort(work.end[candidates], kind="stable")]
    at = np.searchsorted(work.end[candidates], end, side="right") - 1
    found = np.where(at >= 0, np.append(candidates, -1)[at], -1)
    over = np.where(found >= 0, work.end[found], -1)
    return np.where((over > start) & (over >= end - _LATE_NS), found, -1)


def _as_far_back(
    trace: Trace, work: GpuWork, rows: Int64s, recording: Int64s, work_of: Int64s, found: Int64s
) -> Int64s:
    """The work of the event as many records before each call as in those found; -1 without one."""
    nth = np.searchsorted(trace.ts[recording], trace.ts[rows])
    by_work = np.argsort(work_of, kind="stable")
    known = np.flatnonzero(found >= 0)
    record = by_work[np.searchsorted(work_of[by_work], found[known], side="right") - 1]
    back = nth[known] - record
    usual = int(np.bincount(np.maximum(back, 0)).argmax()) if len(back) else 0
    if not usual or np.count_nonzero(back == usual) < max(_FEWEST_ALIKE, _ALIKE * len(back)):
        return np.full(len(rows), -1, dtype=np.int64)
    source = np.append(work_of, -1)[np.maximum(nth - usual, -1)]
    over = np.where(source >= 0, work.end[source], -1)
    return np.where((over >= 0) & (over <= ends(trace, rows)), source, -1)


def _awaited(trace: Trace, rows: Int64s, queue: Queue, over: Int64s, start: Int64s) -> Bools:
    """Which stream each call waited for; `over` is -1 where none ended in time."""
    best = over.argmax(axis=1) if over.shape[1] else np.zeros(len(rows), dtype=np.int64)
    at = np.searchsorted(queue.launched, start) - 1
    lanes = np.array(present(queue.lane))
    own = np.searchsorted(lanes, queue.lane[np.maximum(at, 0)])
    waited = over.max(axis=1, initial=-1) > start
    choice = np.where(waited, best, own)
    told = _told(trace, rows, lanes)
    choice = np.where(told >= 0, told, choice)
    return np.asarray(np.arange(over.shape[1])[None, :] == choice[:, None])


def _told(trace: Trace, rows: Int64s, lanes: Int64s) -> Int64s:
    """Position of the stream among `lanes` that a synchronization record names, -1 without one."""
    records = np.flatnonzero(trace.kind == Kind.SYNC)
    place = {lane: i for i, lane in enumerate(lanes.tolist())}
    by_call = {int(trace.corr[r]): place.get(int(trace.lane[r]), -1) for r in records.tolist()}
    by_call.pop(-1, None)
    return np.array([by_call.get(corr, -1) for corr in trace.corr[rows].tolist()], dtype=np.int64)


def copy_waits(trace: Trace, work: GpuWork, calls: Launches, host: Host, points: Points) -> Waits:
    """Copies that hold their call until they are done."""
    blocking = np.zeros(len(trace), dtype=np.bool_)
    codes = [CODE[Cause.COPY], CODE[Cause.SYNC]]
    blocking[host.rows[np.isin(host.cause, codes)]] = True
    mine = np.flatnonzero((calls.call >= 0) & blocking[calls.call] & work.is_copy)
    call = calls.call[mine]
    late = ends(trace, call) - work.end[mine]
    mine, call, late = (a[(late >= 0) & (late <= _LATE_NS)] for a in (mine, call, late))
    waiting = edges(points.operation[mine], points.end[call], _RETURN_NS, Edge.COPY)
    return Waits(waiting, call, np.full(len(call), CALL_NS, dtype=np.int64))


def allocator_waits(trace: Trace, work: GpuWork, host: Host, points: Points, queue: Queue) -> Waits:
    """Memory calls inside of which the last operation of the device ended."""
    rows = host.rows[host.cause == CODE[Cause.ALLOCATOR]]
    start, end = spans(trace, rows)
    long = end - start >= _DRAINED_NS
    rows, start, end = rows[long], start[long], end[long]
    last = last_before(queue, start)
    over = np.where(last >= 0, work.end[np.maximum(last, 0)], -1)
    latest = over.max(axis=1, initial=-1)
    drained = (latest > start) & (latest <= end)
    call = np.flatnonzero(drained)
    best = over[call].argmax(axis=1) if len(call) else call
    after = end[call] - latest[call]
    waiting = edges(
        points.operation[last[call, best]], points.end[rows[call]], after, Edge.ALLOCATOR
    )
    return Waits(waiting, rows[call], np.minimum(after, (end - start)[call]))
