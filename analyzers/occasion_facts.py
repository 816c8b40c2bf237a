"""What happens now and then in a run: checkpoints and garbage collections."""

from __future__ import annotations

from collections.abc import Sequence

from perfkit.model.capture import CheckpointWrite, Collection, StepTimes
from perfkit.model.run_facts import CheckpointFacts, GcFacts
from perfkit.trace.capture_records import Records

_OLDEST = 2


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
    """Garbage collections within steps, their cost spread over all steps.

    What ran at the start, or between epochs, held no step up.
    """
    blocks = records.of(StepTimes)
    inside = [(one, _inside_us(one, blocks)) for one in records.of(Collection)]
    made = [one for one, took in inside if took > 0]
    if not made:
        return None
    total = sum(took for _, took in inside)
    return GcFacts(
        count=len(made),
        total_us=total,
        longest_us=max(took for _, took in inside),
        count_per_step=len(made) / steps if steps else None,
        us_per_step=total / steps if steps else None,
        full_count=sum(one.generation >= _OLDEST for one in made),
    )


def _inside_us(one: Collection, blocks: Sequence[StepTimes]) -> float:
    """How much of a collection lies within blocks of steps, each of which has no gap."""
    end = one.start_ns + one.dur_us * 1000
    within = (
        min(end, block.start_ns + sum(block.wall_us) * 1000) - max(one.start_ns, block.start_ns)
        for block in blocks
    )
    return sum(max(part, 0.0) for part in within) / 1000
