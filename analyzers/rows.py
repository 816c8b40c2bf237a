"""Sets of rows and ids as tables: numpy's own set functions cost ten times as much."""

from __future__ import annotations

import numpy as np

from perfkit.model.trace import Bools, Int8s, Int32s, Int64s


def present(ids: Int8s | Int32s | Int64s) -> list[int]:
    """Small numbers of at least 0, such as lanes, that occur, in rising order."""
    return np.flatnonzero(np.bincount(ids)).tolist() if len(ids) else []


def numbered(ids: Int32s | Int64s) -> tuple[Int64s, Int64s]:
    """Small numbers of at least 0 that occur, in rising order, and where in these each stands."""
    found = np.flatnonzero(np.bincount(ids))
    place = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.int64)
    place[found] = np.arange(len(found))
    return found, place[ids]


def among(ids: Int32s | Int64s, some: Int32s | Int64s) -> Bools:
    """Whether each of small numbers of at least 0 is one of `some`."""
    found = np.zeros(1 + max(ids.max(initial=0), some.max(initial=0)), dtype=np.bool_)
    found[some] = True
    return found[ids]


def mask(rows: Int64s, size: int) -> Bools:
    """Whether each of `size` rows is one of `rows`, of which -1 is none; shape (size,)."""
    found = np.zeros(size + 1, dtype=np.bool_)
    found[rows] = True  # -1 is the last entry
    return found[:size]
