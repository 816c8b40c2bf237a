"""Idle time in pieces, each with the Cause it is charged to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfkit.analyzers.blockers import BLOCKING
from perfkit.analyzers.host import Timeline
from perfkit.analyzers.intervals import split
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.trace import Bools, Int8s, Int32s, Int64s


@dataclass(frozen=True)
class Pieces:
    """Idle time, disjoint and in order of time; all of shape (pieces,), times in nanoseconds.

    `cause` is a code into `CAUSES`; `thread` the lane that was waited for and `blocker` the
    trace row of the blocking call charged, -1 without one.
    """

    start: Int64s
    end: Int64s
    cause: Int8s
    thread: Int32s
    blocker: Int64s

    def cut(self, cuts: Int64s) -> Pieces:
        """The same pieces, cut at sorted times."""
        start, end, parent = split(self.start, self.end, cuts)
        if len(parent) == len(self.start):
            return self
        return replace(self.take(parent), start=start, end=end)

    def of(self, *causes: Cause) -> Pieces:
        """Those of these causes."""
        wanted = np.zeros(len(CAUSES), dtype=np.bool_)
        wanted[[CODE[cause] for cause in causes]] = True
        return self.take(np.flatnonzero(wanted[self.cause]))

    def by_cause(self) -> dict[Cause, Pieces]:
        """Those of each cause."""
        sorted_ = self.take(np.argsort(self.cause, kind="stable"))
        cuts = np.searchsorted(sorted_.cause, np.arange(len(CAUSES) + 1)).tolist()
        return {
            cause: sorted_.take(slice(low, high))
            for cause, low, high in zip(CAUSES, cuts[:-1], cuts[1:], strict=True)
        }

    def take(self, rows: Int64s | Bools | slice) -> Pieces:
        """Some of the pieces."""
        return Pieces(
            self.start[rows],
            self.end[rows],
            self.cause[rows],
            self.thread[rows],
            self.blocker[rows],
        )


def same(start: Int64s, end: Int64s, cause: Cause, thread: Int32s | int) -> Pieces:
    """Pieces of one cause."""
    count = len(start)
    return Pieces(
        start,
        end,
        np.full(count, CODE[cause], dtype=np.int8),
        np.broadcast_to(np.asarray(thread, dtype=np.int32), (count,)),
        np.full(count, -1, dtype=np.int64),
    )


def in_order(*parts: Pieces) -> Pieces:
    """All of them in order of time."""
    names = ("start", "end", "cause", "thread", "blocker")
    joined = Pieces(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
    return joined.take(np.argsort(joined.start, kind="stable"))


def relabelled(pieces: Pieces, line: Timeline, thread: int, *, foreign: bool = False) -> Pieces:
    """Pieces still under Python take the thread's cause where it has one.

    What held up a `foreign` thread did not hold up the one that waits for it.
    """
    pieces = pieces.cut(line.start)
    found = line.at(pieces.start)
    new = (pieces.cause == CODE[Cause.PYTHON]) & (found != CODE[Cause.PYTHON])
    if foreign:
        new &= ~np.isin(found, [CODE[cause] for cause in BLOCKING])
    return replace(
        pieces,
        cause=np.where(new, found, pieces.cause).astype(np.int8),
        thread=np.where(new, thread, pieces.thread).astype(np.int32),
    )
