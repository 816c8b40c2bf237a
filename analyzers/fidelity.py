"""How far a diagnosis can be trusted: what is missing, mended, or unexplained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.model.cause import CODE, Cause
from perfkit.model.diagnosis import Fidelity
from perfkit.model.trace import Kind

_WORTH_SAYING = 0.005  # of GPU operations or launches


def fidelity(facts: Facts) -> Fidelity:
    """Shares of the mean step, counts over the file, and notes in plain sentences."""
    orphans = int((facts.calls.call < 0).sum())
    gpu = trace_gpu = int(facts.trace.is_gpu_work.sum())
    return Fidelity(
        unknown_share=_unknown_share(facts),
        orphan_kernels=orphans,
        unmatched_launches=len(facts.calls.orphans),
        gpu_events=gpu,
        host_events=len(facts.trace) - trace_gpu,
        has_sync_events=bool((facts.trace.kind == Kind.SYNC).any()),
        replay=facts.replay,
        notes=[*_records(facts, orphans), *_damage(facts), *_devices(facts)],
    )


def _unknown_share(facts: Facts) -> float:
    times = facts.times.take(facts.counted)
    codes = [CODE[Cause.UNKNOWN], CODE[Cause.UNOBSERVED]]
    return float(times.idle[:, codes].sum()) / max(float(times.wall.sum()), 1.0)


def _records(facts: Facts, orphans: int) -> Iterator[str]:
    missing, launched = len(facts.calls.orphans), int((facts.calls.call >= 0).sum())
    if facts.lost_gpu_work is not None:
        yield facts.lost_gpu_work
    elif not len(facts.work):
        yield "The trace has no GPU work: the CPU is the device, computing while operators run."
    elif missing > _WORTH_SAYING * (missing + launched):
        yield f"{missing:,} of {missing + launched:,} launches have no GPU record."
    if len(facts.work) and not (facts.trace.kind == Kind.OPERATOR).any():
        yield (
            "No operators were recorded: what the host did between calls is unknown; profile with "
            "ProfilerActivity.CPU as well."
        )
    if orphans > _WORTH_SAYING * max(len(facts.work), 1):
        yield (
            f"{orphans:,} of {len(facts.work):,} GPU operations have no launch record: "
            "the idle time before them is unknown."
        )


def _damage(facts: Facts) -> Iterator[str]:
    damage = facts.trace.info.damage
    if damage.truncated:
        yield "The file is truncated: what could be read was analyzed, the rest is lost."
    counts = {
        "events could not be read": damage.unreadable_events,
        "events were repaired": damage.repaired_events,
        "negative durations were set to zero": damage.negative_durations,
        "events at time zero were dropped": damage.zero_timestamps,
        "GPU durations that overlap their stream were clipped": damage.clipped_gpu_events,
    }
    yield from (f"{count:,} {what}." for what, count in counts.items() if count)


def _devices(facts: Facts) -> Iterator[str]:
    lanes = [facts.trace.lanes[i] for i in np.unique(facts.trace.lane[facts.trace.is_gpu_work])]
    devices = sorted({lane.device for lane in lanes})
    if len(devices) > 1:
        yield f"GPUs {devices} appear in the trace; the numbers are of GPU {facts.work.device}."
