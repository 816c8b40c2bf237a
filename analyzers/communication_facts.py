"""A trace in, what it says of its collectives out: sizes, exposure by phase, who waits for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perfkit.analyzers.collective_calls import (
    PHASES,
    CollectiveCalls,
    collective_calls,
)
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.inside import host_idle_inside_us, launched_inside
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.steps import step_of
from perfkit.model.cause import CODE, Cause
from perfkit.model.communication_facts import (
    BackwardReductions,
    CollectiveWaits,
    CommunicationFacts,
    Family,
    Messages,
    Phase,
    PhaseCollectives,
    ReducerWork,
    SmallCollectives,
)
from perfkit.model.trace import Bools, Int64s

_MOST_MESSAGES = 20
_MOST_NAMES = 3
# DDP's first bucket, its smallest on purpose (torch/csrc/distributed/c10d/reducer.hpp).
SMALL_BYTES = 1 << 20
# What 1 MiB takes on eight H200 (1.84 MB over the bus at 40 GB/s, nccl-tests): an all-reduce that
# is shorter than that is small, wherever it runs.
_SMALL_NS = 46_000
_MOSTLY = 0.5
_REDUCTIONS = ("all_reduce", "reduce_scatter", "reduce")
_MERGEABLE = (*_REDUCTIONS, "all_gather", "broadcast")
_UPDATES: tuple[Phase, ...] = ("backward", "after backward", "optimizer")
_BUS_FACTOR: dict[str, tuple[float, bool]] = {
    # nccl-tests, doc/PERFORMANCE.md: bus bandwidth is S / t times factor (times (n-1)/n where True)
    "all_reduce": (2.0, True), "all_gather": (1.0, True), "reduce_scatter": (1.0, True),
    "all_to_all": (1.0, True), "gather": (1.0, True), "scatter": (1.0, True),
    "broadcast": (1.0, False), "reduce": (1.0, False), "send_recv": (1.0, False),
}  # fmt: skip


def communication_facts(facts: Facts) -> CommunicationFacts | None:
    """None where the counted steps have no collectives."""
    calls = collective_calls(facts)
    if not len(calls):
        return None
    return CommunicationFacts(
        phases=_phases(calls),
        messages=_messages(calls),
        same_stream_us=_same_stream_us(calls),
        host_late_us=_host_late_us(calls),
        small=_small(calls),
        backward=_backward(calls),
        waits=_waits(calls),
        bucket_copies=_reducer(calls, "copies"),
        unused_search=_reducer(calls, "search"),
        single_node=_is_single_node(facts),
    )


def bus_factor(family: str, ranks: int) -> float | None:
    """Bytes over the bus per byte of the message; None where nothing is moved or known."""
    factor, shared = _BUS_FACTOR.get(family, (0.0, False))
    factor *= (ranks - 1) / ranks if shared and ranks > 1 else 1.0
    return factor if factor > 0 and ranks > 1 else None


def _phases(calls: CollectiveCalls) -> list[PhaseCollectives]:
    found = [
        PhaseCollectives(
            phase=PHASES[phase],
            family=family,
            count_per_step=int(mine.sum()) / calls.facts.mean_over,
            total_us=_us(calls, calls.facts.trace.dur[calls.rows], mine),
            exposed_us=_us(calls, calls.exposed, mine),
        )
        for phase in np.unique(calls.phase).tolist()
        for family, mine in _by_family(calls, calls.phase == phase)
    ]
    return sorted(found, key=lambda part: -part.exposed_us)


def _by_family(calls: CollectiveCalls, part: Bools) -> Iterator[tuple[Family, Bools]]:
    for family in np.unique(calls.family[part]).tolist():
        yield family, part & (calls.family == family)


def _us(calls: CollectiveCalls, nanoseconds: Int64s, mine: Bools) -> float:
    return calls.facts.per_step_us(nanoseconds[mine].sum())


def _messages(calls: CollectiveCalls) -> list[Messages]:
    """By phase, family, type, group and power of two of the size, the longest in sum first."""
    told = np.flatnonzero((calls.bytes > 0) & (calls.group_size > 1))
    octave = np.log2(np.maximum(calls.bytes, 1)).astype(np.int64)
    _, family = np.unique(calls.family, return_inverse=True)
    keys = np.stack([calls.phase, family, calls.dtype, calls.group_size, octave], axis=1)[told]
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    total = np.bincount(group, weights=calls.facts.trace.dur[calls.rows[told]])
    longest = np.argsort(-total, kind="stable")[:_MOST_MESSAGES].tolist()
    found = (_message(calls, told[group == i]) for i in longest)
    return [message for message in found if message is not None]


def _message(calls: CollectiveCalls, mine: Int64s) -> Messages | None:
    facts, first = calls.facts, int(mine[0])
    family, ranks = str(calls.family[first]), int(calls.group_size[first])
    dur = np.maximum(facts.trace.dur[calls.rows[mine]], 1)
    factor = bus_factor(family, ranks)
    if factor is None:
        return None
    rate = calls.bytes[mine] * factor / dur
    return Messages(
        phase=PHASES[int(calls.phase[first])],
        family=next(f for f, _ in _by_family(calls, calls.family == family)),
        dtype=facts.trace.names[int(calls.dtype[first])],
        group_size=ranks,
        bytes=float(calls.bytes[mine].mean()),
        count=len(mine),
        count_per_step=len(mine) / facts.mean_over,
        total_us=facts.per_step_us(dur.sum()),
        exposed_us=facts.per_step_us(calls.exposed[mine].sum()),
        fastest_us=float(dur[np.argmax(rate)]) / 1000,
        bus_gb_per_s=float(rate.max()),
    )


def _same_stream_us(calls: CollectiveCalls) -> float:
    """Exposed time on the stream that computes most."""
    work = calls.facts.work
    computes = work.rows[~work.is_copy & ~work.is_communication]
    if not len(computes):
        return 0.0
    trace = calls.facts.trace
    main = np.argmax(np.bincount(trace.lane[computes], weights=trace.dur[computes]))
    return _us(calls, calls.exposed, trace.lane[calls.rows] == main)


def _host_late_us(calls: CollectiveCalls) -> float:
    """Exposed time before the host had launched the computation that came next."""
    facts, shown, work = calls.facts, calls.exposures, calls.facts.work
    keep = facts.in_counted(shown.start)
    start, end = shown.start[keep], shown.end[keep]
    computes = np.flatnonzero(~work.is_copy & ~work.is_communication)
    following = np.append(computes, -1)[np.searchsorted(work.start[computes], end)]
    call = np.append(facts.calls.call, -1)[following]
    launched = np.where(call >= 0, facts.trace.ts[call], start)
    return facts.per_step_us((np.clip(launched, start, end) - start).sum())


def _small(calls: CollectiveCalls) -> SmallCollectives | None:
    """Of what the backward pass and the optimizer reduce and gather, which can be merged."""
    facts = calls.facts
    told, dur = calls.bytes >= 0, facts.trace.dur[calls.rows]
    small = np.where(told, calls.bytes < SMALL_BYTES, dur < _SMALL_NS)
    small &= np.isin(calls.phase, [PHASES.index(phase) for phase in _UPDATES])
    small &= np.isin(calls.family, _MERGEABLE)
    if not small.any():
        return None
    size = calls.bytes[small]
    return SmallCollectives(
        count_per_step=int(small.sum()) / facts.mean_over,
        exposed_us=_us(calls, calls.exposed, small),
        launch_idle_us=host_idle_inside_us(facts, calls.marks.of("launch")) * float(small.mean()),
        bytes_per_step=float(size.sum()) / facts.mean_over if (size >= 0).all() else None,
    )


def _reducer(calls: CollectiveCalls, mark: str) -> ReducerWork | None:
    """What DDP's reducer does beside communication; None where it does not."""
    facts, rows = calls.facts, calls.marks.of(mark)
    rows = rows[facts.in_counted(facts.trace.ts[rows])]
    if not len(rows):
        return None
    return ReducerWork(
        count_per_step=len(rows) / facts.mean_over,
        host_us=facts.per_step_us(facts.trace.dur[rows].sum()),
        kernel_us=_kernels_us(facts, launched_inside(facts, rows)),
        idle_us=host_idle_inside_us(facts, calls.marks.of(mark)),
    )


def _kernels_us(facts: Facts, mine: Bools) -> float:
    """Time of these GPU operations but collectives, per step."""
    work = facts.work
    mine = mine & ~work.is_communication & facts.in_counted(work.start)
    return facts.per_step_us((work.end - work.start)[mine].sum())


def _backward(calls: CollectiveCalls) -> BackwardReductions | None:
    """None where no thread of its own shows the backward pass."""
    facts = calls.facts
    reduces = (calls.phase == PHASES.index("backward")) & np.isin(calls.family, _REDUCTIONS)
    mine = np.flatnonzero(reduces & (calls.step >= 0))
    done, compute_us = _computed(calls)
    mine = mine[done[calls.step[mine]] >= 0]
    if not len(mine):
        return None
    tail = calls.exposed_since(np.append(done, -1)[calls.step])[mine]
    last = np.append(calls.step[mine][1:] != calls.step[mine][:-1], True)
    size = calls.bytes[mine]
    return BackwardReductions(
        count_per_step=len(mine) / facts.mean_over,
        compute_us=compute_us,
        reduce_us=facts.per_step_us(facts.trace.dur[calls.rows[mine]].sum()),
        tail_us=facts.per_step_us(tail.sum()),
        last_us=facts.per_step_us(tail[last].sum()),
        bytes_per_step=float(size.sum()) / facts.mean_over if (size >= 0).all() else None,
    )


def _computed(calls: CollectiveCalls) -> tuple[Int64s, float]:
    """When each step's backward computation ended, -1 without one; and its time per step."""
    facts, work, call = calls.facts, calls.facts.work, calls.facts.calls.call
    done = np.full(len(facts.windows), -1, dtype=np.int64)
    mine = np.flatnonzero((call >= 0) & ~work.is_copy & ~work.is_communication)
    mine = mine[np.isin(facts.trace.lane[call[mine]], calls.backward_threads)]
    step = step_of(facts.trace.ts[call[mine]], facts.windows)
    np.maximum.at(done, step[step >= 0], work.end[mine[step >= 0]])
    mine = mine[facts.in_counted(work.start[mine])]
    return done, facts.per_step_us((work.end[mine] - work.start[mine]).sum())


def _waits(calls: CollectiveCalls) -> CollectiveWaits | None:
    """Synchronizing calls that mostly waited while the GPU did nothing but communicate."""
    facts, host, trace = calls.facts, calls.facts.host, calls.facts.trace
    rows = host.rows[host.cause == CODE[Cause.SYNC]]
    rows = rows[facts.in_counted(trace.ts[rows])]
    start, end = spans(trace, rows)
    waited = facts.work.busy.covered(start, end)
    alone = calls.exposures.covered(start, end)
    rows = rows[(alone > _MOSTLY * waited) & (alone > 0)]
    if not len(rows):
        return None
    idle = _charged(facts, rows)
    names = np.bincount(trace.name[rows], weights=trace.dur[rows])
    longest = np.argsort(-names, kind="stable")[:_MOST_NAMES]
    return CollectiveWaits(
        count_per_step=len(rows) / facts.mean_over,
        held_us=facts.per_step_us(trace.dur[rows].sum()),
        idle_us=facts.per_step_us(idle),
        names=[trace.names[i] for i in longest[names[longest] > 0].tolist()],
    )


def _charged(facts: Facts, rows: Int64s) -> int:
    """Idle nanoseconds of the cause sync that these calls are charged with."""
    pieces = facts.counted_pieces.of(Cause.SYNC)
    pieces = pieces.take(np.isin(pieces.blocker, rows))
    return int((pieces.end - pieces.start).sum())


def _is_single_node(facts: Facts) -> bool:
    ranks, seen = facts.trace.info.world_size, len(facts.trace.info.devices)
    return ranks is not None and 1 < ranks <= seen
