"""From a trace to its dependency graph."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from perfkit.analyzers.blockers import main_thread
from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.graph import loader, streams, threads, waits
from perfkit.analyzers.graph.default_stream import default_stream_edges
from perfkit.analyzers.graph.model import RECORDED, Edge, Edges, Graph, Point, Repairs
from perfkit.analyzers.graph.points import Points, calls_of, points_of
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import distinct
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.rows import present
from perfkit.analyzers.steps import Windows
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Int32s, Int64s, Trace

_PASSES = 8
_RANKS = 4


@dataclass(frozen=True)
class Built:
    """A graph, and the points that its maker knows by other names.

    `operation` is the point of each GPU operation; `border` those of the windows' starts, then of
    the last window's end. `queue_depth` is how many operations fit into the launch queue, None
    where the trace does not show it; `blocking_streams` is how many keep in step with the default
    stream. `pace` is that of the loader's workers.
    """

    graph: Graph
    operation: Int64s
    border: Int64s
    queue_depth: int | None
    blocking_streams: int
    pace: loader.Pace


def build(trace: Trace, work: GpuWork, calls: Launches, host: Host, windows: Windows) -> Built:
    """The dependency graph of one rank's trace."""
    with ThreadPoolExecutor(1) as beside:  # numpy mostly works without the interpreter's lock
        parts = _parts(trace, work, calls, host, windows, beside)
        waiting = beside.submit(_held, parts)
        free, (ordered, blocking) = _edges(parts), _default_stream(parts)
    points, held = parts.points, waiting.result()
    edges = _joined([*free, *(w.edges for w in held), ordered])
    made, order = _sorted(points, _lags(parts, held, edges), edges)
    return Built(
        graph=_with_staging(made, order[points.operation[_staged(calls, host)]]),
        operation=order[points.operation],
        border=order[parts.at[0]],
        queue_depth=next((w.depth for w in held if w.depth), None),
        blocking_streams=blocking,
        pace=parts.marks.batches.pace,
    )


@dataclass(frozen=True)
class _Parts:
    """A trace with its points, by `at` the marks of each kind, `rows` the calls, and the queue."""

    trace: Trace
    work: GpuWork
    calls: Launches
    host: Host
    rows: Int64s
    marks: _Marks
    points: Points
    at: list[Int64s]
    queue: streams.Queue
    gap: int
    """Nanoseconds between operations of a stream that are queued up."""


def _parts(
    trace: Trace, work: GpuWork, calls: Launches, host: Host, windows: Windows, beside: Executor
) -> _Parts:
    queued = beside.submit(_queued, trace, work, calls)
    rows, marks = calls_of(host, calls), _marked(trace, calls, host, windows)
    points = points_of(trace, work, rows, *marks.columns)
    at = marks.places(points.mark)
    return _Parts(trace, work, calls, host, rows, marks, points, at, *queued.result())


def _queued(trace: Trace, work: GpuWork, calls: Launches) -> tuple[streams.Queue, int]:
    queue = streams.queue_of(trace, work, calls)
    return queue, streams.stream_gap(trace, work, calls)


@dataclass(frozen=True)
class _Marks:
    """Points that no call and no operation is: (times, lane of each) of every kind."""

    kinds: list[tuple[Int64s, Int64s]]
    batches: loader.Batches

    @property
    def columns(self) -> tuple[Int64s, Int32s]:
        """Times and lanes of all."""
        times, lanes = (np.concatenate(parts) for parts in zip(*self.kinds, strict=True))
        return times, lanes.astype(np.int32)

    def places(self, mark: Int64s) -> list[Int64s]:
        """The points of each kind, of all marks' points."""
        return np.split(mark, np.cumsum([len(times) for times, _ in self.kinds])[:-1])


def _marked(trace: Trace, calls: Launches, host: Host, windows: Windows) -> _Marks:
    """Borders of steps, begins and ends of handovers, batches, and what workers do.

    Workers have lanes of their own behind those of the trace.
    """
    launching = present(trace.lane[calls.call[calls.call >= 0]])
    main = main_thread(host, launching or present(host.thread)) or 0
    given = threads.handovers(host, main, launching)
    batches = loader.batches(host, main)
    borders = np.append(windows.start, windows.end[-1])
    none = np.empty(0, dtype=np.int64)
    work = (none, none)
    if batches.made is not None:
        work = (batches.made.marks, batches.made.lanes + len(trace.lanes))
    return _Marks([
        (borders, np.full(len(borders), main)),
        (given.start, given.waiting), (given.start, given.working),
        (given.end, given.working), (given.end, given.waiting),
        (batches.end, np.full(len(batches), main)), work,
    ], batches)  # fmt: skip


def _held(parts: _Parts) -> list[waits.Waits]:
    """Calls that the GPU holds."""
    trace, work, calls, host = parts.trace, parts.work, parts.calls, parts.host
    points, queue = parts.points, parts.queue
    if not len(work):
        return []
    return [
        *waits.queue_waits(trace, work, calls, points, queue),
        waits.sync_waits(trace, work, calls, host, points, queue),
        waits.event_waits(trace, work, host, points, queue),
        waits.copy_waits(trace, work, calls, host, points),
        waits.allocator_waits(trace, work, host, points, queue),
    ]


def _edges(parts: _Parts) -> list[Edges]:
    """Those of threads, batches and launches."""
    at, points = parts.at, parts.points
    return [
        threads.thread_edges(*at[1:5]),
        threads.driver_edges(parts.trace, points, parts.rows),
        *loader.batch_edges(points, at[5], at[6], parts.marks.batches),
        *(_gpu_edges(parts) if len(parts.work) else []),
    ]


def _gpu_edges(parts: _Parts) -> list[Edges]:
    some = (parts.trace, parts.work, parts.calls, parts.points)
    return [
        streams.launch_edges(*some, parts.queue),
        streams.event_edges(parts.trace, parts.work, parts.points, parts.queue, parts.gap),
        streams.graph_edges(*some, parts.gap),
    ]


def _default_stream(parts: _Parts) -> tuple[Edges, int]:
    """Edges of the default stream, and how many streams have them."""
    return default_stream_edges(
        parts.trace, parts.work, parts.calls, parts.points, parts.queue, parts.gap
    )


def _joined(parts: list[Edges]) -> Edges:
    names = ("source", "target", "lag", "kind")
    return Edges(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _lags(parts: _Parts, held: list[waits.Waits], edges: Edges) -> Int64s:
    """The least time from the end of the point before, on the same lane."""
    points, gap = parts.points, parts.gap
    before = points.prev
    lag = np.where(before >= 0, points.time - (points.time + points.dur)[before], 0)
    lag = np.where(points.kind == Point.OPERATION, np.minimum(lag, gap), lag)
    for some in held:
        ends = points.end[some.rows]
        lag[ends] = np.minimum(lag[ends], some.cost)
    waiting = edges.target[edges.kind == Edge.THREAD]
    lag[waiting] = np.minimum(lag[waiting], 0)
    loader.set_lags(lag, points, parts.at[5], parts.at[6], parts.marks.batches)
    return lag


def _sorted(points: Points, lag: Int64s, edges: Edges) -> tuple[Graph, Int64s]:
    """The graph in topological order, and the new position of each point."""
    key, raised = _keys(points, edges)
    order = np.argsort(key, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    source, target = place[edges.source], place[edges.target]
    end = (points.time + points.dur)[order]
    room = points.time[order][target] - end[source]
    fits = (source < target) & (room >= 0)
    recorded = np.isin(edges.kind, RECORDED)
    repairs = Repairs(int((recorded & ~fits).sum()), int(recorded.sum()), raised)
    kept = Edges(source, target, np.minimum(edges.lag, room), edges.kind).take(fits)
    prev = points.prev[order]
    prev = np.where(prev >= 0, place[prev], -1)
    graph = Graph(
        points.time[order], points.dur[order], points.kind[order], points.row[order],
        points.lane[order], prev, lag[order], np.zeros(len(order), np.int64), kept, repairs,
    )  # fmt: skip
    return replace(graph, rest=rest(graph)), place


def _staged(calls: Launches, host: Host) -> Int64s:
    """Blocking copies: the call puts the data into a buffer of the driver before it is copied."""
    copying = host.rows[host.cause == CODE[Cause.COPY]]
    return np.flatnonzero((calls.call >= 0) & np.isin(calls.call, copying))


def _with_staging(graph: Graph, staged: Int64s) -> Graph:
    """What these operations waited for without a reason is work, which comes before the copy."""
    time, dur, left = graph.time.copy(), graph.dur.copy(), graph.rest.copy()
    time[staged] -= left[staged]
    dur[staged] += left[staged]
    left[staged] = 0
    return replace(graph, time=time, dur=dur, rest=left)


def _keys(points: Points, edges: Edges) -> tuple[Int64s, int]:
    """Sorting keys that put each point behind those before it on its lane and behind its sources.

    Operations stand where they were launched: all that they wait for was launched before, and
    blocks become as long as the launch queue. What comes before its sources is raised; counted is
    only what time stamps contradict, not what shares a nanosecond with its source.
    """
    launched = edges.kind == Edge.LAUNCH
    at = points.time.copy()
    at[edges.target[launched]] = points.time[edges.source[launched]]
    key = at * _RANKS + points.kind
    first = _along_lanes(key, points)
    key = first
    source, target = edges.source, edges.target
    contradicted = distinct(target[first[source] // _RANKS > first[target] // _RANKS])
    for _ in range(_PASSES):
        late = key[target] <= key[source]
        if not late.any():
            break
        key = key.copy()
        np.maximum.at(key, target[late], key[source[late]] + 1)
        key = _along_lanes(key, points)
    return key, len(contradicted)


def _along_lanes(key: Int64s, points: Points) -> Int64s:
    """Each key at least that of the point before on its lane."""
    low = np.flatnonzero(points.prev < 0)
    parts = np.split(key, low[1:]) if len(low) else [key]
    return np.concatenate([np.maximum.accumulate(part) for part in parts])


def rest(graph: Graph) -> Int64s:
    """What of each point's time nothing explains."""
    edges, end = graph.edges, graph.time + graph.dur
    bound = np.where(graph.prev >= 0, end[graph.prev] + graph.lag, np.iinfo(np.int64).min)
    np.maximum.at(bound, edges.target, end[edges.source] + edges.lag)
    free = bound == np.iinfo(np.int64).min
    return np.where(free, 0, graph.time - bound)
