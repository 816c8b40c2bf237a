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
    leads: Bools
    """Whether a point is the first of its lane in its part; in this order."""
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
    order = np.lexsort((np.arange(len(graph)), graph.lane, part))
    position = np.empty(len(graph), dtype=np.int64)
    position[order] = np.arange(len(graph))
    part, lane = part[order], graph.lane[order]
    cuts = np.concatenate((np.flatnonzero(np.diff(part, prepend=-1)), [len(part)]))
    leads = np.diff(lane, prepend=-1) != 0
    leads[cuts[:-1]] = True
    source, target = position[graph.edges.source], position[graph.edges.target]
    edge = np.argsort(target, kind="stable")
    source, target = source[edge], target[edge]
    edge_cuts = np.searchsorted(target, cuts)
    inside = np.flatnonzero(part[source] == part[target])
    looped = np.zeros(len(cuts) - 1, dtype=np.bool_)
    looped[np.searchsorted(cuts, target[inside], side="right") - 1] = True
    return Schedule(order, cuts, leads, source, target, edge, edge_cuts, looped)


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
    """The time of each point, in nanoseconds; shape (points,).

    `plan` is the schedule of this graph or of one with the same points and edges.
    """
    plan = plan or schedule(graph)
    state = _State(graph, plan)
    for part in range(len(plan.cuts) - 1):
        state.solve(part)
    times = np.empty(len(graph), dtype=np.int64)
    times[plan.order] = state.time
    return times


class _State:
    """All columns in the order of the schedule, and the times found so far."""

    def __init__(self, graph: Graph, plan: Schedule) -> None:
        self._plan = plan
        order = plan.order
        self.time = np.zeros(len(graph), dtype=np.int64)
        self._dur, self._rest = graph.dur[order], graph.rest[order]
        known = graph.prev[order] >= 0
        self._prev = np.where(known, plan.position[graph.prev[order]], -1)
        before = np.where(known, self._dur[self._prev], 0)
        self._step = before + graph.lag[order] + self._rest
        self._fixed = np.where(known, _EARLIEST, graph.time[order])
        self._fixed[plan.target] = _EARLIEST
        self._edge_lag = graph.edges.lag[plan.edge] + self._dur[plan.source]

    def solve(self, part: int) -> None:
        low, high = self._plan.cuts[part], self._plan.cuts[part + 1]
        first, last = self._plan.edge_cuts[part], self._plan.edge_cuts[part + 1]
        leads = np.flatnonzero(self._plan.leads[low:high])
        step = self._step[low:high].copy()
        ready = self._fixed[low:high].copy()
        prev = self._prev[low + leads]
        carried = np.where(prev >= 0, self.time[prev] + step[leads], _EARLIEST)
        ready[leads] = np.maximum(ready[leads], carried)
        step[leads] = -_APART
        total = np.cumsum(step)
        source, lag = self._plan.source[first:last], self._edge_lag[first:last]
        target = self._plan.target[first:last] - low
        lag = lag + self._rest[low:high][target]
        if self._plan.looped[part]:  # a first guess that is too early
            self.time[low:high] = _EARLIEST // 2
        # Each pass settles a point more at least, unless time stamps lie further apart than lanes.
        for _ in range(high - low + 1):
            bound = ready.copy()
            np.maximum.at(bound, target, self.time[source] + lag)
            found = total + np.maximum.accumulate(bound - total)
            settled = not self._plan.looped[part] or np.array_equal(found, self.time[low:high])
            self.time[low:high] = found
            if settled:
                return
