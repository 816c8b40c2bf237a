"""The legacy default stream and streams that other libraries make, which may block one another."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.graph.build import rest
from perfkit.analyzers.graph.model import NEVER, Edge
from perfkit.analyzers.graph.replay import replay
from perfkit.trace import open_trace
from sample_traces.simulator.faults import HEALTHY
from sample_traces.simulator.kineto import trace_text
from sample_traces.simulator.network import OUTSIDE as KERNEL
from sample_traces.simulator.program import Pace, Scenario
from sample_traces.simulator.run import train
from tests.analyzers.test_graph import oracle
from tests.traces import PUBLIC, kineto_files, needs_public

STEPS = 8
OUTSIDE = replace(HEALTHY, outside_us=300.0)
BLOCKING = replace(OUTSIDE, outside_blocks=True)


def seen(scenario: Scenario, folder: Path) -> Facts:
    path = folder / "trace.json.gz"
    path.write_bytes(gzip.compress(trace_text(scenario, train(scenario, 3, STEPS)).encode(), 1))
    return facts_of(open_trace(path))


def whole_ns(scenario: Scenario) -> int:
    """From the first mark to the end of the GPU's work."""
    run = train(scenario, 3, STEPS)
    return max(op.end for op in run.ops) - run.marks[0].start


def faster_ns(facts: Facts, **changes: Any) -> int:
    """The same as the graph has it, with all computation twice as fast."""
    graph = facts.built.graph
    dur, point = graph.dur.copy(), facts.built.operation[~facts.work.is_copy]
    dur[point] //= 2
    faster = replace(graph, dur=dur, **changes)
    time = replay(faster)
    assert time.tolist() == oracle(faster)
    return int((time + dur)[facts.built.operation].max() - time[facts.built.border[0]])


def test_a_blocking_stream_is_seen_to_keep_in_step(tmp_path: Path) -> None:
    facts = seen(BLOCKING, tmp_path)
    assert facts.replay.blocking_streams == facts.built.blocking_streams == 1
    assert facts.replay.failed == [] and facts.replay.violations == 0
    truth = whole_ns(replace(BLOCKING, pace=Pace(kernels=2.0)))
    assert faster_ns(facts) == pytest.approx(truth, rel=0.005)


def test_without_these_edges_the_streams_would_seem_to_overlap(tmp_path: Path) -> None:
    facts = seen(BLOCKING, tmp_path)
    graph = facts.built.graph
    lag = np.where(graph.edges.kind == Edge.DEFAULT_STREAM, NEVER, graph.edges.lag)
    bare = replace(graph, edges=replace(graph.edges, lag=lag))
    truth = whole_ns(replace(BLOCKING, pace=Pace(kernels=2.0)))
    opened = np.where(graph.is_operation, 0, rest(bare))
    assert faster_ns(facts, edges=bare.edges, rest=opened) < 0.97 * truth


def test_a_stream_that_does_not_block_is_left_alone(tmp_path: Path) -> None:
    facts = seen(OUTSIDE, tmp_path)
    assert facts.built.blocking_streams == 0
    assert not (facts.built.graph.edges.kind == Edge.DEFAULT_STREAM).any()
    truth = whole_ns(replace(OUTSIDE, pace=Pace(kernels=2.0)))
    assert faster_ns(facts) == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("where", ["overlapped", "after"])
def test_order_that_events_explain_is_no_evidence(where: Any, tmp_path: Path) -> None:
    talking = replace(HEALTHY, communication=where, all_reduce_us=300.0)
    assert seen(talking, tmp_path).built.blocking_streams == 0


def test_one_operation_out_of_order_shows_a_stream_that_does_not_block(tmp_path: Path) -> None:
    facts = seen(BLOCKING, tmp_path)
    trace = facts.trace
    outside = np.flatnonzero(trace.name == trace.names.index(KERNEL))
    ts = trace.ts.copy()
    ts[outside[3]] -= 20_000  # begins before the end of what it would have waited for
    order = np.argsort(ts, kind="stable")
    assert facts_of(replace(trace, ts=ts).take(order)).built.blocking_streams == 0


@needs_public
@pytest.mark.parametrize("path", [p for p in kineto_files() if "no_profiler_step" in p])
def test_streams_of_pytorch_do_not_block(path: str) -> None:
    assert facts_of(open_trace(PUBLIC / path)).built.blocking_streams == 0
