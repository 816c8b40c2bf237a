"""Single gaps, made by hand, with the cause a person would give them. Times in microseconds."""

from __future__ import annotations

from typing import Any

from perfkit.analyzers.diagnose import diagnose
from perfkit.analyzers.facts import facts_of
from perfkit.analyzers.places import host_calls, places
from perfkit.analyzers.transfers import copies
from perfkit.model.cause import CAUSES
from tests.analyzers.programs import Event, host, trace_of

MAIN, BACKWARD = 9, 10


def launched(
    corr: int,
    launch: float,
    start: float,
    dur: float,
    call: str = "cudaLaunchKernel",
    name: str = "void at::native::vectorized_elementwise_kernel<4>()",
    cat: str = "kernel",
    call_dur: float = 4.0,
    tid: int = MAIN,
    **args: Any,
) -> list[Event]:
    gpu = {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": dur, "pid": 0, "tid": 7,
           "args": {"stream": 7, "device": 0, "correlation": corr, **args}}  # fmt: skip
    return [host(call, launch, call_dur, "cuda_runtime", tid, correlation=corr), gpu]


def idle(*events: Event | list[Event]) -> dict[str, float]:
    """Microseconds of each cause over the recording, zeros left out."""
    flat = [e for part in events for e in (part if isinstance(part, list) else [part])]
    facts = facts_of(trace_of(flat))
    times = facts.times.idle.sum(axis=0) / 1000
    return {c.value: float(t) for c, t in zip(CAUSES, times, strict=True) if t}


FIRST = [host("aten::first", 0, 10), *launched(1, 4, 10, 90)]  # the GPU works from 10 to 100
BEFORE = {"dispatch": 4.0, "launch": 6.0}  # the gap before it


def test_launch_after_python_and_dispatch() -> None:
    found = idle(FIRST, host("aten::add", 150, 14), launched(2, 158, 164, 10))
    assert found == {"dispatch": 4 + 8, "launch": 6 + 6, "python": 50}


def test_a_queued_kernel_waits_for_another_gpu() -> None:
    """As where a model's layers lie on two GPUs: the second computes on what the first made."""
    elsewhere = launched(3, 30, 100, 500)
    elsewhere[1] |= {"pid": 1, "tid": 7}
    elsewhere[1]["args"] |= {"device": 1}
    second = launched(2, 50, 605, 600)
    assert idle(FIRST, second, elsewhere) == {**BEFORE, "other_gpu": 500, "unknown": 5}
    assert idle(FIRST, second) == {**BEFORE, "unknown": 505}
    found = diagnose(trace_of([*FIRST, *second, *elsewhere]))
    assert found.fidelity.replay is not None
    assert any("another GPU is waited for" in why for why in found.fidelity.replay.failed)


def test_python_between_operators_counts_its_gaps() -> None:
    """No event tells how often a program is there."""
    mine = [[host("aten::add", t, 14), *launched(t, t + 8, t + 14, 10)] for t in (150, 250, 350)]
    events = [*FIRST, *(event for part in mine for event in part)]
    (python,) = (p for p in places(facts_of(trace_of(events))) if p.cause == "python")
    assert (python.name, python.count_per_step) == ("between operators", 3)


def test_many_short_gaps_in_one_operator_are_no_long_one() -> None:
    """An operator such as a compiled backward pass may launch thousands of kernels."""
    events = [*FIRST, host("Backward", 150, 2_100)]
    for i in range(2, 22):  # the GPU computes for 10 us of each 100, and 6 go to the launch
        events += launched(i, 100 * i, 100 * i + 6, 10)
    waits = {(p.cause, p.name): p for p in places(facts_of(trace_of(events)))}
    found = waits["dispatch", "Backward"]
    assert found.idle_us == 50 + 19 * 84
    assert found.gap_us == 84


def test_queued_kernels_follow_within_microseconds() -> None:
    assert idle(FIRST, launched(2, 20, 102, 10), host("aten::add", 18, 8)) == {
        **BEFORE, "kernel_gap": 2,
    }  # fmt: skip


def test_an_idle_gap_before_work_queued_long_ago_hides_something() -> None:
    first = [host("aten::first", 0, 10), *launched(1, 4, 10, 3000)]
    assert idle(first, launched(2, 20, 3500, 10)) == {**BEFORE, "unobserved_gpu_work": 490}


def test_a_launch_without_gpu_record_makes_the_gap_unobserved() -> None:
    lost = host("cudaLaunchKernel", 150, 4, "cuda_runtime", correlation=77)
    found = idle(FIRST, lost, launched(2, 300, 306, 10))
    assert found == {**BEFORE, "python": 50, "unobserved_gpu_work": 156}


def test_gpu_work_without_launch_record_is_unknown() -> None:
    assert idle(FIRST, launched(2, 158, 164, 10)[1]) == {**BEFORE, "unknown": 64}


def test_nodes_of_one_graph_launch() -> None:
    nodes = [launched(2, 20, start, 10, "cudaGraphLaunch")[1] for start in (102, 113, 300)]
    found = idle(FIRST, host("cudaGraphLaunch", 20, 30, "cuda_runtime", correlation=2), nodes)
    assert found == {**BEFORE, "kernel_gap": 3, "unobserved_gpu_work": 177}


def test_item_charges_what_the_host_does_next() -> None:
    item = [
        host("aten::item", 20, 90),
        host("cudaStreamSynchronize", 25, 81, "cuda_runtime"),  # returns 6 us after the kernel
    ]
    facts = facts_of(trace_of([*FIRST, *item, host("aten::add", 150, 14),
                               *launched(2, 158, 164, 10)]))  # fmt: skip
    found = {c.value: int(t) for c, t in zip(CAUSES, facts.times.idle.sum(axis=0), strict=True)}
    assert found["sync"] == 64_000
    assert (found["python"], found["dispatch"], found["launch"]) == (0, 4_000, 6_000)
    assert [p.name for p in places(facts) if p.cause == "sync"] == ["aten::item"]
    assert next(c for c in host_calls(facts) if c.role == "sync").idle_us == 64


def test_a_wait_shorter_than_the_gap_is_charged_no_more_than_it_waited() -> None:
    sync = host("cudaDeviceSynchronize", 90, 16, "cuda_runtime")  # the GPU worked for 10 of it
    found = idle(FIRST, sync, host("aten::add", 150, 14), launched(2, 158, 164, 10))
    # 6 us inside the call, 10 of what follows, and the rest is the host's own pace
    assert found == {"sync": 16, "python": 34, "dispatch": 12, "launch": 12}


def test_what_a_loader_wait_took_is_the_loaders() -> None:
    sync = host("cudaDeviceSynchronize", 20, 86, "cuda_runtime")
    name = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    wait = host(name, 110, 1000, "user_annotation")
    found = idle(FIRST, sync, wait, host("aten::add", 1120, 14), launched(2, 1128, 1134, 10))
    assert found["dataloader"] == 1000
    assert found["sync"] == 6 + 4  # after it the lead is lost, the host's own pace counts
    assert found["python"] == 10


def test_a_small_copy_to_the_host_is_a_wait_for_a_value() -> None:
    copy = launched(2, 20, 101, 2, "cudaMemcpyAsync", "Memcpy DtoH (Device -> Pageable)",
                    "gpu_memcpy", call_dur=90, bytes=4)  # fmt: skip
    found = idle(FIRST, copy, host("aten::add", 150, 14), launched(3, 158, 164, 10))
    assert found["sync"] == 1 + 7 + 54  # in the call around the copy, and what followed
    assert "copy" not in found


def test_a_pageable_copy_is_charged_its_staging() -> None:
    copy = launched(2, 120, 400, 50, "cudaMemcpyAsync", "Memcpy HtoD (Pageable -> Device)",
                    "gpu_memcpy", call_dur=330, bytes=1 << 20)  # fmt: skip
    assert idle(FIRST, copy) == {**BEFORE, "python": 20, "copy": 280}


def test_a_thread_that_waits_for_another_takes_its_cause() -> None:
    backward = host("autograd::engine::evaluate_function: MulBackward0", 150, 30, tid=BACKWARD)
    found = idle(FIRST, host("aten::loss", 110, 20), backward,
                 launched(2, 170, 176, 10, tid=BACKWARD))  # fmt: skip
    assert found == {"dispatch": 4 + 20 + 20, "launch": 6 + 6, "python": 10 + 20}


def test_the_most_specific_of_nested_events_counts() -> None:
    outer = host("aten::empty", 110, 60)
    malloc = host("cudaMalloc", 120, 30, "cuda_runtime")
    gc = host("Python GC", 130, 10, "python_function")
    found = idle(FIRST, outer, malloc, gc, launched(2, 165, 171, 10))
    assert (found["allocator"], found["gc"]) == (20, 10)


def test_activation_checkpointing_is_no_checkpoint() -> None:
    recompute = host("torch/utils/checkpoint.py(451): checkpoint", 110, 60, "python_function")
    found = idle(FIRST, recompute, host("CheckpointFunction", 120, 40), launched(2, 165, 171, 10))
    assert "checkpoint" not in found


def test_a_first_use_of_the_driver_is_no_launch() -> None:
    first = launched(2, 150, 5160, 10, call_dur=5000, name="void fresh()")
    assert idle(FIRST, first)["compile"] == 5000
    again = launched(2, 150, 5160, 10, call_dur=5000)
    assert "compile" not in idle(FIRST, again)


def test_the_first_call_of_the_allocator_may_start_the_driver() -> None:
    def free(at: int, dur: int) -> dict[str, Any]:
        return host("cudaFree", at, dur, "cuda_runtime")

    last = launched(2, 9000, 9010, 10)
    start_up = idle(FIRST, free(150, 5000), free(6000, 20), free(6100, 20), last)
    assert (start_up["compile"], start_up["allocator"]) == (5000, 40)
    later = idle(FIRST, free(150, 20), free(200, 5000), free(6100, 20), last)
    assert later["allocator"] == 5040
    assert "compile" not in later


def test_without_operators_python_is_not_claimed() -> None:
    found = idle(launched(1, 4, 10, 90), launched(2, 158, 164, 10))
    assert found == {"launch": 12, "unknown": 58}


def test_clock_skew_gives_no_negative_time() -> None:
    found = idle(FIRST, host("aten::add", 150, 20), launched(2, 160, 158, 10))
    assert sum(found.values()) == 10 + 58


def test_a_capture_launches_nothing_and_is_compilation() -> None:
    capture = [
        host("cudaStreamBeginCapture", 110, 5, "cuda_runtime"),
        host("cudaLaunchKernel", 120, 20, "cuda_runtime", correlation=80),
        host("cudaStreamEndCapture", 145, 5, "cuda_runtime"),
    ]
    found = idle(FIRST, capture, launched(2, 158, 164, 10))
    assert found["compile"] == 30
    assert "unobserved_gpu_work" not in found


def test_an_annotation_around_a_whole_phase_is_no_dispatch() -> None:
    phase = host("DistributedDataParallel.forward", 110, 60, "user_annotation")
    found = idle(FIRST, phase, launched(2, 158, 164, 10))
    assert found == {**BEFORE, "launch": 12, "python": 58}


def test_a_wait_on_an_unrelated_thread_charges_nothing() -> None:
    other = launched(3, 20, 101, 1, tid=77)
    sync = host("cudaEventSynchronize", 30, 78, "cuda_runtime", tid=77)
    found = idle(FIRST, other, sync, host("aten::add", 150, 14), launched(2, 158, 164, 10))
    assert "sync" not in found
    assert found["python"] == 48


def test_a_large_read_that_waited_for_kernels_is_a_synchronization() -> None:
    copy = launched(2, 20, 101, 3, "cudaMemcpyAsync", "Memcpy DtoH (Device -> Pageable)",
                    "gpu_memcpy", call_dur=90, bytes=4096)  # fmt: skip
    found = idle(FIRST, copy, host("aten::add", 150, 14), launched(3, 158, 164, 10))
    assert "copy" not in found
    assert found["sync"] > 50


def test_a_rocm_copy_that_outlasts_itself_was_pageable() -> None:
    copy = launched(2, 120, 400, 50, "hipMemcpyAsync", "Memcpy HtoD (Host -> Device)",
                    "gpu_memcpy", call_dur=331, bytes=1 << 20)  # fmt: skip
    assert idle(FIRST, copy)["copy"] == 280


def test_bytes_of_copies_are_told_only_where_all_tell_them() -> None:
    """ROCm leaves them out of some records."""
    memset = "hipMemsetAsync", "Memset (Device)", "gpu_memset"
    some = launched(1, 4, 10, 90, *memset, bytes=64)
    silent = launched(2, 104, 110, 90, *memset)
    told, partly = (copies(facts_of(trace_of(part))) for part in (some, [*some, *silent]))
    assert [c.bytes_per_step for c in (*told, *partly)] == [64, None]


def test_one_lost_record_does_not_spoil_other_streams() -> None:
    lost = host("cudaMemcpyAsync", 12, 2, "cuda_runtime", correlation=90)
    side = launched(5, 400, 406, 5)
    side[1]["tid"], side[1]["args"]["stream"] = 33, 33
    found = idle(FIRST, lost, launched(2, 158, 164, 10), side)
    assert found["python"] > 200
    assert found["unobserved_gpu_work"] == 64  # before the next operation of its own stream


def test_collectives_of_a_cpu_are_communication_where_no_operator_runs() -> None:
    """Their ranges stand on a thread of the backend, which computes nothing."""
    step = host("ProfilerStep#1", 0, 100, "user_annotation")
    waits = host("gloo:all_reduce", 20, 60, "user_annotation", tid=BACKWARD)
    times = facts_of(trace_of([step, host("aten::mm", 10, 30), waits])).times
    parts = [int(part[0]) for part in (times.compute, times.communication, times.idle.sum(axis=1))]
    assert parts == [30_000, 40_000, 30_000]


def test_python_functions_with_telling_names_tell_nothing() -> None:
    names = ("re.py(288): _compile", "my/save_model_utils.py(10): forward_backward")
    frames = [host(n, 110 + i, 40, "python_function") for i, n in enumerate(names)]
    found = idle(FIRST, frames, launched(2, 158, 164, 10))
    assert set(found) == {"dispatch", "launch", "python"}
