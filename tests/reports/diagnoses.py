"""Diagnoses for the renderers' tests: a slow run with hostile names, and a file with nothing."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import (
    Breakdown,
    Collective,
    Copy,
    DeviceFacts,
    Diagnosis,
    Excluded,
    Fidelity,
    Framework,
    HostCall,
    Kernel,
    KernelClass,
    KernelSummary,
    Outlier,
    Outliers,
    Overlap,
    Place,
    RankRow,
    Source,
    StepRow,
    Steps,
)
from tests.reports.findings import findings
from tests.reports.hostile import HOSTILE, HOSTILE_NAMES
from tests.reports.timelines import make_timeline

_CLASSES = ("gemm", "elementwise", "conv", "norm", "reduce", "optimizer")
_IDLE = {
    Cause.DATALOADER: 62_410.0,
    Cause.SYNC: 21_300.0,
    Cause.PYTHON: 9_120.0,
    Cause.LAUNCH: 6_340.0,
    Cause.DISPATCH: 5_210.0,
    Cause.ALLOCATOR: 3_100.0,
    Cause.COPY: 2_210.0,
    Cause.KERNEL_GAP: 1_450.0,
    Cause.GC: 610.0,
    Cause.UNKNOWN: 350.0,
}
_BUSY = {"compute": 49_000.0, "communication": 11_400.0, "copy": 5_100.0}
_SOURCE = Source(
    path="runs/resnet50/rank0.pt.trace.json.gz",
    format="kineto",
    events=184_211,
    rank=0,
    world_size=4,
)
_DEVICE = DeviceFacts(
    kind="gpu",
    name="NVIDIA A100-SXM4-80GB",
    count=4,
    index=0,
    compute_capability="8.0",
    sm_count=108,
    memory_gb=85.1,
    streams=3,
)
_FRAMEWORK = Framework(
    parallelism=["DDP"],
    data_loader="_SingleProcessDataLoaderIter",
    optimizer="AdamW",
    compiled=False,
    cuda_graphs=False,
    inference=False,
    low_precision_share=0.12,
)
_OUTLIERS = Outliers(
    steps=[Outlier(step="ProfilerStep#8", wall_us=262e3, excess_us=90e3, grew="gc")],
    cost_us=7_500.0,
    cause="gc",
    period=5,
)
_OVERLAP = Overlap(
    communication_us=31_000.0,
    communication_hidden_share=0.632,
    copy_us=9_000.0,
    copy_hidden_share=0.43,
)
_ENVIRONMENT = {
    "schemaVersion": 1,
    "PyTorch": "2.9.1",
    "CUDA": "12.8",
    "with_stack": 0,
    "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 4},
    "hostile": HOSTILE,
}
_VERDICT = (
    "The GPU waits 63.1 % of every step, most of it for data: the input pipeline costs "
    "62.4 ms of 177.6 ms per step. Give the DataLoader workers; at most 35 % comes back."
)


def make_diagnosis(**changes: Any) -> Diagnosis:
    """A slow training run; `changes` replace whole fields."""
    idle = {cause.value: us for cause, us in _IDLE.items()}
    breakdown = Breakdown(**_BUSY, idle=sum(idle.values()))
    whole = sum(_BUSY.values()) + breakdown.idle
    diagnosis = Diagnosis(
        perfkit_version="0.1.0",
        source=_SOURCE,
        device=_DEVICE,
        verdict=_VERDICT,
        steps=_steps(whole),
        breakdown_us=breakdown,
        idle_us=idle,
        overlap=_OVERLAP,
        kernels=_kernels(300),
        kernel_summary=_summary(),
        host_calls=_host_calls(),
        copies=_copies(),
        collectives=_collectives(),
        framework=_FRAMEWORK,
        places=_places(),
        outliers=_OUTLIERS,
        step_rows=_step_rows(breakdown, idle),
        ranks=[RankRow(rank=i, breakdown_us=breakdown, idle_us=idle) for i in range(4)],
        blame=[Place(cause="rank 3", name="all_reduce", count_per_step=4, idle_us=3_200.0)],
        findings=findings(),
        fidelity=Fidelity(
            unknown_share=350 / whole,
            orphan_kernels=12,
            unmatched_launches=3,
            gpu_events=61_200,
            host_events=123_011,
            has_sync_events=True,
            notes=["The file was cut off: events after 2.41 s are missing."],
        ),
        timeline=make_timeline(2000),
        environment=_ENVIRONMENT,
    )
    return msgspec.structs.replace(diagnosis, **changes)


def make_empty(**changes: Any) -> Diagnosis:
    """A file without device work, steps or findings."""
    diagnosis = Diagnosis(
        perfkit_version="0.1.0",
        source=Source(path="empty.json", format="kineto", events=0),
        device=DeviceFacts(kind="none"),
        verdict="Nothing to diagnose: the trace has no device activity.",
        steps=Steps(count=0, excluded=[], marker="none", mean_us=0.0, p50_us=0.0, p95_us=0.0),
        breakdown_us=Breakdown(compute=0.0, communication=0.0, copy=0.0, idle=0.0),
        idle_us={},
        kernels=[],
        host_calls=[],
        copies=[],
        collectives=[],
        framework=Framework(parallelism=[], compiled=False, cuda_graphs=False, inference=False),
        places=[],
        step_rows=[],
        ranks=[],
        blame=[],
        findings=[],
        fidelity=Fidelity(
            unknown_share=0.0,
            orphan_kernels=0,
            unmatched_launches=0,
            gpu_events=0,
            host_events=0,
            has_sync_events=False,
            notes=["No GPU activity was recorded: profile with ProfilerActivity.CUDA."],
        ),
        environment={},
    )
    return msgspec.structs.replace(diagnosis, **changes)


def _steps(mean_us: float) -> Steps:
    return Steps(
        count=12,
        excluded=[
            Excluded(step="ProfilerStep#0", reason="carries start-up work (profiler, driver)"),
            Excluded(step="ProfilerStep#13", reason="GPU records are missing in it"),
        ],
        marker="ProfilerStep",
        mean_us=mean_us,
        p50_us=171_200.0,
        p95_us=231_900.0,
    )


def _kernels(number: int) -> list[Kernel]:
    names = [*HOSTILE_NAMES, *(f"ampere_sgemm_{i}x{i % 7}_nt" for i in range(number))][:number]
    weights = [1 / (i + 1) for i in range(number)]
    total = 58_000.0
    return [
        Kernel(
            name=name,
            kind=_CLASSES[i % len(_CLASSES)],
            launches_per_step=1 + (i * 7) % 40,
            total_us=total * weight / sum(weights),
            mean_us=total * weight / sum(weights) / (1 + (i * 7) % 40),
            share=weight / sum(weights),
        )
        for i, (name, weight) in enumerate(zip(names, weights, strict=True))
    ]


def _summary() -> KernelSummary:
    shares = (0.41, 0.22, 0.17, 0.1, 0.06, 0.04)
    return KernelSummary(
        launches_per_step=1_204.0,
        median_us=8.2,
        under_10us_share=0.57,
        classes=[
            KernelClass(
                kind=kind,
                launches_per_step=200.0 - 20 * i,
                total_us=58_000.0 * part,
                share=part,
                tensor_core_share=0.12 if kind == "gemm" else None,
            )
            for i, (kind, part) in enumerate(zip(_CLASSES, shares, strict=True))
        ],
    )


def _host_calls() -> list[HostCall]:
    rows = (
        ("cudaStreamSynchronize", "sync", 14.0, 24_100.0, 21_300.0),
        ("cudaLaunchKernel", "launch", 1_204.0, 9_100.0, 6_340.0),
        ("cudaMalloc", "allocator", 2.5, 3_400.0, 3_100.0),
    )
    return [
        HostCall(name=n, role=r, count_per_step=c, total_us=t, idle_us=i) for n, r, c, t, i in rows
    ]


def _copies() -> list[Copy]:
    return [
        Copy(
            direction="HtoD",
            memory="pageable",
            count_per_step=2,
            bytes_per_step=154.1e6,
            total_us=8_200.0,
            exposed_us=5_000.0,
            idle_us=2_210.0,
        ),
        Copy(
            direction="DtoH",
            memory="pinned",
            count_per_step=14,
            bytes_per_step=56.0,
            total_us=800.0,
            exposed_us=100.0,
            idle_us=0.0,
        ),
    ]


def _collectives() -> list[Collective]:
    return [
        Collective(
            name="allreduce",
            count_per_step=4,
            total_us=31_000.0,
            exposed_us=11_400.0,
            bytes_per_step=102.2e6,
            dtype="Float",
            group_size=4,
        )
    ]


def _places() -> list[Place]:
    return [
        Place(
            cause="dataloader",
            name="enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
            count_per_step=1,
            idle_us=62_410.0,
        ),
        Place(cause="sync", name="aten::item", count_per_step=14, idle_us=18_200.0),
        Place(cause="python", name="between operators", count_per_step=61, idle_us=9_120.0),
        Place(cause="launch", name=HOSTILE, count_per_step=3, idle_us=120.0),
    ]


def _step_rows(mean: Breakdown, idle: dict[str, float]) -> list[StepRow]:
    rows, start, noise = [], 0.0, random.Random(7)
    for i in range(14):
        factor = {0: 1.9, 8: 1.5, 13: 0.6}.get(i, noise.uniform(0.9, 1.1))
        causes = {k: v * factor for k, v in idle.items()}
        part = Breakdown(
            compute=mean.compute,
            communication=mean.communication,
            copy=mean.copy,
            idle=sum(causes.values()),
        )
        wall = part.compute + part.communication + part.copy + part.idle
        rows.append(
            StepRow(
                step=f"ProfilerStep#{i}",
                start_us=start,
                wall_us=wall,
                counted=i not in (0, 13),
                breakdown_us=part,
                idle_us=causes,
            )
        )
        start += wall
    return rows
