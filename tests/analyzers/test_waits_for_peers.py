"""Waits of collectives for other ranks: what one rank's trace shows of them, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.graph.replay import replay
from perfkit.analyzers.whatif import edited, fixes_of, what_if
from perfkit.analyzers.whatif.peers import waits
from perfkit.model.diagnosis import Gain
from perfkit.trace import open_trace
from sample_traces.simulator import Simulated, inject, write
from tests.analyzers.programs import Event, trace_of
from tests.traces import PUBLIC, needs_public

COLLECTIVE = (
    "hta/nccl_parser_config/nccl_data.json.gz",
    "hta/df_index_resolver/df_index_resolver.json.gz",
    "dlrm_8rank_v100/rank5.pt.trace.json.gz",
    "mi300x/resnet_act_checkpoint.json.gz",
)


def collective(ts: float, dur: float, elements: int, corr: int, name: str = "allreduce") -> Event:
    """A kernel on the stream of communication."""
    told = {"Collective name": name, "In msg nelems": elements, "Out msg nelems": elements}
    where = {"Group size": 8, "dtype": "Float", "stream": 20, "device": 0, "correlation": corr}
    kernel = "ncclDevKernel_AllReduce_Sum_f32_RING_LL()"
    place = {"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 20}
    return {**place, "ts": ts, "dur": dur, "args": {**told, **where}}


def waited_us(*kernels: tuple[float, int, str]) -> list[float]:
    """What kernels (duration in us, elements, name), one after the other, waited for."""
    events = [
        collective(1000.0 * i, dur, elements, i + 1, name)
        for i, (dur, elements, name) in enumerate(kernels)
    ]
    return [ns / 1000 for ns in waits(facts_of(trace_of(events))).tolist()]


def test_what_a_larger_one_does_not_need_is_a_wait() -> None:
    found = waited_us((100.0, 64, "allreduce"), (500.0, 8, "allreduce"), (190.0, 64, "allreduce"))
    assert found == [0.0, 400.0, 0.0]  # 190 us may be a transfer at half the rate


def test_only_those_alike_are_compared() -> None:
    kernels = [(100.0, 64, "allreduce"), (500.0, 65, "allreduce"), (900.0, 8, "allgather")]
    assert waited_us(*kernels) == [0.0, 0.0, 0.0]
    assert waited_us((100.0, 0, "allreduce"), (900.0, 0, "allreduce")) == [0.0, 0.0]


@pytest.fixture(scope="module")
def late() -> Simulated:
    return inject({"late_peer": 0.5}, seed=1)


@pytest.fixture(scope="module")
def facts(late: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts_of(open_trace(write(late, tmp_path_factory.mktemp("late"))))


def true_gain_us(late: Simulated, facts: Facts, fix: str) -> float:
    return facts.stretch.mean_us - float(late.truth["fixes"][fix]["wall_ns"]) / 18_000


def gain(facts: Facts, fix: str) -> Gain:
    return what_if(facts, [fix]).fixes[0].gain_us


def test_a_faster_network_does_not_shorten_a_wait(late: Simulated, facts: Facts) -> None:
    found, truth = gain(facts, "communication=2"), true_gain_us(late, facts, "communication=2")
    assert found.expected == pytest.approx(truth, abs=0.02 * facts.stretch.mean_us)
    assert found.bound > 0.1 * facts.stretch.mean_us  # all of it may have been data


@pytest.mark.parametrize("fix", ["kernels=2", "kernels:gemm=2", "host=2"])
def test_the_interval_holds_peers_that_follow_and_peers_that_do_not(
    late: Simulated, facts: Facts, fix: str
) -> None:
    found, truth = gain(facts, fix), true_gain_us(late, facts, fix)
    assert found.low is not None and found.high is not None
    assert found.low <= truth <= found.high
    steps = facts.stretch
    graph = edited(steps, fixes_of([fix]), optimistic=False, alone=True).graph()
    time = replay(graph, steps.plan)
    whole = (time + graph.dur)[steps.part.operation].max() - time[steps.border[0]]
    assert whole == pytest.approx(late.truth["fixes"][fix]["wall_ns"], rel=0.01)


def test_a_note_says_what_gains_hang_on(facts: Facts) -> None:
    note = what_if(facts, ["kernels=2"]).note
    assert note is not None and "of a step for other ranks" in note


def test_ranks_that_are_hardly_late_are_expected_to_follow(tmp_path: Path) -> None:
    trace = write(inject({"late_peer": 0.02}, seed=1), tmp_path)
    answer = what_if(facts_of(open_trace(trace)), ["kernels=2"])
    assert answer.note is None or "other ranks" not in answer.note


@pytest.mark.parametrize("alone", [False, True])
def test_nothing_moves_without_a_fix(facts: Facts, alone: bool) -> None:
    steps = facts.stretch
    assert steps.part.waited.sum() > 0
    graph = edited(steps, [], optimistic=False, alone=alone).graph()
    assert (replay(graph, steps.plan) == steps.part.graph.time).all()


def test_the_most_that_can_be_hoped_for_takes_waits_for_data(facts: Facts) -> None:
    steps = facts.stretch
    graph = edited(steps, [], optimistic=True).graph()
    end = steps.part.graph.time + steps.part.graph.dur
    assert (replay(graph, steps.plan) + graph.dur == end).all()


@needs_public
@pytest.mark.parametrize("path", COLLECTIVE)
def test_collectives_of_real_traces_wait_for_a_part_of_their_time(path: str) -> None:
    facts = facts_of(open_trace(PUBLIC / path))
    found = waits(facts)
    took = facts.work.end - facts.work.start
    assert (found >= 0).all()
    assert (found[found > 0] < took[found > 0]).all()
    assert not found[~facts.work.is_communication].any()


def test_waits_do_not_hang_on_the_order_of_kernels() -> None:
    kernels = [(100.0, 64, "allreduce"), (500.0, 8, "allreduce"), (300.0, 8, "allreduce")]
    assert waited_us(*kernels) == list(reversed(waited_us(*reversed(kernels))))
