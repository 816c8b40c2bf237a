"""Facts of a recorded run for the renderers' tests."""

from __future__ import annotations

from typing import Any

import msgspec

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
from tests.reports.hostile import BREAKOUT, HOSTILE


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
        loaders=[_loader()],
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


def _loader() -> LoaderFacts:
    return LoaderFacts(loader=0, kind="map", dataset=BREAKOUT, num_workers=4, prefetch_factor=2,
                       batches=1200, wait_us=56e3, wait_share=0.35, ready=0.2, make_us=8e5,
                       fetch_us=7e5, collate_us=1e5, cpu_share=0.97, rchar_bytes=3.2e7,
                       read_calls=256.0, deliver_us=2e5, use_us=1e5, workers_needed=8,
                       bound="cpu", reason="making a batch is 97 % processor time")  # fmt: skip
