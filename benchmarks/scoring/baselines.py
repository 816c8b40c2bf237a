"""Simpler methods that perfkit's have to beat, on the same trace and the same names of causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import split
from perfkit.analyzers.kernel_names import kind_of
from perfkit.analyzers.steps import step_of
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Int64s, Kind

_COMPUTE = frozenset(KernelKind) - {KernelKind.COMMUNICATION}
_HOST = ("launch", "dispatch", "python")
BUCKETS: dict[str, tuple[str, ...]] = {
    "dataloader": ("dataloader",),
    "sync": ("sync",),
    "copies": ("copy", "exposed copies"),
    "allocator": ("allocator",),
    "checkpoint": ("checkpoint",),
    "gc": ("gc",),
    "cuda-graphs": _HOST,
    "overlap": ("communication",),
    "host=2": _HOST,
    "communication=2": ("communication",),
}
"""Which time a fix takes out of the step when nothing is replayed; "=2" takes half of it."""


def occupant_us(facts: Facts) -> dict[str, float]:
    """Gap occupant: each gap is due to what its launching thread does in the middle of it.

    Microseconds per step by cause, with exposed communication and copies as perfkit has them.
    """
    start, end = _gaps(facts)
    idle = np.zeros(len(CAUSES), dtype=np.int64)
    op = np.minimum(np.searchsorted(facts.work.start, end), max(len(facts.work) - 1, 0))
    call = facts.calls.call[op]
    thread = np.where(call >= 0, facts.trace.lane[call], -1)
    cause = np.full(len(start), CODE[Cause.UNKNOWN], dtype=np.int8)
    for lane in np.unique(thread[thread >= 0]).tolist():
        mine = thread == lane
        cause[mine] = facts.host.timeline(lane).at((start + end)[mine] // 2)
    low, high, parent = split(start, end, facts.windows.edges)
    counted = facts.in_counted(low)
    np.add.at(idle, cause[parent][counted], (high - low)[counted])
    states = facts.times.take(facts.counted)
    return {
        **{c.value: facts.per_step_us(ns) for c, ns in zip(CAUSES, idle, strict=True)},
        "communication": facts.per_step_us(states.communication.sum()),
        "exposed copies": facts.per_step_us(states.copy.sum()),
    }


def _gaps(facts: Facts) -> tuple[Int64s, Int64s]:
    """Where no operation ran, inside of the windows."""
    first, last = int(facts.windows.start[0]), int(facts.windows.end[-1])
    idle = facts.work.busy.complement(first, last)
    inside = step_of(idle.start, facts.windows) >= 0
    return idle.start[inside], idle.end[inside]


def subtracted_us(
    facts: Facts, found_us: Mapping[str, float], fixes: Sequence[str], mends: Sequence[str]
) -> dict[str, float]:
    """Subtract the bucket: what a fix returns is the time under its name; microseconds by fix."""
    return {fix: _subtracted(facts, found_us, fix, mends) for fix in fixes}


def _subtracted(
    facts: Facts, found_us: Mapping[str, float], fix: str, mends: Sequence[str]
) -> float:
    if fix == "all":
        return sum(_subtracted(facts, found_us, mend, mends) for mend in mends)
    if fix.startswith("kernels"):
        return _kernels_us(facts, fix) / 2
    share = 0.5 if fix.endswith("=2") else 1.0
    return share * sum(found_us[cause] for cause in BUCKETS[fix])


def _kernels_us(facts: Facts, fix: str) -> float:
    """Kernel time per step of the class that "kernels:CLASS=2" names, or of all computation."""
    _, _, wanted = fix.partition("=")[0].partition(":")
    kinds = {KernelKind(wanted)} if wanted else _COMPUTE
    rows = facts.work.rows[facts.trace.kind[facts.work.rows] == Kind.KERNEL]
    rows = rows[facts.in_counted(facts.trace.ts[rows])]
    mine = [
        i
        for i in np.unique(facts.trace.name[rows]).tolist()
        if kind_of(facts.trace.names[i]) in kinds
    ]
    return facts.per_step_us(facts.trace.dur[rows][np.isin(facts.trace.name[rows], mine)].sum())
