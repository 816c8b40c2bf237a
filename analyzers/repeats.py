"""The period of a sequence that repeats, found without step marks."""

from __future__ import annotations

import numpy as np

from perfkit.model.trace import Int32s, Int64s

_FEWEST = 3  # two of a kind are a coincidence
_SHORTEST = 4  # kernels: fewer are a loop inside of something
_LEAST_MATCH = 0.9  # of operations that equal the one a period later
_MOST_STRANGERS = 0.1  # of names that occur less than once a period
_MOST_CANDIDATES = 8


def repeats(names: Int32s, times: Int64s) -> Int64s | None:
    """Times at which the period of `names` begins anew, the end of the last one included.

    None unless at least three periods fill the sequence and hold nearly all of its names: the
    layers of one forward pass repeat too, but the kernels before and after them do not. A period
    begins at its longest pause.
    """
    ids, counts = np.unique(names, return_counts=True)
    for count in np.unique(counts[counts >= _FEWEST])[:_MOST_CANDIDATES].tolist():
        if (counts < count).sum() > _MOST_STRANGERS * len(ids):
            return None
        for name in ids[counts == count][:_MOST_CANDIDATES].tolist():
            period = _period(np.flatnonzero(names == name))
            if period and _holds(names, period):
                return _borders(times, period)
    return None


def _period(positions: Int64s) -> int | None:
    distances = np.diff(positions)
    period = int(np.median(distances))
    regular = float((distances == period).mean()) >= _LEAST_MATCH
    return period if regular and period >= _SHORTEST else None


def _holds(names: Int32s, period: int) -> bool:
    if len(names) < _FEWEST * period:
        return False
    return float((names[period:] == names[:-period]).mean()) >= _LEAST_MATCH


def _borders(times: Int64s, period: int) -> Int64s:
    pauses = np.diff(times, prepend=times[0])
    whole = len(pauses) // period * period
    phase = int(np.argmax(np.median(pauses[:whole].reshape(-1, period), axis=0)))
    return times[phase::period]
