"""Which events and launches lie inside of which host events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.blockers import GENERIC
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import spans, union
from perfkit.analyzers.rows import present
from perfkit.model.trace import Bools, Int32s, Int64s, Trace


@dataclass(frozen=True)
class Spans:
    """Times on threads, ordered by start; shapes (spans,)."""

    lane: Int32s
    start: Int64s
    end: Int64s

    @classmethod
    def of(cls, trace: Trace, rows: Int64s) -> Spans:
        """Those of trace rows in rising order."""
        return cls(trace.lane[rows], trace.ts[rows], trace.ts[rows] + trace.dur[rows])

    def holding(self, lane: Int32s, times: Int64s) -> Int64s:
        """The last span that began before each time on its lane and is open, -1 for none.

        Of nested spans it is the innermost, unless that has ended. Shape (times,).
        """
        found = np.full(len(times), -1, dtype=np.int64)
        for thread in present(self.lane):
            mine = np.flatnonzero(self.lane == thread)
            here = np.flatnonzero(lane == thread)
            at = np.searchsorted(self.start[mine], times[here], side="right") - 1
            is_open = (at >= 0) & (times[here] < self.end[mine[at]])
            found[here[is_open]] = mine[at[is_open]]
        return found

    def launching(self, facts: Facts) -> Int64s:
        """The span in which each GPU operation was launched, -1 for none; shape (operations,)."""
        call = facts.calls.call
        lane = np.where(call >= 0, facts.trace.lane[call], -1).astype(np.int32)
        return self.holding(lane, facts.trace.ts[call])


def holder(trace: Trace, rows: Int64s, asked: Int64s) -> Int64s:
    """Position in `rows` of the event in which each row of `asked` begins, -1 for none."""
    return Spans.of(trace, rows).holding(trace.lane[asked], trace.ts[asked])


def launched_inside(facts: Facts, rows: Int64s) -> Bools:
    """Whether each GPU operation was launched inside of one of these events; (operations,)."""
    return Spans.of(facts.trace, rows).launching(facts) >= 0


def host_idle_inside_us(facts: Facts, rows: Int64s) -> float:
    """Idle time of the host's own pace while its thread is in one of these events, per step."""
    pieces, trace, total = facts.counted_pieces.of(*GENERIC), facts.trace, 0
    for lane in present(trace.lane[rows]):
        mine = pieces.take(pieces.thread == lane)
        events = union(*spans(trace, rows[trace.lane[rows] == lane]))
        total += int(events.covered(mine.start, mine.end).sum())
    return facts.per_step_us(total)
