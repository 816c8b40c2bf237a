"""Questions about event names, asked once per name and not once per event."""

from __future__ import annotations

import re

import numpy as np

from perfkit.model.trace import Bools, Int64s, Trace

LONGEST = 200
"""Characters of a name that are looked at; C++ kernel names run to thousands."""


def matching(trace: Trace, pattern: re.Pattern[str]) -> Bools:
    """Whether the pattern is found in each name; shape (names,)."""
    found = (bool(pattern.search(name[:LONGEST])) for name in trace.names)
    return np.fromiter(found, dtype=np.bool_, count=len(trace.names))


def used(trace: Trace, rows: Int64s | Bools) -> list[int]:
    """Ids of the names that these events bear, in rising order."""
    return np.flatnonzero(np.bincount(trace.name[rows])).tolist()
