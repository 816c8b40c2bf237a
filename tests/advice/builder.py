"""Small diagnoses: a 10 ms GPU step of which the test says what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import (
    Breakdown,
    Collective,
    Copy,
    DeviceFacts,
    Diagnosis,
    Fidelity,
    Finding,
    Framework,
    Kernel,
    KernelClass,
    KernelSummary,
    Place,
    Source,
    Steps,
)
from perfkit.reports.advice import advise

STEP_US = 10_000.0


def diagnosis(
    idle: dict[str, float] | None = None,
    *,
    communication: float = 0.0,
    copy: float = 0.0,
    device: dict[str, Any] | None = None,
    framework: dict[str, Any] | None = None,
    fidelity: dict[str, Any] | None = None,
    steps: dict[str, Any] | None = None,
    **more: Any,
) -> Diagnosis:
    """A diagnosis with these idle times (us per step); the rest of the step computes."""
    waits = {cause.value: 0.0 for cause in Cause} | (idle or {})
    spent = sum(waits.values())
    made = Diagnosis(
        perfkit_version="0",
        source=Source(path="t.json", format="kineto", events=1000),
        device=DeviceFacts(**{"kind": "gpu", "name": "NVIDIA A100", "compute_capability": "8.0",
                              **(device or {})}),
        verdict="",
        steps=Steps(**{"count": 10, "excluded": [], "marker": "ProfilerStep", "mean_us": STEP_US,
                       "p50_us": STEP_US, "p95_us": STEP_US, **(steps or {})}),
        breakdown_us=Breakdown(compute=STEP_US - spent - communication - copy,
                               communication=communication, copy=copy, idle=spent),
        idle_us=waits,
        kernels=[], host_calls=[], copies=[], collectives=[],
        framework=Framework(**{"parallelism": [], "compiled": False, "cuda_graphs": False,
                               "inference": False, **(framework or {})}),
        places=[place(cause, f"some {cause}", us) for cause, us in (idle or {}).items()],
        step_rows=[], ranks=[], blame=[], findings=[],
        fidelity=Fidelity(**{"unknown_share": 0.0, "orphan_kernels": 0, "unmatched_launches": 0,
                             "gpu_events": 500, "host_events": 500, "has_sync_events": False,
                             "notes": [], **(fidelity or {})}),
        environment={},
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def place(cause: str, name: str, us: float) -> Place:
    """Where idle time was spent."""
    return Place(cause=cause, name=name, count_per_step=1.0, idle_us=us, gap_us=us)


def kernel(name: str, us: float) -> Kernel:
    """A GEMM kernel launched once a step."""
    return Kernel(name=name, kind="gemm", launches_per_step=1.0, total_us=us, mean_us=us,
                  share=us / STEP_US)  # fmt: skip


def copies(memory: str, exposed: float, idle: float = 0.0, direction: str = "HtoD") -> list[Copy]:
    """One copy of 20 MB a step."""
    return [Copy(direction=direction, memory=memory, count_per_step=1.0, bytes_per_step=2e7,
                 total_us=2000.0, exposed_us=exposed, idle_us=idle)]  # fmt: skip


def all_reduces(exposed: float) -> list[Collective]:
    """Four all-reduces a step."""
    return [Collective(name="all_reduce", count_per_step=4.0, total_us=4000.0, exposed_us=exposed)]


def matrix(gemm_us: float, on_tensor_cores: float | None) -> KernelSummary:
    """Kernels of a step, of which GEMMs take `gemm_us`."""
    return KernelSummary(
        launches_per_step=100.0, median_us=50.0, under_10us_share=0.1,
        classes=[KernelClass(kind="gemm", launches_per_step=50.0, total_us=gemm_us,
                             share=gemm_us / STEP_US, tensor_core_share=on_tensor_cores)],
    )  # fmt: skip


def found_of(case: Diagnosis, code: str) -> Finding:
    """What this rule finds, which must be one thing."""
    (found,) = [f for f in advise(case).findings if f.code == code]
    return found
