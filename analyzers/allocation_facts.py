"""The caching allocator of one GPU as a recording with `profile_memory` shows it, by step."""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.memory_facts import memory_of
from perfkit.model.capture import MemoryStep
from perfkit.model.memory_facts import FailedAllocation
from perfkit.model.run_facts import MemoryFacts
from perfkit.model.trace import Allocations, Int64s

_CPU = 0  # c10::DeviceType


def allocated_memory(facts: Facts) -> MemoryFacts | None:
    """Peaks, growth by step, and the last failure; None where totals were not recorded."""
    told = facts.trace.allocations
    rows = _in_order(told, _of_one_gpu(told, facts.work.device))
    found = memory_of(_after_steps(told, rows, facts.windows.end)) if len(rows) else None
    return found and msgspec.structs.replace(found, failed=_failed(told, rows))


def _of_one_gpu(told: Allocations, device: int) -> Int64s:
    """What is told of the GPU that the trace is of, or else of the first one that has totals."""
    known = (told.device_type > _CPU) & (told.device >= 0)
    known &= (told.allocated >= 0) & (told.reserved >= 0)
    mine = known & (told.device == device)
    if not mine.any() and known.any():
        mine = known & (told.device == told.device[known.argmax()])
    return np.flatnonzero(mine)


def _in_order(told: Allocations, rows: Int64s) -> Int64s:
    """By time: writers list events by thread and by their ends."""
    ts = told.ts[rows]
    return rows if (ts[1:] >= ts[:-1]).all() else rows[np.argsort(ts, kind="stable")]


def _after_steps(told: Allocations, rows: Int64s, ends: Int64s) -> list[MemoryStep]:
    """The totals at each step's end, and the peaks by then; steps before the first word are out.

    What is told after the last step, with which many recordings end, counts into that step.
    """
    last = np.searchsorted(told.ts[rows], ends, side="right") - 1
    last[-1:] = len(rows) - 1
    numbers = np.flatnonzero(last >= 0)
    totals = [column[rows] for column in (told.allocated, told.reserved)]
    each = [*totals, *map(np.maximum.accumulate, totals)]
    columns = [numbers.tolist(), *(column[last[numbers]].tolist() for column in each)]
    return [
        MemoryStep(
            step=number,
            allocated_bytes=allocated,
            reserved_bytes=reserved,
            peak_allocated_bytes=peak,
            peak_reserved_bytes=most,
        )
        for number, allocated, reserved, peak, most in zip(*columns, strict=True)
    ]


def _failed(told: Allocations, rows: Int64s) -> FailedAllocation | None:
    failed = np.flatnonzero(told.failed[rows] & (told.size[rows] > 0))
    if not len(failed):
        return None
    last = rows[failed[-1]]
    later = rows[failed[-1] + 1 :]
    return FailedAllocation(
        count=len(failed),
        asked_bytes=int(told.size[last]),
        allocated_bytes=int(told.allocated[last]),
        reserved_bytes=int(told.reserved[last]),
        went_on=bool((told.size[later] > 0).any()),
    )
