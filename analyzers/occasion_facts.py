"""What happens now and then in a run: checkpoints, garbage collections, memory that grows."""

from __future__ import annotations

import numpy as np

from perfkit.model.capture import CheckpointWrite, Collection, MemoryStep
from perfkit.model.run_facts import CheckpointFacts, GcFacts, MemoryFacts
from perfkit.trace.capture_records import Records

_OLDEST = 2
_FEWEST_FOR_SLOPE = 20
_WARM_UP_SHARE = 0.2  # of the steps: memory grows in the first ones by nature
_MOST_FOR_SLOPE = 200


def checkpoints(records: Records, steps: int) -> CheckpointFacts | None:
    """Checkpoints, their cost spread over all steps."""
    written = records.of(CheckpointWrite)
    if not written:
        return None
    blocking = sum(min(one.blocking_us, one.dur_us) for one in written)
    sized = [
        (one.bytes, one.dur_us) for one in written if one.bytes is not None and not one.unfinished
    ]
    took = sum(dur for _, dur in sized)
    return CheckpointFacts(
        count=len(written),
        mean_us=sum(one.dur_us for one in written) / len(written),
        blocking_mean_us=blocking / len(written),
        blocking_us_per_step=blocking / steps if steps else None,
        bytes_mean=sum(size for size, _ in sized) / len(sized) if sized else None,
        bytes_per_s=sum(size for size, _ in sized) / took * 1e6 if took else None,
        calls=sorted({one.call for one in written}),
    )


def collections(records: Records, steps: int) -> GcFacts | None:
    """Garbage collections, their cost spread over all steps."""
    made = records.of(Collection)
    if not made:
        return None
    total = sum(one.dur_us for one in made)
    return GcFacts(
        count=len(made),
        total_us=total,
        longest_us=max(one.dur_us for one in made),
        count_per_step=len(made) / steps if steps else None,
        us_per_step=total / steps if steps else None,
        full_count=sum(one.generation >= _OLDEST for one in made),
    )


def memory(records: Records) -> MemoryFacts | None:
    """Peaks, retries and growth of the caching allocator; None where it was not watched."""
    steps = sorted(records.of(MemoryStep), key=lambda one: one.step)
    if not steps:
        return None
    return MemoryFacts(
        steps=len(steps),
        peak_allocated_bytes=max(one.peak_allocated_bytes for one in steps),
        peak_reserved_bytes=max(one.peak_reserved_bytes or one.reserved_bytes for one in steps),
        inactive_split_max_bytes=_highest(steps, "inactive_split_bytes"),
        retries=_highest(steps, "retries"),
        ooms=_highest(steps, "ooms"),
        creep_bytes_per_step=_creep(steps),
        peak_by_phase_bytes=_by_phase(steps),
    )


def _highest(steps: list[MemoryStep], name: str) -> int | None:
    return max((v for one in steps if (v := getattr(one, name)) is not None), default=None)


def _by_phase(steps: list[MemoryStep]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for one in steps:
        for phase, peak in (one.peak_by_phase_bytes or {}).items():
            peaks[phase] = max(peaks.get(phase, 0), peak)
    return peaks


def _creep(steps: list[MemoryStep]) -> float | None:
    """Growth of what stays allocated: the median slope between all pairs (Theil and Sen)."""
    later = steps[int(_WARM_UP_SHARE * len(steps)) :]
    later = later[:: max(-(-len(later) // _MOST_FOR_SLOPE), 1)]
    if len(later) < _FEWEST_FOR_SLOPE:
        return None
    number = np.array([one.step for one in later], dtype=np.float64)
    held = np.array([one.allocated_bytes for one in later], dtype=np.float64)
    low, high = np.triu_indices(len(later), 1)
    apart = number[high] > number[low]
    slopes = (held[high] - held[low])[apart] / (number[high] - number[low])[apart]
    return float(np.median(slopes)) if len(slopes) else None
