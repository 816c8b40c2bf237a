"""What happens now and then in a run: checkpoints and garbage collections."""

from __future__ import annotations

from perfkit.analyzers.step_spans import from_first_to_last, inside_us, taken
from perfkit.model.capture import CheckpointWrite, Collection
from perfkit.model.run_facts import CheckpointFacts, GcFacts
from perfkit.trace.capture_records import Records

_OLDEST = 2


def checkpoints(records: Records, steps: int) -> CheckpointFacts | None:
    """Checkpoints, the cost of those between the first and the last step spread over all steps.

    One that is written before or after all steps, such as the model at the end, holds none up.
    """
    written = records.of(CheckpointWrite)
    if not written:
        return None
    blocked = [(one.start_ns, min(one.blocking_us, one.dur_us)) for one in written]
    held_up = inside_us(blocked, from_first_to_last(records))
    sized = [
        (one.bytes, one.dur_us) for one in written if one.bytes is not None and not one.unfinished
    ]
    took = sum(dur for _, dur in sized)
    return CheckpointFacts(
        count=len(written),
        mean_us=sum(one.dur_us for one in written) / len(written),
        count_in_steps=int((held_up > 0).sum()) if steps else None,
        blocking_mean_us=sum(us for _, us in blocked) / len(written),
        blocking_us_per_step=float(held_up.sum()) / steps if steps else None,
        bytes_mean=sum(size for size, _ in sized) / len(sized) if sized else None,
        bytes_per_s=sum(size for size, _ in sized) / took * 1e6 if took else None,
        calls=sorted({one.call for one in written}),
    )


def collections(records: Records, steps: int) -> GcFacts | None:
    """Garbage collections within steps, their cost spread over all steps.

    What ran at the start, or between epochs, held no step up.
    """
    ran = records.of(Collection)
    took = inside_us([(one.start_ns, one.dur_us) for one in ran], taken(records))
    made = [one for one, us in zip(ran, took.tolist(), strict=True) if us > 0]
    if not made:
        return None
    total = float(took.sum())
    return GcFacts(
        count=len(made),
        total_us=total,
        longest_us=float(took.max()),
        count_per_step=len(made) / steps if steps else None,
        us_per_step=total / steps if steps else None,
        full_count=sum(one.generation >= _OLDEST for one in made),
    )
