"""Where idle time was spent: the operator, call or annotation the launching thread was in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.idle import Pieces
from perfkit.analyzers.intervals import spans, union_and_first
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.diagnosis import HostCall, Place
from perfkit.model.trace import Int8s, Int64s, Kind

_MOST_PER_CAUSE = 8
_NOWHERE = "between operators"
_OWN_NAME = (Cause.GC, Cause.PROFILER, Cause.CHECKPOINT, Cause.DATALOADER)
_CALL_ROLES = (Cause.SYNC, Cause.ALLOCATOR, Cause.COPY, Cause.LAUNCH)
_NOT_ON_THE_HOST = (Cause.KERNEL_GAP, Cause.UNOBSERVED, Cause.UNKNOWN)
_LONGEST_NAME = 200
_ROUNDING_NS = 1_000  # whole microseconds let neighbours overlap by one


def places(facts: Facts) -> list[Place]:
    """The costliest places of each cause, per step."""
    pieces = facts.pieces.take(facts.in_counted(facts.pieces.start))
    return [
        place
        for cause in CAUSES
        if cause not in _NOT_ON_THE_HOST
        for place in _of_cause(facts, cause, pieces.take(pieces.cause == CODE[cause]))
    ]


def _of_cause(facts: Facts, cause: Cause, pieces: Pieces) -> list[Place]:
    rows = _rows_of(facts, cause, pieces)
    # Name ids, with an entry before the first for "no name".
    names = np.where(rows >= 0, facts.trace.name[rows], -1) + 1
    total = np.bincount(names, weights=pieces.end - pieces.start)
    costliest = np.argsort(-total, kind="stable")[:_MOST_PER_CAUSE]
    return [
        Place(
            cause=cause.value,
            name=facts.trace.names[i - 1][:_LONGEST_NAME] if i else _NOWHERE,
            count_per_step=len(np.unique(rows[names == i])) / facts.mean_over,
            idle_us=facts.per_step_us(total[i]),
        )
        for i in costliest[total[costliest] > 0].tolist()
    ]


def _rows_of(facts: Facts, cause: Cause, pieces: Pieces) -> Int64s:
    """Trace row that names the place of each piece, -1 for none."""
    rows = np.full(len(pieces.start), -1, dtype=np.int64)
    times = pieces.start.copy()
    threads = pieces.thread.copy()
    charged = pieces.blocker >= 0
    times[charged] = facts.trace.ts[pieces.blocker[charged]]
    threads[charged] = facts.trace.lane[pieces.blocker[charged]]
    for thread in np.unique(threads[threads >= 0]).tolist():
        mine = np.flatnonzero(threads == thread)
        for candidates in _candidates(facts, cause, thread):
            missing = mine[rows[mine] < 0]
            rows[missing] = _covering(facts, candidates, times[missing])
    rows[(rows < 0) & charged] = pieces.blocker[(rows < 0) & charged]
    return rows


def _candidates(facts: Facts, cause: Cause, thread: int) -> Iterator[Int64s]:
    """Trace rows that may name a place, best first."""
    if cause in _OWN_NAME:
        yield facts.host.on(thread, cause)
        return
    trace, host = facts.trace, facts.host
    mine = host.rows[host.thread == thread]
    yield mine[trace.kind[mine] == Kind.OPERATOR]
    if cause is not Cause.PYTHON:
        yield mine[trace.kind[mine] == Kind.RUNTIME]
    yield mine[trace.kind[mine] == Kind.ANNOTATION]


def _covering(facts: Facts, rows: Int64s, times: Int64s) -> Int64s:
    """The outermost of these events open at each time, -1 for none."""
    intervals, first = union_and_first(*spans(facts.trace, rows), _ROUNDING_NS)
    at = np.searchsorted(intervals.start, times, side="right") - 1
    inside = (at >= 0) & (times < np.append(intervals.end, 0)[at])
    return np.where(inside, np.append(rows[first], -1)[at], -1)


def host_calls(facts: Facts) -> list[HostCall]:
    """Driver calls by name for the roles that can hold up a GPU, per step."""
    host, trace = facts.host, facts.trace
    keep = np.isin(host.cause, [CODE[c] for c in _CALL_ROLES])
    keep &= (trace.kind[host.rows] == Kind.RUNTIME) & facts.in_counted(trace.ts[host.rows])
    rows, keys = host.rows[keep], _keys(facts, host.cause[keep], host.rows[keep])
    size = len(CAUSES) * len(trace.names)
    count, total = (np.bincount(keys, w, size) for w in (None, trace.dur[rows]))
    idle = _idle_by_call(facts, size)
    found = [
        HostCall(
            name=trace.names[key % len(trace.names)],
            role=CAUSES[key // len(trace.names)].value,
            count_per_step=float(count[key]) / facts.mean_over,
            total_us=facts.per_step_us(total[key]),
            idle_us=facts.per_step_us(idle[key]),
        )
        for key in np.flatnonzero(count).tolist()
    ]
    return sorted(found, key=lambda call: (-call.idle_us, -call.total_us, call.name))


def _keys(facts: Facts, cause: Int8s, rows: Int64s) -> Int64s:
    """One number for each pair of role and call name."""
    return cause.astype(np.int64) * len(facts.trace.names) + facts.trace.name[rows]


def _idle_by_call(facts: Facts, size: int) -> NDArray[np.float64]:
    """Idle nanoseconds charged to each pair of role and call name; shape (size,)."""
    pieces = facts.pieces.take(np.isin(facts.pieces.cause, [CODE[c] for c in _CALL_ROLES]))
    pieces = pieces.take(facts.in_counted(pieces.start))
    rows = pieces.blocker.copy()
    for thread in np.unique(pieces.thread[pieces.thread >= 0]).tolist():
        for cause in _CALL_ROLES:
            mine = (pieces.thread == thread) & (pieces.cause == CODE[cause]) & (rows < 0)
            rows[mine] = _covering(facts, facts.host.on(thread, cause), pieces.start[mine])
    keep = rows >= 0
    keys = _keys(facts, pieces.cause[keep], rows[keep])
    idle = np.bincount(keys, (pieces.end - pieces.start)[keep], size)
    return np.asarray(idle, dtype=np.float64)
