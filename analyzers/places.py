"""Where idle time was spent: the operator, call or annotation the launching thread was in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.cpu import main_thread
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import Intervals, distinct, spans, union_and_first
from perfkit.analyzers.nesting import Nestings, modules, ranges
from perfkit.analyzers.pieces import Pieces
from perfkit.analyzers.rows import numbered, present
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.diagnosis import HostCall, Place
from perfkit.model.trace import Int8s, Int64s, Kind, Trace

_MOST_PER_CAUSE = 8
_NOWHERE = "between operators"
_OWN_NAME = (Cause.GC, Cause.PROFILER, Cause.CHECKPOINT, Cause.DATALOADER)
_CALL_ROLES = (Cause.SYNC, Cause.ALLOCATOR, Cause.COPY, Cause.LAUNCH)
_NOT_ON_THE_HOST = (Cause.KERNEL_GAP, Cause.OTHER_GPU, Cause.UNOBSERVED, Cause.UNKNOWN)
_LONGEST_NAME = 200
_ROUNDING_NS = 1_000  # whole microseconds let neighbours overlap by one


def places(facts: Facts) -> list[Place]:
    """The costliest places of each cause, per step."""
    layers = _Layers(facts)
    return [
        place
        for cause, pieces in facts.counted_pieces.by_cause().items()
        if cause not in _NOT_ON_THE_HOST
        for place in _of_cause(layers, cause, pieces)
    ]


@dataclass(frozen=True)
class _Outermost:
    """Events that lie in no other: the union of all, and the trace row that opens each part."""

    intervals: Intervals
    row: Int64s

    @classmethod
    def of(cls, trace: Trace, rows: Int64s) -> _Outermost:
        """The outermost of these rows."""
        intervals, first = union_and_first(*spans(trace, rows), _ROUNDING_NS)
        return cls(intervals, rows[first])

    def at(self, times: Int64s) -> Int64s:
        """The row of the one open at each time, -1 for none."""
        at = np.searchsorted(self.intervals.start, times, side="right") - 1
        inside = (at >= 0) & (times < np.append(self.intervals.end, 0)[at])
        return np.where(inside, np.append(self.row, -1)[at], -1)


class _Layers:
    """What may name a place on a thread; several causes ask for the same."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._made: dict[tuple[int, Kind], _Outermost] = {}
        self.modules: Nestings = modules(facts.trace)
        self.ranges: Nestings = ranges(facts.trace)

    def named_by(self, cause: Cause, thread: int) -> Iterator[_Outermost]:
        """Events that may name a place of this cause, best first."""
        if cause in _OWN_NAME:
            yield _Outermost.of(self.facts.trace, self.facts.host.on(thread, cause))
            return
        for kind in (Kind.OPERATOR, Kind.RUNTIME, Kind.ANNOTATION):
            if (cause, kind) != (Cause.PYTHON, Kind.RUNTIME):
                yield self._of_kind(thread, kind)

    def _of_kind(self, thread: int, kind: Kind) -> _Outermost:
        if (thread, kind) not in self._made:
            mine = self.facts.host.of_kind(thread, kind)
            self._made[thread, kind] = _Outermost.of(self.facts.trace, mine)
        return self._made[thread, kind]


def _of_cause(layers: _Layers, cause: Cause, pieces: Pieces) -> list[Place]:
    facts = layers.facts
    threads, times = _moments(facts, pieces)
    rows = _rows_of(layers, cause, pieces, threads, times)
    # Name and line of each place, with an entry before the first of both for none.
    names = np.where(rows >= 0, facts.trace.name[rows], -1) + 1
    length = pieces.end - pieces.start
    lines = _lines_of(facts, pieces, threads, times) + 1
    sites, site = _sites(names, lines)
    total = np.bincount(site, weights=length)
    costliest = np.argsort(-total, kind="stable")[:_MOST_PER_CAUSE]
    return [
        Place(
            cause=cause.value,
            name=facts.trace.names[name - 1][:_LONGEST_NAME] if name else _NOWHERE,
            count_per_step=len(distinct(rows[mine]) if name else gaps) / facts.mean_over,
            idle_us=facts.per_step_us(total[i]),
            gap_us=_usual_us(gaps),
            line=facts.lines.texts[line - 1] if line else None,
            module=layers.modules.most(threads[mine], times[mine], length[mine]),
            range=layers.ranges.most(threads[mine], times[mine], length[mine]),
        )
        for i in costliest[total[costliest] > 0].tolist()
        for mine in (np.flatnonzero(site == i),)
        for name, line in (sites[i],)
        for gaps in (_gaps_us(pieces.start[mine], pieces.end[mine]),)
    ]


def _gaps_us(start: Int64s, end: Int64s) -> NDArray[np.float64]:
    """Lengths of the stretches that these pieces, in order of time, make together."""
    first = np.flatnonzero(np.append(True, start[1:] != end[:-1]))
    return np.add.reduceat((end - start) / 1000, first)


def _usual_us(lengths: NDArray[np.float64]) -> float:
    """Half of the time is in gaps of this length or longer."""
    ordered = np.sort(lengths)
    passed = np.cumsum(ordered)
    return float(ordered[np.searchsorted(passed, passed[-1] / 2)])


def _sites(names: Int64s, lines: Int64s) -> tuple[list[tuple[int, int]], Int64s]:
    """The pairs of name and line that occur, and the position of each piece's pair in them."""
    (names, name), (lines, line) = numbered(names), numbered(lines)
    pairs, site = numbered(name * len(lines) + line)
    found = (divmod(pair, len(lines)) for pair in pairs.tolist())
    return [(int(names[i]), int(lines[j])) for i, j in found], site


def _lines_of(facts: Facts, pieces: Pieces, threads: Int64s, times: Int64s) -> Int64s:
    """Number of each piece's line: where its call was made, or where it was spent; -1 for none."""
    end = np.where(pieces.blocker >= 0, times + 1, pieces.end)
    return facts.lines.most_of(threads, times, end)


def _moments(facts: Facts, pieces: Pieces) -> tuple[Int64s, Int64s]:
    """Thread and time that say where each piece comes from: of the call that is charged for it."""
    charged = pieces.blocker >= 0
    call = pieces.blocker[charged]
    threads, times = pieces.thread.astype(np.int64), pieces.start.copy()
    threads[charged], times[charged] = facts.trace.lane[call], facts.trace.ts[call]
    if facts.device_kind == "cpu":
        threads[threads < 0] = main_thread(facts.host)
    return threads, times


def _rows_of(
    layers: _Layers, cause: Cause, pieces: Pieces, threads: Int64s, times: Int64s
) -> Int64s:
    """Trace row that names the place of each piece, -1 for none."""
    rows = np.full(len(pieces.start), -1, dtype=np.int64)
    charged = pieces.blocker >= 0
    for thread in present(threads[threads >= 0]):
        mine = np.flatnonzero(threads == thread)
        for layer in layers.named_by(cause, thread):
            missing = mine[rows[mine] < 0]
            rows[missing] = layer.at(times[missing])
    rows[(rows < 0) & charged] = pieces.blocker[(rows < 0) & charged]
    return rows


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
    pieces = facts.counted_pieces.of(*_CALL_ROLES)
    rows = pieces.blocker.copy()
    for thread in present(pieces.thread[pieces.thread >= 0]):
        for cause in _CALL_ROLES:
            mine = (pieces.thread == thread) & (pieces.cause == CODE[cause]) & (rows < 0)
            if mine.any():
                calls = _Outermost.of(facts.trace, facts.host.on(thread, cause))
                rows[mine] = calls.at(pieces.start[mine])
    keep = rows >= 0
    keys = _keys(facts, pieces.cause[keep], rows[keep])
    idle = np.bincount(keys, (pieces.end - pieces.start)[keep], size)
    return np.asarray(idle, dtype=np.float64)
