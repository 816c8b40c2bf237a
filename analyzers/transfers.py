"""Copies and collectives: how many, how long, and how much of it hidden behind computation."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from perfkit.analyzers.collective_calls import dtype_bytes, told_by
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import spans, union
from perfkit.analyzers.names import used
from perfkit.analyzers.rows import mask
from perfkit.model.cause import CODE, Cause
from perfkit.model.diagnosis import Collective, Copy, Overlap
from perfkit.model.trace import Bools, Int64s, Kind

_COPY_NAME = re.compile(r"Mem(?:cpy|set) ?(\w+)? ?\((?:(\w+) -> )?(\w+)\)")
# As Intel's runtime and ROCm's old tracer name them.
_OTHER_COPY = re.compile(r"(?:Memcpy |Copy)(M2D|D2M|HostToDevice|DeviceToHost)\b")
_DIRECTIONS = {"M2D": "HtoD", "D2M": "DtoH", "HostToDevice": "HtoD", "DeviceToHost": "DtoH"}
_LONGEST_NAME = 200


def overlap(facts: Facts) -> Overlap | None:
    """Communication and copies against computation; None without GPU work."""
    if not len(facts.work):
        return None
    windows, counted = facts.windows, facts.counted
    start, end = windows.start[counted], windows.end[counted]
    comm = int(facts.work.communication.covered(start, end).sum())
    copy = int(facts.work.copy.covered(start, end).sum())
    exposed_comm = int(facts.times.communication[counted].sum())
    exposed_copy = int(facts.times.copy[counted].sum())
    return Overlap(
        communication_us=facts.per_step_us(comm),
        communication_hidden_share=1 - exposed_comm / comm if comm else None,
        copy_us=facts.per_step_us(copy),
        copy_hidden_share=1 - exposed_copy / copy if copy else None,
    )


def copies(facts: Facts) -> list[Copy]:
    """Copies by direction, kind of memory and what made them, longest first."""
    rows = _counted(facts, (Kind.MEMCPY, Kind.MEMSET))
    saved = _in_checkpoints(facts, rows)
    found = [
        _copy(facts, key, part[np.isin(facts.trace.name[part], names)], within)
        for within, part in ((None, rows[~saved]), (Cause.CHECKPOINT.value, rows[saved]))
        for key, names in _groups(facts, part).items()
    ]
    return sorted(found, key=lambda copy: -copy.total_us)


def _groups(facts: Facts, rows: Int64s) -> dict[tuple[str, str], list[int]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for name in used(facts.trace, rows):
        groups.setdefault(_direction_and_memory(facts.trace.names[name]), []).append(name)
    return groups


def _in_checkpoints(facts: Facts, rows: Int64s) -> Bools:
    """Whether each copy was launched while a checkpoint was written."""
    host, trace = facts.host, facts.trace
    saves = host.rows[host.cause == CODE[Cause.CHECKPOINT]]
    call = facts.calls.call[np.searchsorted(facts.work.rows, rows)]
    at = np.where(call >= 0, trace.ts[call], -1)
    return union(*spans(trace, saves)).covered(at, at + 1) > 0


def _direction_and_memory(name: str) -> tuple[str, str]:
    match = _COPY_NAME.match(name)
    if name.startswith("Memset"):
        return "memset", "device"
    if other := _OTHER_COPY.match(name):
        return _DIRECTIONS[other[1]], "host"
    if match is None:
        return "copy", "unknown"
    direction, source, target = (part or "" for part in match.groups())
    memory = [x for x in (source, target) if x in ("Pageable", "Pinned", "Managed")]
    host = "Host" in (source, target)
    return direction or "copy", memory[0].lower() if memory else "host" if host else "device"


def _copy(facts: Facts, key: tuple[str, str], rows: Int64s, within: str | None) -> Copy:
    size = facts.trace.bytes[rows]
    return Copy(
        direction=key[0],
        memory=key[1],
        count_per_step=len(rows) / facts.mean_over,
        bytes_per_step=float(size.sum()) / facts.mean_over if (size >= 0).all() else None,
        total_us=facts.per_step_us(facts.trace.dur[rows].sum()),
        exposed_us=_exposed_us(facts, rows, facts.work.kernels.covered),
        idle_us=facts.per_step_us(_idle_before(facts, rows)),
        within=within,
        line=_line(facts, rows),
    )


def _line(facts: Facts, rows: Int64s) -> str | None:
    """The line of the program that launched most of these copies, by time."""
    call = facts.calls.call[np.searchsorted(facts.work.rows, rows)]
    known, trace = call >= 0, facts.trace
    call = call[known]
    return facts.lines.heaviest(trace.lane[call], trace.ts[call], trace.dur[rows[known]])


def _idle_before(facts: Facts, rows: Int64s) -> int:
    """Idle time charged to copies while their own launching call was open, or after it."""
    call = facts.calls.call[mask(rows, len(facts.trace))[facts.work.rows]]
    call = call[call >= 0]
    pieces = facts.counted_pieces.of(Cause.COPY)
    open_calls = union(*spans(facts.trace, call))
    inside = open_calls.covered(pieces.start, pieces.end) > 0
    mine = ((pieces.blocker >= 0) & mask(call, len(facts.trace))[pieces.blocker]) | (
        (pieces.blocker < 0) & inside
    )
    return int((pieces.end - pieces.start)[mine].sum())


def collectives(facts: Facts) -> list[Collective]:
    """Communication kernels by collective (by kernel name where none is told), longest first."""
    rows = facts.work.rows[facts.work.is_communication]
    rows = rows[facts.in_counted(facts.trace.ts[rows])]
    entry = told_by(facts, rows)
    told = entry >= 0
    name = np.where(
        told, np.append(facts.trace.collectives.name, -1)[entry], facts.trace.name[rows]
    )
    found = [
        _collective(facts, int(n), rows[name == n], entry[(name == n) & told])
        for n in np.unique(name)
    ]
    return sorted(found, key=lambda c: -c.total_us)


def _collective(facts: Facts, name: int, rows: Int64s, entries: Int64s) -> Collective:
    table, names = facts.trace.collectives, facts.trace.names
    dtype = names[table.dtype[entries[0]]] if len(entries) else None
    size = dtype_bytes(dtype)
    elements = np.maximum(table.in_elements[entries], table.out_elements[entries])
    whole = len(entries) == len(rows) and size is not None
    return Collective(
        name=names[name][:_LONGEST_NAME],
        count_per_step=len(rows) / facts.mean_over,
        total_us=facts.per_step_us(facts.trace.dur[rows].sum()),
        exposed_us=_exposed_us(facts, rows, facts.work.compute.covered),
        bytes_per_step=float(elements.sum()) * (size or 0) / facts.mean_over if whole else None,
        dtype=dtype or None,
        group_size=_positive(int(table.group_size[entries].max())) if len(entries) else None,
    )


def _positive(value: int) -> int | None:
    return value if value > 0 else None


def _exposed_us(facts: Facts, rows: Int64s, hidden: Callable[[Int64s, Int64s], Int64s]) -> float:
    """Time of the union of these operations that nothing of higher rank covers, per step."""
    own = union(*spans(facts.trace, rows))
    time = int((own.end - own.start).sum()) - int(hidden(own.start, own.end).sum())
    return facts.per_step_us(time)


def _counted(facts: Facts, kinds: tuple[Kind, ...]) -> Int64s:
    rows = facts.work.rows[np.isin(facts.trace.kind[facts.work.rows], kinds)]
    return rows[facts.in_counted(facts.trace.ts[rows])]
