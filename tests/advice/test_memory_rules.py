"""Rules on device memory: each fault is told once, and a full GPU alone is no fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfkit.api import analyze
from perfkit.model.capture import MemoryStep
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.model.run_facts import GpuFacts, MemoryFacts, RunFacts
from perfkit.model.settings import Settings
from perfkit.model.setup_facts import SetupFacts
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis
from tests.advice.runs import run, steps
from tests.advice.test_rules import ids
from tests.captures import step_times, write_capture

GB = 10**9
MEMORY_RULES = {"out-of-memory", "memory-leak", "memory-fragmentation", "memory-near-limit",
                "allocator-churn"}  # fmt: skip
DIED = {"ended": "exception", "error": "OutOfMemoryError"}


def held(allocated_gb: float, reserved_gb: float, **facts: Any) -> MemoryFacts:
    usual: dict[str, Any] = {"steps": 500, "steady_retries": 0, "creep_bytes_per_step": 0.0,
                             "grown_bytes": 0, "grown_steps": 400}  # fmt: skip
    return MemoryFacts(
        peak_allocated_bytes=round(allocated_gb * GB),
        peak_reserved_bytes=round(reserved_gb * GB),
        **(usual | facts),
    )


def growing(gb: float, over: int = 400, allocated_gb: float = 30.0, **facts: Any) -> MemoryFacts:
    grown = {"grown_bytes": round(gb * GB), "grown_steps": over,
             "creep_bytes_per_step": gb * GB / over}  # fmt: skip
    return held(allocated_gb, allocated_gb + 4, **grown, **facts)


def case(
    memory: MemoryFacts | None,
    idle: dict[str, float] | None = None,
    facts: RunFacts | None = None,
    **more: Any,
) -> Diagnosis:
    """A run on a GPU of 80 GB."""
    device = {"memory_gb": 80.0} | more.pop("device", {})
    return diagnosis(idle, memory=memory, run=facts, device=device, **more)


def died(memory: MemoryFacts | None, **more: Any) -> Diagnosis:
    return case(memory, facts=run(**DIED, steps=steps()), **more)


IN_PIECES = held(60, 78, steady_retries=14)
CHURN = {"allocator": 700.0}

FIRES = [
    ("out-of-memory", "the run died", died(held(78, 79)), "critical"),
    ("out-of-memory", "nothing of the allocator is known", died(None), "critical"),
    ("out-of-memory", "of a leak", died(growing(50, allocated_gb=78)), "critical"),
    ("memory-leak", "20 GB in 400 steps", case(growing(20)), "warning"),
    ("memory-leak", "an eighth of a small model", case(growing(0.5, allocated_gb=4.5)), "warning"),
    ("memory-leak", "1.1 GiB of much", case(growing(1.2, allocated_gb=70)), "warning"),
    ("memory-fragmentation", "retries with a fifth to spare", case(IN_PIECES), "warning"),
    ("memory-fragmentation", "which idle the GPU", case(IN_PIECES, {"allocator": 2100.0}),
     "critical"),
    ("memory-near-limit", "retries of what is needed", case(held(76, 79, steady_retries=3), CHURN),
     "warning"),
    ("memory-near-limit", "nothing is left", case(held(78.2, 79.5)), "warning"),
    ("memory-near-limit", "another process takes half",
     case(held(39, 40), facts=run(gpus=[GpuFacts(device=0, samples=9,
                                                 memory_used_max_bytes=80 * GB)])), "warning"),
]  # fmt: skip

SILENT = [
    ("out-of-memory", "finished", case(held(78, 79), facts=run(ended="finished"))),
    ("out-of-memory", "another exception",
     case(held(30, 40), facts=run(ended="exception", error="KeyError"))),
    ("out-of-memory", "caught by the script", case(held(78, 79, ooms=3), facts=run())),
    ("memory-leak", "steady", case(held(60, 70))),
    ("memory-leak", "little of much", case(growing(0.9, allocated_gb=60))),
    ("memory-leak", "few steps", case(growing(20, over=30))),
    ("memory-leak", "not measured", case(held(60, 70, grown_bytes=None, grown_steps=None))),
    ("memory-leak", "out-of-memory tells of it", died(growing(50, allocated_gb=78))),
    ("memory-fragmentation", "full without retries", case(held(60, 78))),
    ("memory-fragmentation", "the memory is needed", case(held(76, 79, steady_retries=3))),
    ("memory-fragmentation", "one request was too large", case(held(30, 40, steady_retries=3))),
    ("memory-fragmentation", "not measured", case(held(60, 78, steady_retries=None))),
    ("memory-fragmentation", "a leak fills it", case(growing(40, allocated_gb=60,
                                                             steady_retries=9))),
    ("memory-near-limit", "half full", case(held(40, 78))),
    ("memory-near-limit", "well used", case(held(75, 79))),
    ("memory-near-limit", "a GPU that is not known",
     case(held(79, 79), device={"memory_gb": None})),
    ("memory-near-limit", "no allocator was watched", case(None)),
    ("memory-near-limit", "fragmentation tells of it", case(IN_PIECES)),
    ("allocator-churn", "fragmentation tells of it", case(IN_PIECES, CHURN)),
    ("allocator-churn", "memory-near-limit tells of it",
     case(held(76, 79, steady_retries=3), CHURN)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "found", "severity"), FIRES, ids=ids(FIRES))
def test_fires_alone(code: str, why: str, found: Diagnosis, severity: str) -> None:
    said = [f for f in advise(found).findings if f.code in MEMORY_RULES]
    assert [(f.code, f.severity) for f in said] == [(code, severity)], why
    assert said[0].evidence
    assert said[0].remedy.text.endswith(".")
    assert said[0].cost_us == found.idle_us["allocator"]


@pytest.mark.parametrize(("code", "why", "found"), SILENT, ids=ids(SILENT))
def test_is_silent(code: str, why: str, found: Diagnosis) -> None:
    assert code not in [f.code for f in advise(found).findings], why


def only(found: Diagnosis, code: str) -> Finding:
    return next(f for f in advise(found).findings if f.code == code)


def test_memory_under_pressure_is_told_when_all_is_asked_for() -> None:
    told = advise(case(held(75, 79)), settings=Settings(least_share=0.0)).findings
    assert [f.severity for f in told if f.code == "memory-near-limit"] == ["info"]


@pytest.mark.parametrize(
    ("memory", "word"),
    [
        (growing(50, allocated_gb=78), "grew by 50.0 GB over 400 steps"),
        (held(50, 79), "segments expand"),
        (held(50, 60), "micro-batch"),
        (held(78, 79, peak_by_phase_bytes={"optimizer": 78 * GB, "forward": GB}), "optimizer's"),
        (held(78, 79, peak_by_phase_bytes={"optimizer": GB, "backward": 78 * GB}), "checkpoint"),
    ],
)
def test_the_post_mortem_follows_the_numbers(memory: MemoryFacts, word: str) -> None:
    assert word in only(died(memory), "out-of-memory").remedy.text


@pytest.mark.parametrize(
    ("torch", "name"),
    [("2.8.1+cu128", "PYTORCH_CUDA_ALLOC_CONF="), ("2.10.0", "PYTORCH_ALLOC_CONF="),
     (None, "# torch >= 2.9")],
)  # fmt: skip
def test_the_setting_has_the_name_this_torch_knows(torch: str | None, name: str) -> None:
    found = case(IN_PIECES, setup=SetupFacts(torch=torch))
    assert name in (only(found, "memory-fragmentation").remedy.snippet or "")


def test_what_is_set_already_is_not_advised() -> None:
    variables = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:512"}
    setup = SetupFacts(torch="2.6.0", variables=variables)
    for found, code in ((case(IN_PIECES, setup=setup), "memory-fragmentation"),
                        (case(held(40, 50), CHURN, setup=setup), "allocator-churn")):  # fmt: skip
        remedy = only(found, code).remedy
        assert "expand already" in remedy.text
        assert remedy.snippet is None


def test_an_allocator_without_its_cache_is_named() -> None:
    setup = SetupFacts(variables={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})
    remedy = only(case(None, CHURN, setup=setup), "allocator-churn").remedy
    assert remedy.snippet == "unset PYTORCH_NO_CUDA_MEMORY_CACHING"


def test_room_for_a_larger_batch_is_evidence_of_a_launch_bound_step() -> None:
    idle = {"launch": 3000.0}
    (roomy,) = [e for e in only(case(held(18, 20), idle), "launch-bound").evidence
                if "as large fits" in e.text]  # fmt: skip
    assert roomy.value == pytest.approx(0.9 / (18 / 80))
    full = only(case(held(70, 75), idle), "launch-bound").evidence
    assert not any("as large fits" in e.text for e in full)


def step(number: int, gb: float, **more: Any) -> MemoryStep:
    held_bytes = round(gb * GB)
    return MemoryStep(
        step=number, allocated_bytes=held_bytes, reserved_bytes=78 * GB,
        peak_allocated_bytes=held_bytes + 20 * GB, peak_reserved_bytes=78 * GB, **more,
    )  # fmt: skip


def recorded(tmp_path: Path, *records: msgspec.Struct, **facts: Any) -> list[str]:
    environment = {"torch": "2.7.0", "gpus": [{"name": "H100", "memory_bytes": 80 * GB}]}
    path = write_capture(tmp_path / "run", [step_times([9000.0] * 100), *records],
                         environment=environment, **facts)  # fmt: skip
    return [f.code for f in analyze(path).findings if f.code in MEMORY_RULES]


def test_from_records_to_rules(tmp_path: Path) -> None:
    steady = [step(i, 20, retries=min(i, 3), ooms=0) for i in range(100)]
    leaking = [step(i, 20 + i / 10, retries=0, ooms=0) for i in range(100)]
    once = [step(i, 20 if i < 50 else 30, retries=0) for i in range(100)]
    trying = [step(i, 20, retries=i // 10) for i in range(100)]
    assert recorded(tmp_path / "healthy", *steady) == []
    assert recorded(tmp_path / "larger once", *once) == []
    assert recorded(tmp_path / "leak", *leaking) == ["memory-leak"]
    assert recorded(tmp_path / "pieces", *trying) == ["memory-fragmentation"]
    assert recorded(tmp_path / "died", *leaking, **DIED) == ["out-of-memory"]
