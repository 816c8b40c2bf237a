"""Rules on device memory from what a recording with profile_memory says of allocations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfkit.analyzers.run_facts import _memory
from perfkit.api import analyze
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.model.memory_facts import FailedAllocation
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis
from tests.advice.runs import run
from tests.advice.test_memory_rules import DIED, GB, MEMORY_RULES, held
from tests.advice.test_rules import ids
from tests.trace.kineto_text import allocation, document, host, kernel
from tests.traces import PUBLIC, needs_public

MS = 1_000_000


def failed(asked: float, allocated: float, reserved: float, **more: Any) -> Diagnosis:
    """A GPU of 80 GB that had no room for what was asked; numbers in GB."""
    failure = FailedAllocation(
        count=1, asked_bytes=round(asked * GB), allocated_bytes=round(allocated * GB),
        reserved_bytes=round(reserved * GB), went_on=more.pop("went_on", False),
    )  # fmt: skip
    memory = held(allocated, reserved, failed=failure)
    return diagnosis(memory=memory, device={"memory_gb": 80.0, **more.pop("device", {})}, **more)


FIRES = [
    ("out-of-memory", "a full GPU", failed(4, 74, 77), "critical"),
    ("out-of-memory", "in pieces", failed(4, 70, 78), "critical"),
    ("out-of-memory", "a request beyond the GPU", failed(160, 10, 12), "critical"),
    ("out-of-memory", "others hold it", failed(4, 10, 12), "critical"),
    ("out-of-memory", "a GPU that is not known",
     failed(4, 70, 72, device={"memory_gb": None}), "critical"),
    ("out-of-memory", "a run that says so", failed(4, 74, 77, run=run(**DIED)), "critical"),
    ("memory-near-limit", "nothing is left in the recording",
     diagnosis(memory=held(78.2, 79.5, steps=3, steady_retries=None),
               device={"memory_gb": 80.0}), "warning"),
]  # fmt: skip

SILENT = [
    ("out-of-memory", "a script that went on", failed(4, 74, 77, went_on=True)),
    ("out-of-memory", "a run that finished", failed(4, 74, 77, run=run(ended="finished"))),
    ("out-of-memory", "no failure", diagnosis(memory=held(70, 72))),
    ("memory-near-limit", "half of it", diagnosis(memory=held(40, 42), device={"memory_gb": 80})),
]


@pytest.mark.parametrize(("code", "why", "found", "severity"), FIRES, ids=ids(FIRES))
def test_fires_alone(code: str, why: str, found: Diagnosis, severity: str) -> None:
    said = [f for f in advise(found).findings if f.code in MEMORY_RULES]
    assert [(f.code, f.severity) for f in said] == [(code, severity)], why


@pytest.mark.parametrize(("code", "why", "found"), SILENT, ids=ids(SILENT))
def test_is_silent(code: str, why: str, found: Diagnosis) -> None:
    assert code not in [f.code for f in advise(found).findings], why


def only(found: Diagnosis, code: str = "out-of-memory") -> Finding:
    return next(f for f in advise(found).findings if f.code == code)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (failed(4, 74, 77), "micro-batch"),
        (failed(4, 70, 78), "segments expand"),
        (failed(8, 70, 78), "segments expand"),  # just what lies unused
        (failed(8.1, 70, 78), "micro-batch"),
        (failed(160, 10, 12), "larger than the GPU"),
        (failed(4, 10, 12), "another one holds"),
    ],
)
def test_the_post_mortem_follows_the_numbers(found: Diagnosis, words: str) -> None:
    assert words in only(found).remedy.text


def test_what_was_asked_for_and_what_there_was_is_evidence() -> None:
    finding = only(failed(4, 74, 77))
    assert "4.00 GB" in finding.title
    (said,) = [e for e in finding.evidence if "asked for" in e.text]
    assert (
        "74.0 GB were allocated, 3.00 GB reserved but not in use, 3.00 GB not reserved" in said.text
    )
    assert said.value == 4 * GB


def test_a_failure_that_only_the_trace_tells_of_joins_what_was_watched() -> None:
    traced, watched = failed(4, 74, 77).memory, held(60, 62, retries=7)
    joined = _memory(traced, watched)
    assert joined is not None
    assert traced is not None
    assert (joined.retries, joined.failed) == (7, traced.failed)
    assert _memory(None, watched) == watched
    assert _memory(traced, None) == traced


def gpu_trace(steps: int, allocations: list[str], step_ms: int = 10) -> str:
    """Steps that are one kernel long, and what the allocator says in them."""
    events = []
    for i in range(steps):
        at, args = i * step_ms * MS, {"correlation": i + 1}
        events += [
            host(f"ProfilerStep#{i}", at, step_ms * MS, cat="user_annotation"),
            host("cudaLaunchKernel", at + 1000, 5000, cat="cuda_runtime", args=args),
            kernel("gemm", at + 10_000, (step_ms - 1) * MS, args=args),
        ]
    device = {"id": 0, "name": "NVIDIA H100", "totalGlobalMem": 80 * GB}
    return document(*events, *allocations, before={"deviceProperties": [device]})


def read(tmp_path: Path, text: str) -> Diagnosis:
    path = tmp_path / "trace.json"
    path.write_text(text)
    return analyze(path)


def held_after(at_ms: float, gb: float, reserved: float = 70, size: float = 1, **more: Any) -> str:
    return allocation(
        round(at_ms * MS), round(size * GB), round(gb * GB), round(reserved * GB), **more
    )


def test_peaks_and_the_state_after_each_step(tmp_path: Path) -> None:
    told = [
        held_after(18, 20), held_after(25, 18, size=-2), held_after(2, 10), held_after(5, 30, 40),
        held_after(8, 12, 40, size=-18), held_after(9, 90, 95, args={"Device Id": 1}),
        held_after(9, 99, 99, args={"Device Id": -1, "Device Type": 0}),
    ]  # fmt: skip
    memory = read(tmp_path, gpu_trace(3, told)).memory
    assert memory is not None
    assert (memory.steps, memory.failed, memory.creep_bytes_per_step) == (3, None, None)
    assert (memory.peak_allocated_bytes, memory.peak_reserved_bytes) == (30 * GB, 70 * GB)


def test_growth_through_the_recording_is_a_leak(tmp_path: Path) -> None:
    told = []
    for i in range(100):
        told.append(held_after(10 * i + 3, 30 + i / 10))
        told.append(held_after(10 * i + 6, 20 + i / 10, size=-10))
    finding = only(read(tmp_path, gpu_trace(100, told)), "memory-leak")
    assert "100.0 MB a step" in finding.title
    steady = [held_after(10 * i + 3, 20 + i % 3) for i in range(100)]
    codes = [f.code for f in read(tmp_path, gpu_trace(100, steady)).findings]
    assert not MEMORY_RULES & set(codes)


@pytest.mark.parametrize("went_on", [False, True])
def test_the_last_failure(tmp_path: Path, went_on: bool) -> None:
    told = [
        held_after(3, 60), held_after(15, 74, 77, 4, name="[OutOfMemory]"),
        held_after(16, 50, 77, -24), *([held_after(17, 52, 77, 2)] if went_on else []),
    ]  # fmt: skip
    found = read(tmp_path, gpu_trace(3, told))
    assert found.memory is not None
    assert found.memory.failed == FailedAllocation(
        count=1, asked_bytes=4 * GB, allocated_bytes=74 * GB, reserved_bytes=77 * GB,
        went_on=went_on,
    )  # fmt: skip
    assert ("out-of-memory" in [f.code for f in found.findings]) != went_on
    assert Diagnosis.from_json(found.to_json()) == found


def test_old_writers_who_tell_no_totals_say_nothing(tmp_path: Path) -> None:
    totals = {"Total Allocated": None, "Total Reserved": None}
    assert read(tmp_path, gpu_trace(3, [held_after(3, 60, args=totals)])).memory is None


@pytest.mark.parametrize("missing", ["Total Reserved", "Bytes"])
def test_half_of_what_is_told_of_a_failure_is_no_post_mortem(tmp_path: Path, missing: str) -> None:
    lost = held_after(15, 74, 77, 4, name="[OutOfMemory]", args={missing: None})
    memory = read(tmp_path, gpu_trace(3, [held_after(3, 60), lost])).memory
    assert memory is not None
    assert (memory.peak_reserved_bytes, memory.failed) == (
        (77 if missing == "Bytes" else 70) * GB, None
    )  # fmt: skip


@needs_public
@pytest.mark.parametrize(
    ("path", "allocated", "reserved"),
    [
        ("hta/df_index_resolver/df_index_resolver.json.gz", 6_629_508_096, 12_782_141_440),
        ("batch_sweep_a100/batch_32.pt.trace.json.gz", 852_216_832, 889_192_448),
    ],
)
def test_public_recordings_have_room(path: str, allocated: int, reserved: int) -> None:
    found = analyze(PUBLIC / path)
    assert found.memory is not None
    peaks = (found.memory.peak_allocated_bytes, found.memory.peak_reserved_bytes)
    assert peaks == (allocated, reserved)
    assert not MEMORY_RULES & {f.code for f in found.findings}
