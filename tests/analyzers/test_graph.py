"""The dependency graph and its replay, against an oracle and against real traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.graph.build import build, rest
from perfkit.analyzers.graph.model import Edge, Edges, Graph, Point, Repairs
from perfkit.analyzers.graph.replay import replay
from perfkit.model.trace import Int64s
from perfkit.trace import open_trace
from sample_traces.simulator import simulate, write
from tests.analyzers.programs import Action, programs, recorded, trace_of
from tests.traces import PUBLIC, kineto_files, needs_public

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
quick = settings(max_examples=60, deadline=None)
TRAINING = (  # every public trace of training that records its launches
    "resnet50_v100/num_workers_0.pt.trace.json.gz",
    "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz",
    "hta/nccl_parser_config/nccl_data.json.gz",
    "hta/df_index_resolver/df_index_resolver.json.gz",
    "hta/timeline_analysis/sampled_rank-0.json.gz",
    "hta/critical_path/alexnet/benchmark_result_2869224_1695835535_trace.json.gz",
    "h100/small_transformer_training.pt.trace.json.gz",
    "edge/no_profiler_step_2021.pt.trace.json.gz",
    *(f"dlrm_8rank_v100/rank{rank}.pt.trace.json.gz" for rank in range(8)),
)


def oracle(graph: Graph) -> list[int]:
    """One point after the other, each as late as the latest that it waits for."""
    waits: dict[int, list[tuple[int, int]]] = {}
    edges = zip(graph.edges.target, graph.edges.source, graph.edges.lag, strict=True)
    for target, source, lag in edges:
        waits.setdefault(int(target), []).append((int(source), int(lag)))
    times: list[int] = []
    for i in range(len(graph)):
        after = list(waits.get(i, []))
        if graph.prev[i] >= 0:
            after.append((int(graph.prev[i]), int(graph.lag[i])))
        ready = [times[source] + int(graph.dur[source]) + lag for source, lag in after]
        times.append(max(ready) + int(graph.rest[i]) if ready else int(graph.time[i]))
    return times


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Threads and streams with any edges that go forward."""
    size = draw(st.integers(1, 60))
    lane = np.array(draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    numbers = st.lists(st.integers(0, 50), min_size=size, max_size=size)
    last: dict[int, int] = {}
    prev = []
    for i, at in enumerate(lane.tolist()):
        prev.append(last.get(at, -1))
        last[at] = i
    kind = np.where(lane < 2, Point.END, Point.OPERATION).astype(np.int8)
    pairs = draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))))
    forward = np.array([p for p in pairs if p[0] < p[1]], dtype=np.int64).reshape(-1, 2)
    count = len(forward)
    edges = Edges(
        forward[:, 0], forward[:, 1],
        np.array(draw(st.lists(st.integers(-20, 50), min_size=count, max_size=count)), np.int64),
        np.full(count, Edge.EVENT, np.int8),
    )  # fmt: skip
    columns = [np.array(draw(numbers), dtype=np.int64) for _ in range(4)]
    return Graph(
        time=columns[0], dur=np.where(lane < 2, 0, columns[1]), kind=kind,
        row=np.full(size, -1), lane=lane.astype(np.int32), prev=np.array(prev, dtype=np.int64),
        lag=columns[2], rest=columns[3], edges=edges, repairs=Repairs(0, 0, 0),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_replay_agrees_with_the_oracle_on_any_graph(graph: Graph) -> None:
    assert replay(graph).tolist() == oracle(graph)


def test_replay_ends_where_damaged_time_stamps_lie_further_apart_than_lanes() -> None:
    zero = np.zeros(3, dtype=np.int64)
    one = np.array([1], dtype=np.int64)
    years = Edges(one, one + 1, one << 56, np.full(1, Edge.EVENT, np.int8))
    graph = Graph(
        time=zero, dur=zero, kind=np.full(3, Point.OPERATION, np.int8), row=zero - 1,
        lane=np.array([2, 3, 2], np.int32), prev=np.array([-1, -1, 0]), lag=zero, rest=zero,
        edges=years, repairs=Repairs(0, 0, 0),
    )  # fmt: skip
    assert len(replay(graph)) == 3  # its error is a gate that withholds what it would say
    weeks = replace(graph, time=np.array([0, 1 << 56, 1 << 62]), edges=years.take(one < 0))
    assert replay(weeks).tolist() == [0, 0, 0]


@quick
@given(programs, st.floats(0, 3))
def test_replay_agrees_with_the_oracle_on_programs(
    program: list[list[Action]], factor: float
) -> None:
    graph = facts_of(trace_of(recorded(program))).built.graph
    changed = replace(graph, dur=(graph.dur * factor).astype(np.int64))
    assert replay(changed).tolist() == oracle(changed)


@quick
@given(programs)
def test_recorded_times_solve_the_equations(program: list[list[Action]]) -> None:
    graph = facts_of(trace_of(recorded(program))).built.graph
    assert (replay(graph) == graph.time).all()
    assert (rest(graph) == graph.rest).all()


@quick
@given(programs)
def test_points_come_after_all_that_they_wait_for(program: list[list[Action]]) -> None:
    graph = facts_of(trace_of(recorded(program))).built.graph
    assert (graph.prev < np.arange(len(graph))).all()
    assert (graph.edges.source < graph.edges.target).all()


@quick
@given(programs, st.integers(1, 1000))
def test_nothing_comes_earlier_when_something_takes_longer(
    program: list[list[Action]], more: int
) -> None:
    graph = facts_of(trace_of(recorded(program))).built.graph
    later = replay(replace(graph, dur=np.where(graph.is_operation, graph.dur + more, 0)))
    assert (later >= graph.time).all()


@needs_public
@pytest.mark.parametrize("path", kineto_files())
def test_replay_of_real_traces(path: str) -> None:
    facts = facts_of(open_trace(PUBLIC / path))
    graph = facts.built.graph
    assert (replay(graph) == graph.time).all()
    faster = replace(graph, dur=graph.dur // 2)
    assert replay(faster).tolist() == oracle(faster)
    assert facts.replay.violation_share <= 0.001


@needs_public
@pytest.mark.parametrize("path", TRAINING)
def test_open_replay_of_real_training(path: str) -> None:
    found = facts_of(open_trace(PUBLIC / path)).replay
    assert found.closed_error <= 0.0001
    assert found.open_error <= 0.01


def test_events_that_share_a_nanosecond_need_no_repair(tmp_path: Path) -> None:
    path = write(simulate("input_bound", steps=6), tmp_path)
    assert facts_of(open_trace(path)).replay.reordered == 0


@needs_public
def test_time_stamps_that_contradict_their_sources_are_counted() -> None:
    found = facts_of(open_trace(PUBLIC / "mi300x/resnet_act_checkpoint.json.gz")).replay
    assert 0 < found.reordered < 0.001 * found.time_stamps


def _share_with_faster_kernels(facts: Facts, graph: Graph) -> float:
    def length(g: Graph, time: Int64s) -> int:
        return int((time + g.dur)[facts.built.operation].max() - time[facts.built.border[1]])

    faster = replace(graph, dur=graph.dur // 2)
    return length(faster, replay(faster)) / length(graph, replay(graph))


@needs_public
def test_a_full_queue_passes_faster_kernels_on_to_the_host() -> None:
    facts = facts_of(open_trace(PUBLIC / TRAINING[1]))
    graph = facts.built.graph
    assert facts.built.queue_depth == 1022
    assert 0.45 <= _share_with_faster_kernels(facts, graph) <= 0.60
    lag = np.where(graph.edges.kind == Edge.QUEUE, -(1 << 50), graph.edges.lag)
    bare = replace(graph, edges=replace(graph.edges, lag=lag))
    bare = replace(bare, rest=rest(bare))
    assert _share_with_faster_kernels(facts, bare) > 0.8


def test_a_clock_that_is_early_is_shifted_and_counted() -> None:
    program = [[Action("kernel", 5.0, 20.0) for _ in range(8)] for _ in range(3)]
    trace = trace_of(recorded(program))
    early = replace(trace, ts=np.where(trace.is_gpu_work, trace.ts - 50_000, trace.ts))
    facts = facts_of(early.take(np.argsort(early.ts, kind="stable")))
    assert facts.clock_shift_ns == pytest.approx(48_000, abs=1000)  # latency was 6 us, is 4
    assert facts.built.graph.repairs.violations <= 1
    assert _causes(facts) == _causes(facts_of(trace))  # though events have changed places


def _causes(facts: Facts) -> list[tuple[str, int]]:
    """Name and cause of each host event."""
    rows, cause = facts.host.rows.tolist(), facts.host.cause.tolist()
    names = [facts.trace.names[i] for i in facts.trace.name[rows].tolist()]
    return sorted(zip(names, cause, strict=True))


def test_a_graph_is_the_same_wherever_its_time_begins() -> None:
    program = [[Action("kernel", 5.0, 20.0), Action("sync", 2.0), Action("python", 9.0)]] * 3
    trace = trace_of(recorded(program))
    facts = facts_of(trace)
    moved = facts_of(replace(trace, ts=trace.ts + 3_000_000_000))
    other = build(moved.trace, moved.work, moved.calls, moved.host, moved.windows).graph
    assert (other.time - 3_000_000_000 == facts.built.graph.time).all()
    assert (other.lag == facts.built.graph.lag).all()


def _call(thread: int, start: float, dur: float, corr: int) -> list[dict[str, object]]:
    """A launch on a thread and its kernel on a stream of its own."""
    place = {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 9, "tid": thread}
    kernel = {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": thread}
    where = {"correlation": corr, "stream": thread, "device": 0}
    return [
        {**place, "ts": start, "dur": dur, "args": {"correlation": corr}},
        {**kernel, "ts": start + dur + 10, "dur": 50.0, "args": where},
    ]


def test_calls_of_two_threads_that_overlap_go_through_one_after_the_other() -> None:
    events = [*_call(1, 100.0, 30.0, 5), *_call(2, 110.0, 25.0, 6), *_call(1, 300.0, 5.0, 7)]
    edges = facts_of(trace_of(events)).built.graph.edges
    assert (edges.kind == Edge.DRIVER).sum() == 1
