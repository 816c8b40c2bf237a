"""Collectives of real traces: what their arguments and names say, and which findings follow."""

from __future__ import annotations

from functools import cache

import pytest

from perfkit.api import analyze
from perfkit.model.communication_facts import CommunicationFacts
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.trace import open_trace
from tests.traces import PUBLIC, kineto_files, needs_public

pytestmark = needs_public

MI300X = "mi300x/resnet_act_checkpoint.json.gz"
A100 = "hta/nccl_parser_config/nccl_data.json.gz"
V100 = "hta/df_index_resolver/df_index_resolver.json.gz"
B200 = "b200/eager_trace.json.gz"


@cache
def diagnosis(path: str) -> Diagnosis:
    return analyze(PUBLIC / path)


def facts(path: str) -> CommunicationFacts:
    found = diagnosis(path).collective_facts
    assert found is not None
    return found


def findings(path: str) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnosis(path).findings}


@pytest.mark.parametrize("path", kineto_files())
def test_parts_of_the_step_sum_to_what_the_breakdown_shows(path: str) -> None:
    found, shown = diagnosis(path).collective_facts, diagnosis(path).breakdown_us.communication
    if found is None:  # it is of kernels, which the collectives of ranks on CPUs are not
        names = open_trace(PUBLIC / path).names
        on_cpu = diagnosis(path).device.kind == "cpu"
        assert (shown > 0) == (on_cpu and any(name.startswith("gloo:") for name in names))
        return
    # A collective counts where it starts, the breakdown cuts it at the step's end.
    assert sum(part.exposed_us for part in found.phases) == pytest.approx(shown, rel=0.01)
    assert found.same_stream_us <= shown * 1.01
    assert found.host_late_us <= shown * 1.01


def test_mi300x_reduces_more_than_its_backward_pass_can_hide_over_a_slow_link() -> None:
    found = facts(MI300X)
    (largest, *_) = found.messages
    assert (largest.family, largest.dtype, largest.group_size) == ("all_reduce", "BFloat16", 8)
    assert largest.bytes == 8_816_192 * 2
    assert largest.fastest_us == pytest.approx(8_657, abs=1)  # the trace's README: 8.9 ms
    assert largest.bus_gb_per_s == pytest.approx(17.632 * 1.75 / 8.657, abs=0.01)
    assert found.single_node
    assert "no_sync" in (findings(MI300X)["exposed-communication"].remedy.snippet or "")
    assert findings(MI300X)["low-bus-bandwidth"].severity == "warning"
    assert "many-small-collectives" not in findings(MI300X)
    assert "fp32-gradient-communication" not in findings(MI300X)


def test_a_host_bound_run_hides_nothing_whatever_its_buckets() -> None:
    assert facts(A100).host_late_us > 0.9 * diagnosis(A100).breakdown_us.communication
    assert "host faster first" in findings(A100)["exposed-communication"].remedy.text
    copies = findings(A100)["ddp-gradient-copies"]
    assert copies.title.startswith("DDP copies 161 gradients")
    assert "low-bus-bandwidth" not in findings(A100)  # 13 GB/s at best
    assert "fp32-gradient-communication" not in findings(A100)  # it computes in 32 bits, too


def test_an_all_reduce_for_each_parameter_is_many() -> None:
    small = facts(V100).small
    assert small is not None
    assert small.count_per_step == pytest.approx(254.6)
    assert "many-small-collectives" in findings(V100)


def test_tensor_parallel_serving_is_not_told_to_merge() -> None:
    assert facts(B200).small is None
    assert "many-small-collectives" not in findings(B200)
    remedy = findings(B200)["exposed-communication"].remedy
    assert "between the kernels that need them" in remedy.text


def test_a_rank_that_waits_for_an_exchange_is_told_so() -> None:
    waiting = findings("dlrm_8rank_v100/rank1.pt.trace.json.gz")
    assert waiting["blocking-collective-wait"].cost_share == pytest.approx(0.23, abs=0.02)
    assert "host-sync-in-step" not in waiting
    last = findings("dlrm_8rank_v100/rank7.pt.trace.json.gz")
    assert "blocking-collective-wait" not in last


def test_a_world_of_one_communicates_nothing() -> None:
    path = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
    assert diagnosis(path).collective_facts is None
