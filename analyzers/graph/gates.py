"""Whether a graph explains the recording well enough to predict from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from perfkit.analyzers.graph.binding import path_to
from perfkit.analyzers.graph.model import Edge, Graph, Point
from perfkit.analyzers.graph.replay import length, replay, schedule
from perfkit.model.cause import CODE, Cause
from perfkit.model.diagnosis import Replay
from perfkit.model.trace import Bools, Int64s

if TYPE_CHECKING:
    from perfkit.analyzers.facts import Facts
    from perfkit.analyzers.graph.build import Built

MOST_CLOSED, MOST_OPEN, MOST_START, MOST_REST = 1e-4, 0.01, 0.005, 0.02
MOST_VIOLATIONS, MOST_MISSING = 1e-3, 0.005


class ReplayErrors(NamedTuple):
    """What a replay misses: shares of the recording's length, and nanoseconds of a mean start."""

    closed: float
    open: float
    start_ns: float
    residual: float


def replay_errors(built: Built, before: Int64s) -> ReplayErrors:
    """Replay the recording with its residuals and without; `before` is of `bindings`."""
    graph = built.graph
    plan = schedule(graph)
    closed = replay(graph, plan)
    opened = replay(replace(graph, rest=np.where(_is_open(graph), 0, graph.rest)), plan)
    recorded = max(length(graph, graph.time), 1)
    start = _own_shift((opened - graph.time)[built.operation], built.operation, built.border)
    return ReplayErrors(
        closed=abs(length(graph, closed) - recorded) / recorded,
        open=abs(length(graph, opened) - recorded) / recorded,
        start_ns=float(start.mean()) if len(start) else 0.0,
        residual=_rest_on_path(graph, before) / recorded,
    )


def replay_fidelity(facts: Facts) -> Replay:
    """The errors of the replay, and each gate that they fail as a sentence."""
    graph, built, errors = facts.built.graph, facts.built, facts.errors
    step = facts.per_step_us(facts.times.wall[facts.counted].sum()) * 1000
    found = Replay(
        closed_error=errors.closed,
        open_error=errors.open,
        start_error=errors.start_ns / max(step, 1),
        residual_share=errors.residual,
        violation_share=graph.repairs.violations / max(graph.repairs.recorded_edges, 1),
        violations=graph.repairs.violations,
        recorded_edges=graph.repairs.recorded_edges,
        clock_shift_us=facts.clock_shift_ns / 1000,
        reordered=graph.repairs.reordered,
        time_stamps=len(graph),
        queue_depth=built.queue_depth,
        blocking_streams=built.blocking_streams,
        failed=[],
    )
    return msgspec.structs.replace(found, failed=list(_failures(found, facts)))


def _own_shift(error: Int64s, operation: Int64s, border: Int64s) -> Int64s:
    """Errors of starts beyond that of their step as a whole, which the other errors tell."""
    if not len(error):
        return error
    step = np.searchsorted(border, operation)
    count = np.maximum(np.bincount(step), 1)
    mean = np.bincount(step, weights=error) / count
    return np.asarray(np.abs(error - mean[step]).astype(np.int64))


def _failures(found: Replay, facts: Facts) -> Iterator[str]:
    if found.closed_error > MOST_CLOSED:
        yield f"the replay misses the recording by {100 * found.closed_error:.2f} %"
    if found.open_error > MOST_OPEN:
        yield f"without residuals the replay misses the recording by {100 * found.open_error:.1f} %"
    if found.start_error > MOST_START:
        yield f"operations start {100 * found.start_error:.1f} % of a step off"
    if found.residual_share > MOST_REST:
        share = 100 * found.residual_share
        yield f"{share:.1f} % of the recording's length is explained by nothing"
    if found.violation_share > MOST_VIOLATIONS:
        share = 100 * found.violation_share
        yield f"{share:.1f} % of the recorded dependencies contradict their times"
    missing = int((facts.calls.call < 0).sum()) + len(facts.calls.orphans)
    share = 100 * missing / max(len(facts.work) + len(facts.calls.orphans), 1)
    if share > 100 * MOST_MISSING:
        yield f"{share:.1f} % of the operations lack their launch or their record"
    times = facts.times.take(facts.counted)
    share = float(times.idle[:, CODE[Cause.OTHER_GPU]].sum()) / max(float(times.wall.sum()), 1.0)
    if share > MOST_REST:
        yield f"{100 * share:.1f} % of the time another GPU is waited for, which is not replayed"


def _is_open(graph: Graph) -> Bools:
    """Points whose residuals an open replay drops: starts on the GPU, and what waits for it."""
    waits = np.isin(graph.edges.kind, (Edge.SYNC, Edge.COPY, Edge.QUEUE))
    found: Bools = graph.kind == Point.OPERATION
    found[graph.edges.target[waits]] = True
    return found


def _rest_on_path(graph: Graph, before: Int64s) -> int:
    """Residuals on the path of dependencies that sets the length."""
    if not len(graph):
        return 0
    path = path_to(int(np.argmax(graph.time + graph.dur)), before)
    return int(graph.rest[path].sum())
