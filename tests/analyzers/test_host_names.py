"""Names that a trace may give to host time, and the cause a GPU's idle time then has."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.diagnose import diagnose
from tests.analyzers.programs import trace_of

Event = dict[str, Any]
NAMES = [
    ("perfkit::data", "dataloader"),
    ("enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", "dataloader"),
    ("data_loading", "dataloader"),
    ("Data Fetch", "dataloader"),
    ("get_batch", "dataloader"),
    ("## next_batch ##", "dataloader"),
    ("perfkit::checkpoint", "checkpoint"),
    ("Python GC", "gc"),
    ("perfkit::forward", "python"),  # phases hold everything, so they say nothing of their own
    ("perfkit::backward", "python"),
    ("perfkit::optimizer", "python"),
    ("augment", "python"),
    ("data_parallel_step", "python"),
    ("get_batch_size", "python"),
    ("perfkit::database", "python"),
    ("my perfkit::data", "python"),
]


def event(cat: str, name: str, ts: float, dur: float, **args: Any) -> Event:
    place = {"pid": 0, "tid": 7} if "stream" in args else {"pid": 9, "tid": 9}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args, **place}


def launched(at: float, corr: int) -> list[Event]:
    """A launch and its kernel of 100 us."""
    return [
        event("cpu_op", "aten::mm", at, 10.0),
        event("cuda_runtime", "cudaLaunchKernel", at + 2, 5.0, correlation=corr),
        event("kernel", "gemm", at + 10, 100.0, correlation=corr, stream=7, device=0),
    ]


@pytest.mark.parametrize(("name", "cause"), NAMES)
def test_idle_time_under_a_range(name: str, cause: str) -> None:
    assert idle_under("user_annotation", name)[cause] == pytest.approx(5000, rel=0.03)


@pytest.mark.parametrize(("name", "cause"), NAMES[:11])
def test_idle_time_under_an_operator_of_that_name(name: str, cause: str) -> None:
    """As some torch builds record ranges."""
    assert idle_under("cpu_op", name)[cause] == pytest.approx(5000, rel=0.03)


def idle_under(category: str, name: str) -> dict[str, float]:
    trace = trace_of([
        *launched(1000.0, 1), event(category, name, 1150.0, 5000.0), *launched(6200.0, 2),
    ])  # fmt: skip
    return diagnose(trace).idle_us


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("urUSMDeviceAlloc", "allocator"),
        ("zeMemFree", "allocator"),
        ("urProgramBuildExp", "compile"),
        ("urKernelCreate", "dispatch"),
    ],
)
def test_idle_time_under_a_call_of_intels_runtime(name: str, cause: str) -> None:
    call = event("xpu_runtime", name, 1150.0, 900.0)
    found = diagnose(trace_of([*launched(1000.0, 1), call, *launched(2100.0, 2)])).idle_us
    assert found[cause] == pytest.approx(900, rel=0.01)


@pytest.mark.parametrize(
    "name",
    ["urQueueFinish", "urEventWait", "zeCommandQueueSynchronize", "synStreamSynchronize"],
)
def test_waits_on_other_runtimes(name: str) -> None:
    """The wait itself is behind a working GPU; what idles it is the Python after it."""
    trace = trace_of([
        *launched(1000.0, 1), event("xpu_runtime", name, 1020.0, 95.0), *launched(1160.0, 2),
    ])  # fmt: skip
    idle = diagnose(trace).idle_us
    assert idle["sync"] == pytest.approx(60.0)


@pytest.mark.parametrize(
    "names",
    [
        ("Memcpy M2D (MEMORY(Unknown) -> DEVICE)", "Memcpy D2M"),
        ("CopyHostToDevice", "CopyDeviceToHost"),
    ],
)
def test_copies_of_other_runtimes_have_their_direction(names: tuple[str, str]) -> None:
    copies = [
        event("gpu_memcpy", name, 1400.0 + 50 * i, 9.0, stream=7, device=0, bytes=4096)
        for i, name in enumerate(names)
    ]
    found = diagnose(trace_of([*launched(1000.0, 1), *copies, *launched(2000.0, 2)])).copies
    assert {(copy.direction, copy.memory) for copy in found} == {("HtoD", "host"), ("DtoH", "host")}
