"""The caching allocator over a run: peaks, retries at its limit, and memory that grows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from perfkit.model.capture import MemoryStep
from perfkit.model.run_facts import MemoryFacts
from perfkit.trace.capture_records import Records

_FEWEST_FOR_SLOPE = 20
_WARM_UP_SHARE = 0.2  # of the steps: memory grows in the first ones by nature
_MOST_FOR_SLOPE = 200


def memory(records: Records) -> MemoryFacts | None:
    """Peaks, retries and growth of the caching allocator; None where it was not watched."""
    return memory_of(sorted(records.of(MemoryStep), key=lambda one: one.step))


def memory_of(steps: list[MemoryStep]) -> MemoryFacts | None:
    """The same from what is known after each step; None without a step."""
    if not steps:
        return None
    creep = _creep(steps)
    return MemoryFacts(
        steps=len(steps),
        peak_allocated_bytes=max(one.peak_allocated_bytes for one in steps),
        peak_reserved_bytes=max(one.peak_reserved_bytes or one.reserved_bytes for one in steps),
        inactive_split_max_bytes=_highest(steps, "inactive_split_bytes"),
        retries=_highest(steps, "retries"),
        ooms=_highest(steps, "ooms"),
        steady_retries=_added(_steady(steps), "retries"),
        creep_bytes_per_step=creep,
        grown_bytes=_grown(steps, creep),
        grown_steps=_steady(steps)[-1].step - _steady(steps)[0].step if creep is not None else None,
        peak_by_phase_bytes=_by_phase(steps),
    )


def _highest(steps: list[MemoryStep], name: str) -> int | None:
    return max((v for one in steps if (v := getattr(one, name)) is not None), default=None)


def _steady(steps: list[MemoryStep]) -> list[MemoryStep]:
    return steps[int(_WARM_UP_SHARE * len(steps)) :]


def _added(steps: list[MemoryStep], name: str) -> int | None:
    """How far a counter went up over these steps."""
    known = [v for one in steps if (v := getattr(one, name)) is not None]
    return max(known) - known[0] if known else None


def _grown(steps: list[MemoryStep], creep: float | None) -> int | None:
    """What growth adds up to, 0 where it does not go on: the least held must rise by quarters."""
    if creep is None:
        return None
    later = _steady(steps)
    quarters = np.array_split(np.array([one.allocated_bytes for one in later]), 4)
    goes_on = all(a.min() < b.min() for a, b in pairwise(quarters))
    return round(creep * (later[-1].step - later[0].step)) if goes_on else 0


def _by_phase(steps: list[MemoryStep]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for one in steps:
        for phase, peak in (one.peak_by_phase_bytes or {}).items():
            peaks[phase] = max(peaks.get(phase, 0), peak)
    return peaks


def _creep(steps: list[MemoryStep]) -> float | None:
    """Growth of what stays allocated: the median slope between all pairs (Theil and Sen)."""
    later = _steady(steps)
    later = later[:: max(-(-len(later) // _MOST_FOR_SLOPE), 1)]
    if len(later) < _FEWEST_FOR_SLOPE:
        return None
    number = np.array([one.step for one in later], dtype=np.float64)
    held = np.array([one.allocated_bytes for one in later], dtype=np.float64)
    low, high = np.triu_indices(len(later), 1)
    apart = number[high] > number[low]
    slopes = (held[high] - held[low])[apart] / (number[high] - number[low])[apart]
    return float(np.median(slopes)) if len(slopes) else None
