"""Rules on communication: when they speak, what they charge, which remedy the numbers choose."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.model.communication_facts import (
    BackwardReductions,
    CollectiveWaits,
    CommunicationFacts,
    Messages,
    Phase,
    PhaseCollectives,
    ReducerWork,
    SmallCollectives,
)
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.reports.advice import advise
from tests.advice.builder import all_reduces, copies, diagnosis, place

DDP = {"parallelism": ["DDP"]}
BF16 = {"parallelism": ["DDP"], "low_precision_share": 0.9}
H100 = {"name": "NVIDIA H100 80GB HBM3", "count": 8}


def facts(**known: Any) -> CommunicationFacts:
    """Facts of which only these are known; by default nothing limits overlap."""
    usual: dict[str, Any] = {
        "phases": [], "messages": [], "same_stream_us": 0.0, "host_late_us": 0.0,
    }  # fmt: skip
    return CommunicationFacts(**(usual | known))


def message(**known: Any) -> Messages:
    """One 25 MB all-reduce of gradients per step among eight ranks, which shows for 2 ms."""
    usual: dict[str, Any] = {
        "phase": "backward", "family": "all_reduce", "dtype": "BFloat16", "group_size": 8,
        "bytes": 25e6, "count": 10, "count_per_step": 1.0, "total_us": 3000.0,
        "exposed_us": 2000.0, "fastest_us": 2900.0, "bus_gb_per_s": 15.0,
    }  # fmt: skip
    return Messages(**(usual | known))


def talking(us: float = 3000.0, framework: dict[str, Any] | None = None, **known: Any) -> Diagnosis:
    """A step that communicates for so long with nothing to hide it."""
    return diagnosis(communication=us, collectives=all_reduces(us), framework=framework,
                     collective_facts=facts(**known))  # fmt: skip


def slow(rate: float, *, device: dict[str, Any] | None = None, node: bool = True, **known: Any
         ) -> Diagnosis:  # fmt: skip
    """Large all-reduces of which the fastest reached this rate in GB/s."""
    taken = 25e6 * 1.75 / rate / 1000
    sent = message(bus_gb_per_s=rate, fastest_us=taken, total_us=taken, exposed_us=taken, **known)
    return diagnosis(communication=min(taken, 9000.0), collectives=all_reduces(taken),
                     device=device or H100,
                     collective_facts=facts(messages=[sent], single_node=node))  # fmt: skip


def small(number: float, exposed: float, idle: float = 0.0, size: float | None = None) -> Any:
    return SmallCollectives(count_per_step=number, exposed_us=exposed, launch_idle_us=idle,
                            bytes_per_step=size)  # fmt: skip


def waiting(idle: float, held: float = 3000.0) -> CollectiveWaits:
    return CollectiveWaits(count_per_step=1.0, held_us=held, idle_us=idle,
                           names=["cudaStreamSynchronize"])  # fmt: skip


def work(kernel: float, idle: float) -> ReducerWork:
    return ReducerWork(count_per_step=160.0, host_us=2000.0, kernel_us=kernel, idle_us=idle)


def shown(phase: Phase, family: Any = "all_reduce", us: float = 3000.0) -> list[PhaseCollectives]:
    return [PhaseCollectives(phase=phase, family=family, count_per_step=4.0, total_us=us,
                             exposed_us=us)]  # fmt: skip


FP32 = message(dtype="Float", exposed_us=3000.0)
DATA_PARALLEL = {"parallelism": ["DataParallel"]}

# (code, why, diagnosis, severity)
FIRES = [
    ("many-small-collectives", "one all-reduce a parameter",
     talking(small=small(200.0, 2000.0, size=2e6)), "warning"),
    ("many-small-collectives", "the host's launches alone",
     diagnosis({"dispatch": 4000}, collective_facts=facts(small=small(400.0, 0.0, 3500.0))),
     "critical"),
    ("low-bus-bandwidth", "NVLink slower than PCIe", slow(5.0), "warning"),
    ("low-bus-bandwidth", "a network slower than Ethernet", slow(0.5, node=False), "warning"),
    ("low-bus-bandwidth", "xGMI, too",
     slow(5.0, device={"name": "AMD Instinct MI300X", "count": 8}), "warning"),
    ("fp32-gradient-communication", "DDP under autocast",
     talking(framework=BF16, messages=[FP32]), "warning"),
    ("fp32-gradient-communication", "little of it shows",
     talking(400.0, framework=BF16, messages=[message(dtype="Float", exposed_us=400.0)]), "info"),
    ("blocking-collective-wait", "a fifth",
     diagnosis({"sync": 2100}, collective_facts=facts(waits=waiting(2000.0))), "critical"),
    ("blocking-collective-wait", "never more than was charged",
     diagnosis({"sync": 800}, collective_facts=facts(waits=waiting(2500.0))), "warning"),
    ("data-parallel-module", "broadcasts by NCCL",
     talking(3500.0, framework=DATA_PARALLEL), "critical"),
    ("data-parallel-module", "copies between GPUs",
     diagnosis(copy=1500, copies=copies("device", 1500, direction="PtoP"),
               framework=DATA_PARALLEL), "warning"),
    ("ddp-gradient-copies", "host-bound",
     diagnosis({"dispatch": 3000}, collective_facts=facts(bucket_copies=work(50.0, 700.0))),
     "warning"),
    ("ddp-gradient-copies", "GPU-bound",
     diagnosis(collective_facts=facts(bucket_copies=work(280.0, 0.0))), "info"),
    ("ddp-unused-parameter-search", "a large graph",
     diagnosis({"dispatch": 3000}, collective_facts=facts(unused_search=work(0.0, 900.0))),
     "warning"),
]  # fmt: skip

# (code, why, diagnosis)
SILENT = [
    ("many-small-collectives", "large ones", talking(messages=[message()])),
    ("many-small-collectives", "DDP's small first bucket and a few metrics",
     talking(small=small(6.0, 400.0, size=3e6))),
    ("many-small-collectives", "hidden", talking(small=small(200.0, 10.0, size=2e6))),
    ("many-small-collectives", "the forward pass of tensor parallelism is not counted",
     talking(phases=shown("forward"))),
    ("low-bus-bandwidth", "as fast as the link", slow(330.0)),
    ("low-bus-bandwidth", "PCIe between cards without NVLink",
     slow(8.0, device={"name": "NVIDIA H100 PCIe", "count": 8})),
    ("low-bus-bandwidth", "an ordinary network", slow(6.0, node=False)),
    ("low-bus-bandwidth", "two calls may both have waited", slow(5.0, count=2)),
    ("low-bus-bandwidth", "small ones are slow for another reason", slow(5.0, bytes=1e6)),
    ("low-bus-bandwidth", "a larger one was fast", diagnosis(
        communication=3000, collectives=all_reduces(3000), device=H100,
        collective_facts=facts(single_node=True, messages=[
            message(bus_gb_per_s=4.0), message(bytes=1e8, bus_gb_per_s=200.0, count=1)]))),
    ("low-bus-bandwidth", "sizes are not told", talking(phases=shown("backward"))),
    ("fp32-gradient-communication", "the model computes in 32 bits",
     talking(framework=DDP | {"low_precision_share": 0.0}, messages=[FP32])),
    ("fp32-gradient-communication", "names do not tell", talking(framework=DDP, messages=[FP32])),
    ("fp32-gradient-communication", "gradients in 16 bits",
     talking(framework=BF16, messages=[message(exposed_us=3000.0)])),
    ("fp32-gradient-communication", "parameters, not gradients",
     talking(framework=BF16, messages=[message(dtype="Float", family="all_gather")])),
    ("fp32-gradient-communication", "a metric",
     talking(framework=BF16, messages=[message(dtype="Float", bytes=4.0)])),
    ("fp32-gradient-communication", "hidden",
     talking(60.0, framework=BF16, messages=[message(dtype="Float", exposed_us=60.0)])),
    ("blocking-collective-wait", "the host waits for computation", diagnosis({"sync": 3000})),
    ("blocking-collective-wait", "the wait costs the GPU nothing",
     diagnosis({"sync": 10}, collective_facts=facts(waits=waiting(0.0)))),
    ("host-sync-in-step", "all of it waits for collectives",
     diagnosis({"sync": 2000}, collective_facts=facts(waits=waiting(2000.0)))),
    ("data-parallel-module", "DDP", talking(framework=DDP)),
    ("data-parallel-module", "one GPU: nothing moves", diagnosis(framework=DATA_PARALLEL)),
    ("data-parallel-module", "inside of DDP",
     talking(framework={"parallelism": ["DDP", "DataParallel"]})),
    ("exposed-communication", "DataParallel, which has a rule of its own",
     talking(framework=DATA_PARALLEL)),
    ("ddp-gradient-copies", "views", talking(framework=DDP)),
    ("ddp-gradient-copies", "few", diagnosis(
        collective_facts=facts(bucket_copies=work(20.0, 10.0)))),
    ("ddp-unused-parameter-search", "off", talking(framework=DDP)),
    ("ddp-unused-parameter-search", "the GPU has work meanwhile",
     diagnosis(collective_facts=facts(unused_search=work(0.0, 0.0)))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "why", "case", "severity"), FIRES, ids=[f"{c[0]}: {c[1]}" for c in FIRES]
)
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = finding(code, case)
    assert found.severity == severity, why
    parts = case.breakdown_us
    assert 0 < found.cost_us <= parts.communication + parts.copy + parts.idle + 300
    assert found.title[0].isupper()
    assert found.remedy.text.endswith(".")
    assert found.evidence


@pytest.mark.parametrize(
    ("code", "why", "case"), SILENT, ids=[f"{c[0]}: {c[1]}" for c in SILENT]
)  # fmt: skip
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


def finding(code: str, case: Diagnosis) -> Finding:
    return next(f for f in advise(case).findings if f.code == code)


def backward(**known: Any) -> BackwardReductions:
    """Two reductions that the backward pass could hide and does not."""
    usual: dict[str, Any] = {"count_per_step": 2.0, "compute_us": 6000.0, "reduce_us": 3000.0,
                             "tail_us": 2900.0, "last_us": 2000.0}  # fmt: skip
    return BackwardReductions(**(usual | known))


LIMITED: list[tuple[str, dict[str, Any], list[str], str]] = [
    ("same stream", {"same_stream_us": 2900.0}, [], "async_op=True"),
    ("host", {"host_late_us": 2000.0}, ["DDP"], "make the host faster first"),
    ("volume", {"backward": backward(reduce_us=9000.0)}, ["DDP"], "with model.no_sync()"),
    ("volume", {"backward": backward(reduce_us=9000.0)}, ["FSDP2"], "set_requires_gradient_sync"),
    ("volume", {"backward": backward(reduce_us=9000.0)}, ["DeepSpeed"],
     "gradient_accumulation_steps"),
    ("volume", {"backward": backward(reduce_us=9000.0)}, [], "send fewer bytes"),
    ("few buckets", {"backward": backward(bytes_per_step=160 * 2**20)}, ["DDP"],
     "bucket_cap_mb=20"),
    ("many buckets", {"backward": backward(count_per_step=12.0)}, ["DDP"], "bucket_cap_mb=100"),
    ("late", {"phases": shown("after backward")}, [], "DistributedDataParallel(model"),
    ("late", {"phases": shown("after backward")}, ["Megatron-LM"], "--overlap-grad-reduce"),
    ("update", {"phases": shown("optimizer", "all_gather")}, [], "all_gather_into_tensor"),
    ("update", {"phases": shown("optimizer", "all_gather")}, ["DeepSpeed"], "overlap_comm"),
    ("forward", {"phases": shown("forward", "broadcast")}, ["DDP"], "broadcast_buffers=False"),
    ("forward", {"phases": shown("forward", "all_reduce")}, ["DDP"], "as soon as their data"),
    ("forward", {"phases": shown("forward", "all_gather")}, ["FSDP2"],
     "set_modules_to_forward_prefetch"),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "known", "parallelism", "words"), LIMITED)
def test_what_limits_overlap_chooses_the_remedy(
    limit: str, known: dict[str, Any], parallelism: list[str], words: str
) -> None:
    known = {"phases": shown("backward"), **known}
    case = talking(framework={"parallelism": parallelism}, **known)
    remedy = finding("exposed-communication", case).remedy
    assert words in f"{remedy.text} {remedy.snippet}", limit


def test_collectives_between_the_layers_of_a_served_model_are_not_made_asynchronous() -> None:
    case = talking(framework={"inference": True}, phases=shown("other"), same_stream_us=3000.0)
    assert "as few GPUs per replica" in finding("exposed-communication", case).remedy.text


def test_merging_leaves_the_buckets_that_are_needed() -> None:
    case = talking(small=small(100.0, 2000.0, size=60 * 2**20))
    found = finding("many-small-collectives", case)
    assert found.title.endswith(": 100 per step, where 3 buckets would do")
    assert found.cost_us == pytest.approx(2000.0 * 0.97)


def test_a_slow_link_is_charged_with_what_the_fastest_took_too_long() -> None:
    found = finding("low-bus-bandwidth", slow(6.0))
    taken, at_least = 25e6 * 1.75 / 6.0 / 1000, 25e6 * 1.75 / 12.0 / 1000
    assert found.cost_us == pytest.approx(taken - at_least)
    assert found.audience == "infrastructure"
    assert any("at least 6 GB/s" in fact.text for fact in found.evidence)
    assert any("lower bounds" in fact.text for fact in found.evidence)


@pytest.mark.parametrize(("node", "words"), [(True, "P2P/CUMEM"), (False, "NET/IB")])
def test_the_log_is_read_for_the_transport_that_should_be_there(node: bool, words: str) -> None:
    found = finding("low-bus-bandwidth", slow(0.6, node=node))
    assert words in found.remedy.text


@pytest.mark.parametrize(
    ("parallelism", "setting"),
    [
        ("DDP", "bf16_compress_hook"),
        ("FSDP1", "MixedPrecision("),
        ("FSDP2", "MixedPrecisionPolicy("),
        ("DeepSpeed", "communication_data_type"),
        ("Megatron-LM", "--grad-reduce-in-bf16"),
        ("", "grad.bfloat16()"),
    ],
)
def test_half_the_bytes_by_the_setting_of_the_framework(parallelism: str, setting: str) -> None:
    used = {"parallelism": [parallelism], "low_precision_share": 0.9}
    found = finding("fp32-gradient-communication", talking(framework=used, messages=[FP32]))
    assert setting in (found.remedy.snippet or "")
    assert found.cost_us == 1500.0


def test_waits_for_collectives_and_other_waits_are_told_apart() -> None:
    case = diagnosis({"sync": 3000}, collective_facts=facts(waits=waiting(2000.0)))
    assert finding("blocking-collective-wait", case).cost_us == 2000.0
    assert finding("host-sync-in-step", case).cost_us == 1000.0


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("aten::index", "use torch.where. What it waits for here is a collective"),
        ("## KJTAllToAllSplitsAwaitable wait() ##", "for the next batch while this one computes"),
        ("cudaStreamSynchronize", "TORCH_NCCL_BLOCKING_WAIT must not be set"),
    ],
)
def test_the_place_of_the_wait_chooses_the_remedy(where: str, words: str) -> None:
    case = diagnosis({"sync": 2000}, places=[place("sync", where, 2000)],
                     collective_facts=facts(waits=waiting(2000.0)))  # fmt: skip
    assert words in finding("blocking-collective-wait", case).remedy.text
