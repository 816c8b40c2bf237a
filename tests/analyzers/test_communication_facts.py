"""Collectives made by hand: sizes, phases, what hides them and who waits. Times in microseconds."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.communication_facts import bus_factor, communication_facts
from perfkit.analyzers.facts import facts_of
from perfkit.analyzers.transfers import collectives
from perfkit.model.communication_facts import CommunicationFacts
from tests.analyzers.programs import Event, host, trace_of

MAIN, AUTOGRAD = 9, 10
COMPUTE, NCCL = 7, 20
NAME = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
STEP_US = 1000.0


def gpu(
    corr: int, launch: float, start: float, dur: float, *, name: str = "gemm_kernel",
    stream: int = COMPUTE, tid: int = MAIN, **args: Any,
) -> list[Event]:  # fmt: skip
    """A kernel and its launch of 4 us."""
    kernel = {
        "ph": "X",
        "cat": "kernel",
        "name": name,
        "ts": start,
        "dur": dur,
        "pid": 0,
        "tid": stream,
        "args": {"stream": stream, "device": 0, "correlation": corr, **args},
    }
    return [host("cudaLaunchKernel", launch, 4, "cuda_runtime", tid, correlation=corr), kernel]


def told(name: str = "allreduce", elements: int = 1000, dtype: str = "Float", ranks: int = 8,
         out: int | None = None) -> dict[str, Any]:  # fmt: skip
    """What a process group records of a collective."""
    return {"Collective name": name, "In msg nelems": elements, "dtype": dtype,
            "Out msg nelems": elements if out is None else out, "Group size": ranks}  # fmt: skip


def reduce(
    corr: int, launch: float, start: float, dur: float, *, tid: int = MAIN, stream: int = NCCL,
    **args: Any,
) -> list[Event]:  # fmt: skip
    """An all-reduce and its launch inside of the process group's operator."""
    return [
        host("c10d::allreduce_", launch - 10, 20, tid=tid),
        *gpu(corr, launch, start, dur, name=NAME, stream=stream, tid=tid, **(args or told())),
    ]


def of(*parts: Event | list[Event]) -> CommunicationFacts | None:
    flat = [e for part in parts for e in (part if isinstance(part, list) else [part])]
    return communication_facts(facts_of(trace_of([_mark(), *flat])))


def known(*parts: Event | list[Event]) -> CommunicationFacts:
    found = of(*parts)
    assert found is not None
    return found


def _mark() -> Event:
    return host("ProfilerStep#1", 0, STEP_US, "user_annotation")


FORWARD = gpu(1, 10, 20, 100)
"""The GPU computes from 20 to 120."""


def gradients(*times: tuple[float, float, float]) -> list[Event]:
    """Backward operators with a kernel each: launch, start and length."""
    return [
        event
        for i, (launch, start, dur) in enumerate(times)
        for event in (
            host(
                "autograd::engine::evaluate_function: MmBackward0", launch - 2, 8, tid=AUTOGRAD
            ),
            *gpu(50 + i, launch, start, dur, tid=AUTOGRAD),
        )
    ]  # fmt: skip


def test_without_collectives_there_are_no_facts() -> None:
    assert of(FORWARD) is None


def test_exposed_is_what_no_computation_covers_and_nothing_counts_twice() -> None:
    found = known(FORWARD, reduce(2, 30, 100, 60), reduce(3, 40, 150, 30, stream=21))
    (part,) = found.phases
    assert (part.family, part.count_per_step) == ("all_reduce", 2.0)
    assert part.total_us == 90.0
    assert part.exposed_us == 60.0  # from 120 to 180, though the second began at 150


@pytest.mark.parametrize(
    ("where", "launch", "tid", "phase"),
    [
        (host("DistributedDataParallel.forward", 15, 90, "user_annotation"), 60, MAIN, "forward"),
        (host("nothing", 0, 1), 60, MAIN, "forward"),
        (host("nothing", 0, 1), 220, AUTOGRAD, "backward"),
        (host("## backward ##", 310, 90, "user_annotation"), 340, MAIN, "backward"),
        (host("nothing", 0, 1), 340, MAIN, "after backward"),
        (host("Optimizer.step#AdamW.step", 310, 90, "user_annotation"), 340, MAIN, "optimizer"),
    ],
)
def test_phases_by_thread_by_annotation_and_by_the_backward_pass(
    where: Event, launch: float, tid: int, phase: str
) -> None:
    backward = gradients((200, 210, 50), (290, 300, 20))
    found = known(FORWARD, where, backward, reduce(2, launch, launch + 10, 30, tid=tid))
    assert [part.phase for part in found.phases] == [phase]


def test_without_a_backward_pass_the_phase_is_not_known() -> None:
    found = known(FORWARD, reduce(2, 60, 130, 30))
    assert [part.phase for part in found.phases] == ["other"]


@pytest.mark.parametrize(
    ("family", "ranks", "factor"),
    [
        ("all_reduce", 8, 1.75),
        ("all_gather", 8, 0.875),
        ("reduce_scatter", 2, 0.5),
        ("all_to_all", 4, 0.75),
        ("broadcast", 8, 1.0),
        ("send_recv", 2, 1.0),
        ("barrier", 8, None),
        ("all_reduce", 1, None),
        ("unknown", 8, None),
    ],
)
def test_bus_factors_are_those_of_nccl_tests(
    family: str, ranks: int, factor: float | None
) -> None:  # fmt: skip
    assert bus_factor(family, ranks) == factor


def test_messages_of_about_one_size_and_the_rate_of_the_fastest() -> None:
    size = told(elements=4_000_000, dtype="BFloat16")
    found = known(
        FORWARD,
        reduce(2, 30, 120, 200, **size),
        reduce(3, 40, 320, 100, **size),
        reduce(4, 50, 420, 10, **told(elements=100, dtype="BFloat16")),
    )
    large, small = found.messages
    assert (large.bytes, large.count, large.fastest_us) == (8e6, 2, 100.0)
    assert large.bus_gb_per_s == pytest.approx(8e6 * 1.75 / 100e3)
    assert (large.dtype, large.group_size) == ("BFloat16", 8)
    assert small.bytes == 200


def test_an_all_gather_counts_its_whole_output() -> None:
    gathered = told("_allgather_base", elements=1000, out=8000)
    (message,) = known(FORWARD, reduce(2, 30, 120, 50, **gathered)).messages
    assert (message.family, message.bytes) == ("all_gather", 32_000)


def test_what_the_kernel_does_not_tell_its_operator_does() -> None:
    generic = gpu(2, 40, 120, 50, name="ncclDevKernel_Generic(int)", stream=NCCL)
    operator = host("record_param_comms", 35, 15, **told(elements=2_000_000))
    facts = facts_of(trace_of([_mark(), *FORWARD, operator, *generic]))
    found = communication_facts(facts)
    assert found is not None
    (message,) = found.messages
    assert (message.family, message.bytes) == ("all_reduce", 8e6)
    assert collectives(facts)[0].name == "allreduce"
    other = host("record_param_comms", 52, 5, **told())  # over before and begun after the launch
    unknown = known(FORWARD, other, generic)
    assert (unknown.messages, unknown.phases[0].family) == ([], "unknown")


def test_sizes_that_are_not_told_give_no_bandwidth() -> None:
    assert known(FORWARD, reduce(2, 30, 120, 50, dtype="")).messages == []


def test_on_the_stream_that_computes_nothing_can_overlap() -> None:
    assert known(FORWARD, reduce(2, 30, 120, 50, stream=COMPUTE)).same_stream_us == 50.0
    assert known(FORWARD, reduce(2, 30, 120, 50)).same_stream_us == 0.0


def test_late_is_what_shows_before_the_next_computation_was_launched() -> None:
    shown = reduce(2, 30, 120, 80)
    assert known(FORWARD, shown, gpu(3, 170, 200, 50)).host_late_us == 50.0
    assert known(FORWARD, shown, gpu(3, 60, 200, 50)).host_late_us == 0.0
    assert known(FORWARD, shown).host_late_us == 0.0


def small(number: int, tid: int = AUTOGRAD, dur: float = 10, **args: Any) -> list[Event]:
    """All-reduces whose operators hold the host, after which the GPU idles."""
    return [
        event
        for i in range(number)
        for event in reduce(100 + i, 400 + 40 * i, 406 + 40 * i, dur, tid=tid, **args)
    ]


def test_small_ones_by_size_or_where_that_is_not_told_by_time() -> None:
    backward = gradients((200, 210, 50))
    by_size = known(FORWARD, backward, small(5, **told(elements=1000))).small
    assert by_size is not None
    assert (by_size.count_per_step, by_size.bytes_per_step) == (5.0, 20_000)
    assert by_size.exposed_us == 50.0
    assert by_size.launch_idle_us > 0
    assert known(FORWARD, backward, small(5, **told(elements=1_000_000))).small is None
    by_time = known(FORWARD, backward, small(5, dtype="")).small
    assert by_time is not None
    assert (by_time.count_per_step, by_time.bytes_per_step) == (5.0, None)
    assert known(FORWARD, backward, small(2, dur=50, dtype="")).small is None


def test_small_ones_between_layers_are_not_counted() -> None:
    forward = host("DistributedDataParallel.forward", 300, 600, "user_annotation")
    assert known(FORWARD, forward, small(5, tid=MAIN)).small is None


def test_the_tail_of_the_backward_pass() -> None:
    backward = gradients((150, 160, 100), (155, 260, 100))  # computes until 360
    first = reduce(2, 270, 280, 100, tid=AUTOGRAD)  # 20 of it after the end
    last = reduce(3, 275, 380, 60, tid=AUTOGRAD)
    found = known(FORWARD, backward, first, last).backward
    assert found is not None
    assert (found.count_per_step, found.compute_us, found.reduce_us) == (2.0, 200.0, 160.0)
    assert (found.tail_us, found.last_us) == (80.0, 60.0)
    assert found.bytes_per_step == 8000


def test_a_host_that_waits_for_a_collective_is_charged_apart_from_other_waits() -> None:
    def waits(shown: float) -> float | None:
        end = 120 + shown
        call = host("cudaStreamSynchronize", 60, end - 55, "cuda_runtime")
        after = gpu(3, end + 60, end + 70, 50)
        found = known(FORWARD, reduce(2, 30, 120, shown), call, after).waits
        return None if found is None else found.idle_us

    assert waits(400.0) == pytest.approx(65.0, abs=5.0)
    assert waits(20.0) is None


def test_what_the_reducer_does_beside_communication() -> None:
    copy = host("torch.distributed.ddp.reducer::copy_bucket_to_grad", 595, 12, tid=AUTOGRAD)
    search = host("torch.distributed.ddp.reducer::search_unused_parameters", 620, 30)
    found = known(
        FORWARD, gradients((150, 160, 100)), reduce(2, 170, 260, 50, tid=AUTOGRAD), copy,
        gpu(3, 600, 606, 7, tid=AUTOGRAD), search, gpu(4, 652, 660, 20),
    )  # fmt: skip
    assert found.bucket_copies is not None and found.unused_search is not None
    assert (found.bucket_copies.count_per_step, found.bucket_copies.kernel_us) == (1.0, 7.0)
    assert found.bucket_copies.idle_us == pytest.approx(11.0)  # until the kernel starts
    assert found.unused_search.idle_us == pytest.approx(30.0)
    assert found.unused_search.kernel_us == 0.0
