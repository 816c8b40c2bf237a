"""When every point of a graph happens: the equations of `model`, solved in blocks.

On a lane, t[i] = max(t[i-1] + a[i], r[i]) is a running maximum of r - cumsum(a). A block ends where
a thread waits for something inside of the block, so threads come first in each block, then streams,
which may wait for one another: these are repeated until nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfkit.analyzers.graph.model import Graph
from perfkit.model.trace import Bools, Int64s

_APART = 1 << 50
"""More nanoseconds than any recording has: keeps the lanes of a block apart."""
_EARLIEST = -(1 << 60)


@dataclass(frozen=True)
class Schedule:
    """In what order the points of a graph can be computed; it does not depend on durations.

    `order` has the points by block, threads before streams, lane and time; `cuts` are where the
    parts (threads, streams, threads ...) begin in it.
    """

    order: Int64s
    cuts: Int64s
    leads: Int64s
    """Positions of the points that are the first of their lane in their part."""
    lead_cuts: Int64s
    source: Int64s
    target: Int64s
    edge: Int64s
    """Positions of source and target in this order, and the edge's own, sorted by target."""
    edge_cuts: Int64s
    looped: Bools
    """Whether streams of the part wait for one another; shape (parts,)."""

    @cached_property
    def position(self) -> Int64s:
        """Where each point stands in the order."""
        found = np.empty(len(self.order), dtype=np.int64)
        found[self.order] = np.arange(len(self.order))
        return found


def schedule(graph: Graph) -> Schedule:
    """Blocks of the graph, as long as they can be."""
    part = 2 * _blocks(graph) + graph.is_operation
    order = np.lexsort((graph.lane, part))
    position = np.empty(len(graph), dtype=np.int64)
    position[order] = np.arange(len(graph))
    part, lane = part[order], graph.lane[order]
    cuts = np.concatenate((np.flatnonzero(np.diff(part, prepend=-1)), [len(part)]))
    is_lead = np.diff(lane, prepend=-1) != 0
    is_lead[cuts[:-1]] = True
    leads = np.flatnonzero(is_lead)
    source, target = position[graph.edges.source], position[graph.edges.target]
    edge = np.argsort(target, kind="stable")
    source, target = source[edge], target[edge]
    edge_cuts = np.searchsorted(target, cuts)
    inside = np.flatnonzero(part[source] == part[target])
    looped = np.zeros(len(cuts) - 1, dtype=np.bool_)
    looped[np.searchsorted(cuts, target[inside], side="right") - 1] = True
    lead_cuts = np.searchsorted(leads, cuts)
    return Schedule(order, cuts, leads, lead_cuts, source, target, edge, edge_cuts, looped)


def _blocks(graph: Graph) -> Int64s:
    """Number of each point's block: a new one begins where a thread waits for this one."""
    edges = graph.edges
    waits = ~graph.is_operation[edges.target]
    first = np.full(len(graph) + 1, len(graph), dtype=np.int64)
    np.minimum.at(first, edges.source[waits], edges.target[waits])
    following = np.minimum.accumulate(first[::-1])[::-1]
    border = np.zeros(len(graph), dtype=np.int64)
    at = int(following[0])
    while at < len(graph):
        border[at] = 1
        at = int(following[at])
    return np.cumsum(border)


def replay(graph: Graph, plan: Schedule | None = None) -> Int64s:
    """The time of each point, in nanoseconds; shape (points,). All 0 where they are weeks apart.

    `plan` is the schedule of this graph or of one with the same points and edges.
    """
    if length(graph, graph.time) >= _APART:
        return np.zeros(len(graph), dtype=np.int64)
    plan = plan or schedule(graph)
    state = _State(graph, plan)
    for part in range(len(plan.cuts) - 1):
        state.solve(part)
    times = np.empty(len(graph), dtype=np.int64)
    times[plan.order] = state.time
    return times


def length(graph: Graph, time: Int64s) -> int:
    """Nanoseconds from the first of these times of the points to the end of the last."""
    return int((time + graph.dur).max()) - int(time.min()) if len(graph) else 0


class _State:
    """All columns in the order of the schedule, and the times found so far."""

    def __init__(self, graph: Graph, plan: Schedule) -> None:
        self._plan = plan
        order, leads = plan.order, plan.leads
        self.time = np.zeros(len(graph), dtype=np.int64)
        dur, rest = graph.dur[order], graph.rest[order]
        known = graph.prev[order] >= 0
        prev = np.where(known, plan.position[graph.prev[order]], -1)
        step = np.where(known, dur[prev], 0) + graph.lag[order] + rest
        self._ready = np.where(known, _EARLIEST, graph.time[order])
        self._ready[plan.target] = _EARLIEST
        self._prev, self._carried = prev[leads], step[leads]
        step[leads] = -_APART
        self._step = step
        self._bound = graph.edges.lag[plan.edge] + dur[plan.source] + rest[plan.target]

    def solve(self, part: int) -> None:
        plan = self._plan
        here = slice(plan.cuts[part], plan.cuts[part + 1])
        edges = slice(plan.edge_cuts[part], plan.edge_cuts[part + 1])
        self._carry(slice(plan.lead_cuts[part], plan.lead_cuts[part + 1]))
        ready, total = self._ready[here], np.cumsum(self._step[here])
        source, target = plan.source[edges], plan.target[edges] - here.start
        if not plan.looped[part]:
            self.time[here] = self._found(ready, total, source, target, self._bound[edges])
            return
        self.time[here] = _EARLIEST // 2  # a first guess that is too early
        # Each pass settles a point more at least, unless time stamps lie further apart than lanes.
        for _ in range(len(total) + 1):
            found = self._found(ready, total, source, target, self._bound[edges])
            settled = np.array_equal(found, self.time[here])
            self.time[here] = found
            if settled:
                return

    def _carry(self, leads: slice) -> None:
        """Let the first of each lane follow the last one of the parts before."""
        at, prev = self._plan.leads[leads], self._prev[leads]
        carried = np.where(prev >= 0, self.time[prev] + self._carried[leads], _EARLIEST)
        self._ready[at] = np.maximum(self._ready[at], carried)

    def _found(
        self, ready: Int64s, total: Int64s, source: Int64s, target: Int64s, lag: Int64s
    ) -> Int64s:
        """Times of a part, by those of the sources of its edges."""
        bound = ready.copy()
        np.maximum.at(bound, target, self.time[source] + lag)
        bound -= total
        return total + np.maximum.accumulate(bound, out=bound)
