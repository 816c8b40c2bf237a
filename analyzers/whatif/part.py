"""Which steps are replayed, and how long they take in a replay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.graph.build import Built, rest
from perfkit.analyzers.graph.model import Edges, Graph
from perfkit.analyzers.graph.replay import Schedule, replay, schedule
from perfkit.analyzers.whatif.edit import Edit, Part, callers, time_by_cause
from perfkit.analyzers.whatif.peers import held_by_peers, waits
from perfkit.model.trace import Bools, Int64s

MOST_POINTS = 60_000
"""Enough steps for a mean; all of them where they have fewer points."""


@dataclass(frozen=True)
class Stretch:
    """Neighbouring steps to be replayed.

    `border` are points of the graph, one more than steps; `counted` says which steps enter the
    mean, `mean_us` is the measured mean of all counted steps of the trace, and `recorded` what the
    counted ones took here; shapes (steps,).
    """

    part: Part
    plan: Schedule
    border: Int64s
    last_is_gpu: bool
    counted: Bools
    mean_us: float

    @property
    def waited_us(self) -> float:
        """What collectives waited for peers, in microseconds per step."""
        return float(self.part.waited.sum()) / 1000 / (len(self.border) - 1)

    @property
    def recorded(self) -> Int64s:
        """Nanoseconds of the counted steps as recorded."""
        return self._steps(self.part.graph.time, self.part.graph)

    def replayed(self, edit: Edit) -> Int64s:
        """Nanoseconds of the counted steps after the edit."""
        return self.counted_at(self.times(edit), edit)

    def times(self, edit: Edit) -> Int64s:
        """When each point happens after the edit; shape (points,)."""
        return replay(edit.graph(), self.plan)

    def counted_at(self, time: Int64s, edit: Edit) -> Int64s:
        """Nanoseconds of the counted steps, from the times of the edit's points."""
        return self._steps(time, edit.graph())

    def _steps(self, time: Int64s, graph: Graph) -> Int64s:
        """From the end of all that was launched before a border to that before the next."""
        reach = np.maximum.accumulate(np.where(graph.is_operation, time + graph.dur, 0))
        over = np.maximum(reach[self.border], time[self.border])
        if self.last_is_gpu:  # the last step ends with its work, whenever the host comes to that
            over[-1] = max(int(reach[self.border[-1]]), int(over[-2]))
        return np.asarray(np.diff(over)[self.counted])


def stretch(facts: Facts, built: Built) -> Stretch:
    """The longest run of counted steps that is small enough, from the middle of the trace."""
    counted = np.zeros(len(facts.windows), dtype=np.bool_)
    counted[facts.counted] = True
    first, last = _chosen(built, counted)
    border = built.border[first : last + 1]
    low = int(border[0]) if first else 0
    high = int(border[-1]) + 1
    inside = counted[first:last].copy()
    if first and inside[1:].any():
        inside[0] = False  # what was queued before it is not known
    part = _part(facts, built, _cut(built.graph, low, high), low, high)
    graph = part.graph
    return Stretch(
        part=part,
        plan=schedule(graph),
        border=border - low,
        last_is_gpu=last == len(counted) and len(facts.work) > 0,
        counted=inside,
        mean_us=facts.per_step_us(facts.times.wall[facts.counted].sum()),
    )


def _chosen(built: Built, counted: Bools) -> tuple[int, int]:
    """First step and the one behind the last."""
    steps = len(counted)
    sizes = np.diff(built.border)
    count = max(int(MOST_POINTS / max(float(np.median(sizes)), 1)), 2)
    if count >= steps:
        return 0, steps
    sums = np.convolve(counted, np.ones(count), mode="valid")
    best = np.flatnonzero(sums == sums.max())
    first = int(best[np.argmin(np.abs(best + count / 2 - steps / 2))])
    return first, first + count


def _cut(graph: Graph, low: int, high: int) -> Graph:
    """The points from `low` to `high` as a graph of their own."""
    if (low, high) == (0, len(graph)):
        return graph
    edges = graph.edges
    inside = (edges.source >= low) & (edges.target < high)
    edges = edges.take(inside)
    prev = graph.prev[low:high] - low
    cut = replace(
        graph,
        **{name: getattr(graph, name)[low:high] for name in _COLUMNS},
        prev=np.maximum(prev, -1),
        edges=Edges(edges.source - low, edges.target - low, edges.lag, edges.kind),
    )
    return replace(cut, rest=rest(cut))


_COLUMNS = ("time", "dur", "kind", "row", "lane", "lag", "rest")


def _part(facts: Facts, built: Built, graph: Graph, low: int, high: int) -> Part:
    work = np.flatnonzero((built.operation >= low) & (built.operation < high))
    operation = built.operation[work] - low
    waited = np.zeros(len(graph), dtype=np.int64)
    waited[operation] = waits(facts)[work]
    return Part(
        facts=facts,
        graph=_waiting(graph, waited, operation[facts.work.is_communication[work]]),
        work=work,
        operation=operation,
        caller=callers(facts, graph),
        spent=time_by_cause(facts, graph),
        waited=waited,
    )


def _waiting(graph: Graph, waited: Int64s, collectives: Int64s) -> Graph:
    """The graph in which collectives begin when all ranks have come, and wait without a reason."""
    some = np.flatnonzero(waited)
    if not len(some):
        return graph
    later = replace(
        graph, time=graph.time + waited, dur=graph.dur - waited, rest=graph.rest + waited
    )
    return held_by_peers(later, int(collectives.min()), some)
