"""Loader workers as a recorded run tells of them: what each made, and when it was free to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.model.trace import Int64s, Trace, WorkerBatches

SAME_MOMENT_NS = 2_000_000
"""Clocks of records and traces, and of two processes, agree within this."""
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Made:
    """Batches in the order of their workers, nanoseconds; shapes (made,).

    `taken` is the position of each among those that the training took, and `freed` that of the one
    whose taking freed its place in the queue, -1 where that was before the trace.
    """

    worker: Int64s
    start: Int64s
    end: Int64s
    taken: Int64s
    freed: Int64s

    @property
    def marks(self) -> Int64s:
        """Start and end of each in turn; shape (2 * made,)."""
        return np.stack((self.start, self.end), axis=1).ravel()

    @property
    def lanes(self) -> Int64s:
        """The worker of each mark."""
        return np.repeat(self.worker, 2)


def made_for(trace: Trace, asked: Int64s, taken: Int64s) -> Made | None:
    """The making of batches that the training asked for and took at these times; shape (batches,).

    None without records of all of them, or where times contradict that workers take turns.
    """
    told = trace.info.batches
    first = None if told is None or not len(asked) else _number_of_first(told, asked)
    if told is None or first is None:
        return None
    number = first + np.arange(len(asked))
    row = np.searchsorted(told.batch, number)
    if not np.array_equal(np.append(told.batch, -1)[row], number):
        return None
    late = max(int((told.end[row] - taken).max()), 0)  # a batch is not taken before it is made
    freed = np.maximum(np.arange(len(asked)) - told.workers * told.prefetch, -1)
    free = np.where(freed >= 0, taken[freed], _NEVER)
    start, end = told.start[row] - late, told.end[row] - late
    if late > SAME_MOMENT_NS or (free > start + SAME_MOMENT_NS).any():
        return None
    start = np.maximum(start, np.maximum(free, trace.ts.min()))
    order = np.lexsort((number, told.worker[row]))
    order = order[end[order] > trace.ts.min()]
    columns = (told.worker[row], start, np.maximum(start, end), np.arange(len(asked)), freed)
    return Made(*(column[order] for column in columns))


def _number_of_first(told: WorkerBatches, asked: Int64s) -> int | None:
    """Which batch was asked for first; None where the records do not agree on one."""
    after = np.searchsorted(asked, told.asked_at)
    before, after = np.maximum(after - 1, 0), np.minimum(after, len(asked) - 1)
    near = np.abs(asked[before] - told.asked_at) < np.abs(asked[after] - told.asked_at)
    which = np.where(near, before, after)
    same = np.abs(asked[which] - told.asked_at) <= SAME_MOMENT_NS
    first = np.unique((told.asked_batch - which)[same])
    return int(first[0]) if len(first) == 1 else None


def delivery(trace: Trace) -> float | None:
    """Nanoseconds in which the workers together make a batch: they take turns, and none rests.

    Without the first batch of each, which begins with its start-up. None where no records tell.
    """
    told = trace.info.batches
    if told is None:
        return None
    later = np.ones(len(told.batch), dtype=np.bool_)
    later[np.unique(told.worker, return_index=True)[1]] = False
    took = (told.end - told.start)[later]
    return float(took.mean()) / told.workers if len(took) else None
