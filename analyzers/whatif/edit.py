"""A graph with some of its durations changed, and what the host's time in it was spent on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.graph.model import NEVER, Edge, Graph
from perfkit.analyzers.intervals import union
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.trace import Bools, Int8s, Int64s


@dataclass(frozen=True)
class Part:
    """The part of a trace that is replayed: its graph, and what its points stand for.

    `work` are positions of the GPU operations in the facts and `operation` their points; `caller`
    has the Cause code of the call that each point ends or that launched it, -1 without one.
    """

    facts: Facts
    graph: Graph
    work: Int64s
    operation: Int64s
    caller: Int8s
    spent: Int64s
    """Nanoseconds by cause before each host point since the one before; (causes, points)."""
    waited: Int64s
    """Nanoseconds that a collective waited for peers before it began to move data; (points,)."""


class Edit:
    """Durations, lags and edges of a part, to be changed by fixes one after the other."""

    def __init__(self, part: Part, *, optimistic: bool, alone: bool = False) -> None:
        graph = part.graph
        self.part = part
        self.optimistic = optimistic
        """Whether the most is asked that the fix could ever return."""
        self.dur, self.lag = graph.dur.copy(), graph.lag.copy()
        self.rest, self.edge_lag = graph.rest.copy(), graph.edges.lag.copy()
        self._left: dict[Cause, Int64s] = {}
        """What is left of the host's time; causes that were not shortened are not here."""
        if optimistic:  # all that a collective took may have been data
            self.dur += part.waited
            self.rest -= part.waited
        elif alone:
            self._hold_peers()

    def _hold_peers(self) -> None:
        """Let peers come when they came, whatever this rank does."""
        edges, graph = self.part.graph.edges, self.part.graph
        held = edges.kind == Edge.PEER
        source, target = edges.source[held], edges.target[held]
        self.rest[target] -= self.part.waited[target]
        came = graph.time[target] - self.rest[target]
        self.edge_lag[held] = came - (graph.time + graph.dur)[source]

    @property
    def changes(self) -> bool:
        """Whether anything differs from the part as it was recorded."""
        was = self.part.graph
        now = ((self.dur, was.dur), (self.lag, was.lag), (self.rest, was.rest))
        return not all(np.array_equal(*pair) for pair in (*now, (self.edge_lag, was.edges.lag)))

    def graph(self) -> Graph:
        """The graph as it is now."""
        graph = self.part.graph
        edges = replace(graph.edges, lag=self.edge_lag)
        return replace(graph, dur=self.dur, lag=self.lag, rest=self.rest, edges=edges)

    def shorten(self, causes: Iterable[Cause], keep: float, where: Bools | None = None) -> None:
        """Let the host's time of these causes take only the share `keep` of what it took."""
        for cause in causes:
            left = self._left_of(cause)
            gone = np.minimum((left * (1 - keep)).astype(np.int64), np.maximum(self.lag, 0))
            if where is not None:
                gone = np.where(where, gone, 0)
            self.lag -= gone
            left -= gone

    def _left_of(self, cause: Cause) -> Int64s:
        if cause not in self._left:
            self._left[cause] = self.part.spent[CODE[cause]].copy()
        return self._left[cause]

    def release(self, kinds: Iterable[Edge], callers: Iterable[Cause] | None = None) -> None:
        """Let calls (of these causes) no longer wait for these edges."""
        edges = self.part.graph.edges
        mine = np.isin(edges.kind, list(kinds))
        if callers is not None:
            codes = [CODE[cause] for cause in callers]
            mine &= np.isin(self.part.caller[edges.target], codes)
        self.edge_lag[mine] = NEVER
        self.rest[edges.target[mine]] = 0

    def release_ends(self, ends: Bools) -> None:
        """Let these calls (a mask over the points, of their ends) wait for nothing."""
        self.edge_lag[ends[self.part.graph.edges.target]] = NEVER
        self.rest[ends] = 0

    def launch_later(self, points: Int64s, by: Int64s) -> None:
        """Let operations become ready so many nanoseconds later after their launch."""
        later = np.zeros(len(self.lag), dtype=np.int64)
        later[points] = by
        edges = self.part.graph.edges
        self.edge_lag += np.where(edges.kind == Edge.LAUNCH, later[edges.target], 0)

    def scale(self, operations: Bools, factor: float) -> None:
        """Let these operations of the part (a mask over them) take `factor` times as long."""
        points = self.part.operation[operations]
        self.dur[points] = (self.dur[points] * factor).astype(np.int64)


def time_by_cause(facts: Facts, graph: Graph) -> Int64s:
    """Nanoseconds of each cause between each host point and the one before; (causes, points)."""
    spent = np.zeros((len(CAUSES), len(graph)), dtype=np.int64)
    ours = graph.lane < len(facts.trace.lanes)  # those of loader workers lie behind
    on_host = np.flatnonzero(~graph.is_operation & ours & (graph.prev >= 0))
    for thread in np.unique(graph.lane[on_host]).tolist():
        mine = on_host[graph.lane[on_host] == thread]
        line = facts.host.timeline(thread)
        begin, end = graph.time[graph.prev[mine]], graph.time[mine]
        edges = np.append(line.start, max(int(end[-1]), *line.start[-1:].tolist(), 0))
        python = end - begin
        for code in np.unique(line.cause).tolist():
            held = np.flatnonzero(line.cause == code)
            covered = union(edges[held], edges[held + 1]).covered(begin, end)
            if code != CODE[Cause.PYTHON]:
                spent[code, mine] = covered
                python = python - covered
        spent[CODE[Cause.PYTHON], mine] = python
    return spent


def callers(facts: Facts, graph: Graph) -> Int8s:
    """Cause code of the call that each point ends, or that launched it; shape (points,)."""
    by_row = np.full(len(facts.trace) + 1, -1, dtype=np.int8)
    by_row[facts.host.rows] = facts.host.cause
    call = np.full(len(facts.trace) + 1, -1, dtype=np.int64)
    call[facts.work.rows] = facts.calls.call
    row = np.where(graph.is_operation, call[graph.row], graph.row)
    return by_row[row]
