"""Ranges of the program, such as those of `record_function`, that stand for its iterations."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import LONGEST, used
from perfkit.analyzers.nesting import NOT_THE_PROGRAMS
from perfkit.model.trace import Int32s, Int64s, Kind, Trace

_NUMBER = re.compile(r"\d+")
_ITERATION = re.compile(
    r"(?i)(^|[^a-z])(step|iter|iteration|run_batch|model_runner: forward)(?![a-z])|^execute_"
)
_A_PART = re.compile(r"(?i)layer|block|expert|bucket|chunk|micro|att(entio)?n|mlp|norm")
_FEWEST = 3  # two of a kind are a coincidence
_MOST_CANDIDATES = 16
_MOST_STRANGERS = 0.1  # of the names of kernels: they occur less than once a range
_LEAST_SPANNED = 0.5  # of all operations, from the first of ranges that are called steps on


def own_ranges(trace: Trace, work: GpuWork, calls: Launches) -> Int64s:
    """Rows of the ranges that begin an iteration, in order of time; empty where none do.

    Of the families of ranges (names that differ in their numbers alone, on one thread, one after
    another) it is the one in which most work is launched. What they hold has to repeat with them,
    unless their name says that they are steps: the layers of one pass repeat too, but the kernels
    before and after them do not.
    """
    best, most = np.empty(0, dtype=np.int64), 0
    families = _families(trace)
    if not families:
        return best
    launched, names = _work(trace, work, calls)
    for rows in families:
        inside = _inside(trace, rows, launched)
        if inside > most and _iterates(trace, rows, launched, names):
            best, most = rows, inside
    return best


def _work(trace: Trace, work: GpuWork, calls: Launches) -> tuple[Int64s, Int32s]:
    """When operations were launched, in order of time, and their names; operators on a CPU."""
    if not len(work):
        rows = np.flatnonzero(trace.kind == Kind.OPERATOR)
        return trace.ts[rows], trace.name[rows]
    launched = np.where(calls.call >= 0, trace.ts[calls.call], work.start)
    order = np.argsort(launched, kind="stable")
    return launched[order], trace.name[work.rows[order]]


def family_of(name: str) -> str:
    """What names that differ in their numbers alone have in common."""
    return _NUMBER.sub("N", name)


def _families(trace: Trace) -> list[Int64s]:
    """Rows of ranges that follow one another, the longest families first."""
    rows = np.flatnonzero(trace.kind == Kind.ANNOTATION)
    family = np.full(len(trace.names), -1, dtype=np.int64)
    numbers: dict[str, int] = {}
    for i in used(trace, rows):
        name = trace.names[i][:LONGEST]
        if _may_iterate(name):
            family[i] = numbers.setdefault(family_of(name), len(numbers))
    rows = rows[family[trace.name[rows]] >= 0]
    if not len(rows):
        return []
    keys = family[trace.name[rows]] * len(trace.lanes) + trace.lane[rows]
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    time = np.bincount(inverse, trace.dur[rows])
    time[counts < _FEWEST] = 0
    longest = np.argsort(-time, kind="stable")[:_MOST_CANDIDATES]
    found = [rows[inverse == i] for i in longest.tolist() if time[i] > 0]
    return [rows for rows in found if _one_after_another(trace, rows)]


def _may_iterate(name: str) -> bool:
    """Whether the range is the program's own, or its trainer's, and no part by its name."""
    own = name.startswith("[pl]") or not NOT_THE_PROGRAMS.match(name)
    return own and not _A_PART.search(name)


def _one_after_another(trace: Trace, rows: Int64s) -> bool:
    start, end = spans(trace, rows)
    return bool((start[1:] >= end[:-1]).all())


def _inside(trace: Trace, rows: Int64s, launched: Int64s) -> int:
    """How many operations were launched while one of these ranges was open."""
    start, end = spans(trace, rows)
    return int((np.searchsorted(launched, end) - np.searchsorted(launched, start)).sum())


def _iterates(trace: Trace, rows: Int64s, launched: Int64s, names: Int32s) -> bool:
    """Whether these ranges are called steps and span the work, or all kernels repeat with them."""
    if _ITERATION.search(trace.names[trace.name[rows[0]]][:LONGEST]):
        start, end = spans(trace, rows)
        first, last = np.searchsorted(launched, (start[0], end[-1])).tolist()
        if last - first > _LEAST_SPANNED * len(launched):
            return True
    times = np.bincount(names)
    times = times[times > 0]
    return bool((times < len(rows) - 1).sum() <= _MOST_STRANGERS * len(times))
