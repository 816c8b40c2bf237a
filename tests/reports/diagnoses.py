"""Diagnoses for the renderers' tests: a slow run with hostile names, and a file with nothing."""

from __future__ import annotations

import itertools
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
    Evidence,
    Excluded,
    Fidelity,
    Finding,
    Framework,
    Gain,
    HostCall,
    Kernel,
    KernelClass,
    KernelSummary,
    Outlier,
    Outliers,
    Overlap,
    Place,
    RankRow,
    Remedy,
    Source,
    StepRow,
    Steps,
    Timeline,
    TimelineEvent,
)
from perfkit.model.run_facts import (
    CheckpointFacts,
    ClockReason,
    FileSystemFacts,
    GcFacts,
    GpuFacts,
    HostFacts,
    LoaderFacts,
    MemoryFacts,
    RunFacts,
    RunSteps,
    RunWindow,
    StepPoint,
    StepStats,
)

HOSTILE = "<script>alert(1)</script>"
BREAKOUT = "</script><img src=x onerror=alert(1)>"
LONG = "void at::native::elementwise_kernel<" + "float, " * 80 + "4>(int)"
UNICODE = "kernel_größe_核_🚀"
HOSTILE_NAMES = (
    HOSTILE,
    BREAKOUT,
    LONG[:600],
    UNICODE,
    "| a `pipe` | @everyone #1 <b>bold</b> *x* [y](javascript:alert(1))",
    "\x1b[2Jcleared\x07\u202ereversed",
    "%{x} <a href='https://evil.example/'>click</a> &amp; &lt;",
)
_CLASSES = ("gemm", "elementwise", "conv", "norm", "reduce", "optimizer")
_LANES = (
    "thread 4711 (main)",
    "thread 4712 (autograd)",
    "thread 4713 " + HOSTILE,
    "GPU 0 stream 7",
    "GPU 0 stream 20",
    "GPU 0 stream 24",
)
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


def make_diagnosis(**changes: Any) -> Diagnosis:
    """A slow training run; `changes` replace whole fields."""
    idle = {cause.value: us for cause, us in _IDLE.items()}
    breakdown = Breakdown(**_BUSY, idle=sum(idle.values()))
    whole = sum(_BUSY.values()) + breakdown.idle
    diagnosis = Diagnosis(
        perfkit_version="0.1.0",
        source=Source(
            path="runs/resnet50/rank0.pt.trace.json.gz",
            format="kineto",
            events=184_211,
            rank=0,
            world_size=4,
        ),
        device=DeviceFacts(
            kind="gpu",
            name="NVIDIA A100-SXM4-80GB",
            count=4,
            index=0,
            compute_capability="8.0",
            sm_count=108,
            memory_gb=85.1,
            streams=3,
        ),
        verdict=(
            "The GPU waits 63.1 % of every step, most of it for data: the input pipeline costs "
            "62.4 ms of 177.6 ms per step. Give the DataLoader workers; at most 35 % comes back."
        ),
        steps=Steps(
            count=12,
            excluded=[
                Excluded(step="ProfilerStep#0", reason="carries start-up work (profiler, driver)"),
                Excluded(step="ProfilerStep#13", reason="GPU records are missing in it"),
            ],
            marker="ProfilerStep",
            mean_us=whole,
            p50_us=171_200.0,
            p95_us=231_900.0,
        ),
        breakdown_us=breakdown,
        idle_us=idle,
        overlap=Overlap(
            communication_us=31_000.0,
            communication_hidden_share=0.632,
            copy_us=9_000.0,
            copy_hidden_share=0.43,
        ),
        kernels=_kernels(300),
        kernel_summary=_summary(),
        host_calls=_host_calls(),
        copies=_copies(),
        collectives=_collectives(),
        framework=Framework(
            parallelism=["DDP"],
            data_loader="_SingleProcessDataLoaderIter",
            optimizer="AdamW",
            compiled=False,
            cuda_graphs=False,
            inference=False,
            low_precision_share=0.12,
        ),
        places=_places(),
        outliers=Outliers(
            steps=[Outlier(step="ProfilerStep#8", wall_us=262e3, excess_us=90e3, grew="gc")],
            cost_us=7_500.0,
            cause="gc",
            period=5,
        ),
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
        environment={
            "schemaVersion": 1,
            "PyTorch": "2.9.1",
            "CUDA": "12.8",
            "with_stack": 0,
            "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 4},
            "hostile": HOSTILE,
        },
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


def make_finding(code: str = "PK999", **changes: Any) -> Finding:
    """One finding; `changes` replace whole fields."""
    finding = Finding(
        code=code,
        name="an-example",
        severity="warning",
        title="Something costs time",
        cause=Cause.PYTHON,
        cost_us=1_000.0,
        cost_share=0.01,
        evidence=[Evidence(text="It was seen.", value=1.0, unit="1")],
        where=[],
        gain_us=Gain(bound=1_000.0),
        confidence="medium",
        remedy=Remedy(text="Do less."),
    )
    return msgspec.structs.replace(finding, **changes)


def findings() -> list[Finding]:
    """Six findings, not in order of cost."""
    return [
        make_finding(
            "PK203",
            severity="warning",
            title="The host waits for the GPU 14 times per step",
            cause=Cause.SYNC,
            cost_us=21_300.0,
            cost_share=0.12,
            evidence=[
                Evidence(text="aten::item stops the launching thread 14 times per step.", value=14),
                Evidence(text="21.3 ms of GPU idle time follow from it.", value=21_300, unit="us"),
            ],
            where=[
                Place(cause="sync", name="aten::item", count_per_step=14, idle_us=18_200.0),
                Place(cause="sync", name=HOSTILE, count_per_step=1, idle_us=3_100.0),
            ],
            gain_us=Gain(bound=21_300.0, expected=17_000.0, low=12_000.0, high=20_000.0),
            confidence="high",
            remedy=Remedy(
                text="Read the loss every 50 steps instead of every step.",
                snippet="if step % 50 == 0:\n    log(loss.item())  # <- the only wait",
                applies_to="PyTorch",
            ),
        ),
        make_finding(
            "PK101",
            severity="critical",
            title="The GPU waits for data in every step",
            cause=Cause.DATALOADER,
            cost_us=62_410.0,
            cost_share=0.3514,
            evidence=[
                Evidence(
                    text="The main thread loads each batch itself: num_workers is 0, and 62.4 ms "
                    "of every step pass inside DataLoader.__next__.",
                    value=62_410.0,
                    unit="us",
                ),
                Evidence(text="No copy overlaps the loading.", value=0.0, unit="1"),
            ],
            where=[
                Place(
                    cause="dataloader",
                    name="enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
                    count_per_step=1,
                    idle_us=62_410.0,
                )
            ],
            gain_us=Gain(bound=62_410.0),
            confidence="high",
            remedy=Remedy(
                text="Load batches in worker processes: start with 4 to 8 per GPU, keep them "
                "alive between epochs and pin the memory.",
                snippet="DataLoader(\n    dataset,\n    num_workers=8,\n    pin_memory=True,\n"
                "    persistent_workers=True,\n)",
                applies_to="torch.utils.data.DataLoader",
            ),
        ),
        make_finding(
            "PK301",
            title="Python between operators keeps the GPU waiting",
            cause=Cause.PYTHON,
            cost_us=9_120.0,
            cost_share=0.0513,
            remedy=Remedy(text="Compile the model.", snippet="model = torch.compile(model)"),
        ),
        make_finding(
            "PK401",
            severity="info",
            title="88 % of matrix time runs without tensor cores",
            cause="compute",
            cost_us=8_900.0,
            cost_share=0.0501,
            confidence="low",
            remedy=Remedy(text="Train in bfloat16 with torch.autocast."),
        ),
        make_finding(
            "PK302",
            title=f"Many short kernels such as {BREAKOUT} | `x` @everyone",
            cause=Cause.LAUNCH,
            cost_us=6_340.0,
            cost_share=0.0357,
            evidence=[Evidence(text=f"41 % of {LONG} are shorter than 10 us.")],
            remedy=Remedy(text="Fuse them, or record a CUDA graph."),
        ),
        make_finding(
            "PK501",
            title="The caching allocator goes to the driver in steady state",
            cause=Cause.ALLOCATOR,
            cost_us=3_100.0,
            cost_share=0.0175,
            remedy=Remedy(
                text="Use expandable segments.",
                snippet="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            ),
        ),
    ]


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


def make_timeline(number: int) -> Timeline:
    """A step with `number` events on three threads and three streams."""
    wall = 171_200.0
    events = [*_host_events(number * 2 // 3, wall), *_gpu_events(number - number * 2 // 3, wall)]
    return Timeline(
        step="ProfilerStep#5",
        wall_us=wall,
        lanes=list(_LANES),
        events=events[:number],
        gaps=_gaps(wall),
        omitted_events=1_532,
    )


def _host_events(number: int, wall: float) -> list[TimelineEvent]:
    """An annotation over each thread, operators in it, runtime calls in the operators."""
    events = [
        TimelineEvent(lane=t, name="ProfilerStep#5", kind="annotation", start_us=0, dur_us=wall)
        for t in range(2)
    ]
    names = itertools.cycle((*HOSTILE_NAMES, "aten::linear", "aten::add_", "aten::copy_"))
    each = wall * 0.6 / (number // 3 + 1)
    for i in range(number // 3 + 1):
        lane, at = (0, 1, 0, 2)[i % 4], wall * 0.38 + i * each
        name = next(names)
        for depth, kind in enumerate(("operator", "operator", "runtime")):
            inner = each * (0.9 - 0.3 * depth)
            events.append(
                TimelineEvent(
                    lane=lane,
                    name=name if depth < 2 else "cudaLaunchKernel",
                    kind=kind,
                    start_us=at + (each - inner) / 2,
                    dur_us=inner,
                )
            )
    return events[:number]


def _gpu_events(number: int, wall: float) -> list[TimelineEvent]:
    kinds = (("gemm", 3), ("elementwise", 3), ("communication", 4), ("memcpy", 5), ("conv", 3))
    each = wall * 0.55 / number
    return [
        TimelineEvent(
            lane=kinds[i % 5][1],
            name=HOSTILE_NAMES[i % 7] if i % 3 else "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
            kind=kinds[i % 5][0],
            start_us=wall * 0.42 + i * each,
            dur_us=each * 0.8,
        )
        for i in range(number)
    ]


def _gaps(wall: float) -> list[TimelineEvent]:
    causes = (Cause.SYNC, Cause.PYTHON, Cause.LAUNCH, Cause.DISPATCH, Cause.UNKNOWN)
    first = TimelineEvent(
        lane=-1,
        name=Cause.DATALOADER.text,
        kind=Cause.DATALOADER,
        start_us=0,
        dur_us=wall * 0.365,
    )
    return [first] + [
        TimelineEvent(
            lane=-1,
            name=causes[i % 5].text,
            kind=causes[i % 5],
            start_us=wall * (0.44 + 0.0055 * i),
            dur_us=wall * 0.0031,
        )
        for i in range(90)
    ]


def make_run(**changes: Any) -> RunFacts:
    """Facts of a run in which everything was recorded, with hostile names where names can be."""
    window = RunWindow(number=2, count=3, first_step=100, steps=20, reason="slow-step")
    stats = StepStats(count=1180, mean_us=160e3, p50_us=158e3, p95_us=190e3, max_us=2.4e6,
                      data_mean_us=56e3, data_share=0.35)  # fmt: skip
    points = [StepPoint(step=i, wall_us=160e3 + i, max_us=170e3, data_us=56e3,
                        profiled=100 <= i < 120) for i in range(0, 1200, 10)]  # fmt: skip
    run = RunFacts(
        capture="runs/resnet50",
        rank=0,
        ranks=4,
        world_size=4,
        script="train.py",
        host=HOSTILE,
        ended="finished",
        duration_us=2e8,
        window=window,
        steps=RunSteps(total=1200, first_us=4e6, unprofiled=stats, window=stats,
                       overhead_share=0.12, points=points),
        loaders=[
            LoaderFacts(loader=0, kind="map", dataset=BREAKOUT, num_workers=4, prefetch_factor=2,
                        batches=1200, wait_us=56e3, wait_share=0.35, ready=0.2, make_us=8e5,
                        fetch_us=7e5, collate_us=1e5, cpu_share=0.97, rchar_bytes=3.2e7,
                        read_calls=256.0, deliver_us=2e5, use_us=1e5, workers_needed=8,
                        bound="cpu", reason="making a batch is 97 % processor time"),
        ],
        file_systems=[
            FileSystemFacts(role="dataset", path=HOSTILE, kind="lustre", mount="/scratch <b>*",
                            source="mgs@tcp:/fs", files=1_281_167, bytes=1 << 37, partial=True,
                            layout={"stripe_count": 1}),
            FileSystemFacts(role="checkpoint", path="/home/x", kind="nfs4", mount="/home",
                            source="nas:/home"),
        ],
        checkpoints=CheckpointFacts(count=3, mean_us=9e6, blocking_mean_us=9e6,
                                    blocking_us_per_step=22e3, bytes_per_s=1.2e9),
        gpus=[
            GpuFacts(device=0, samples=200, utilization=0.61, power_w=310.0, sm_clock_mhz=1290.0,
                     temperature_max_c=88.0, xids=[79],
                     reasons=[ClockReason(name="HwThermalSlowdown", share=0.4,
                                          judgement="error")]),
        ],
        cpu=HostFacts(samples=200, duration_us=2e8, run_delay_share=0.02, cores=16, load=9.0),
        gc=GcFacts(count=900, total_us=9e6, longest_us=2e5, us_per_step=7500.0, full_count=3),
        missing=["NVML is not installed: pip install nvidia-ml-py.", HOSTILE],
    )  # fmt: skip
    return msgspec.structs.replace(run, **changes)


def make_memory() -> MemoryFacts:
    """Device memory that grows."""
    return MemoryFacts(steps=1200, peak_allocated_bytes=60 << 30, peak_reserved_bytes=70 << 30,
                       creep_bytes_per_step=1.5e6, retries=2,
                       peak_by_phase_bytes={"backward": 60 << 30})  # fmt: skip
