"""Steps that say nothing about the others: cut off, or carrying the profiler's own start-up."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from perfkit.analyzers.breakdown import StepTimes
from perfkit.analyzers.intervals import ends
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching
from perfkit.analyzers.pieces import Pieces
from perfkit.analyzers.steps import Windows, step_of
from perfkit.model.cause import CODE, Cause
from perfkit.model.diagnosis import Excluded
from perfkit.model.trace import Bools, Int64s, Kind, Trace

_MOST_MISSING = 0.05  # of a step's launches without a GPU record
_FEWEST_OPERATIONS = 0.8  # of the median step's; the share at which kineto's own viewer cuts
_STUB = 0.2  # the same, with one step only to compare: a mark opened when recording ended
_MOST_STARTUP = 0.10  # of a step's wall time in start-up work
_SLOW_FIRST = 1.5  # times the usual step: workers start, libraries tune, memory pools grow
_FEWEST_TO_COMPARE = 4
_VALIDATION = re.compile(r"^perfkit::validation$")


def with_exclusions(
    windows: Windows, times: StepTimes, pieces: Pieces, trace: Trace, calls: Launches
) -> Windows:
    """The windows with the steps named that must not enter the means; one always remains."""
    reasons = {
        **_cut(windows, trace, calls),
        **_lost(windows, trace, calls),
        **_slow_first(times),
        **_behind(windows, pieces, trace),
        **_started(times),
        **_validated(windows, trace),
    }
    if len(reasons) >= len(windows):
        return windows
    excluded = tuple(Excluded(step=windows.labels[i], reason=reasons[i]) for i in sorted(reasons))
    return replace(windows, excluded=excluded)


def _started(times: StepTimes) -> dict[int, str]:
    startup = times.idle[:, [CODE[Cause.PROFILER], CODE[Cause.COMPILE]]].sum(axis=1)
    share = startup / np.maximum(times.wall, 1)
    usual = float(np.median(share))
    steps = np.flatnonzero(share > max(_MOST_STARTUP, 2 * usual))
    return dict.fromkeys(steps.tolist(), "carries start-up work (profiler, driver or compilation)")


def _slow_first(times: StepTimes) -> dict[int, str]:
    if len(times.wall) < _FEWEST_TO_COMPARE:
        return {}
    ratio = float(times.wall[0]) / max(float(np.median(times.wall[1:])), 1.0)
    return (
        {0: f"is the first and {ratio:.1f} times as long as the usual"}
        if ratio > _SLOW_FIRST
        else {}
    )


def _behind(windows: Windows, pieces: Pieces, trace: Trace) -> dict[int, str]:
    """The first step, where it pays for waits of one that is none, such as cuDNN's first trials."""
    if len(windows) < _FEWEST_TO_COMPARE:
        return {}
    charged = pieces.take(pieces.blocker >= 0)
    step, time = step_of(charged.start, windows), charged.end - charged.start
    earlier = ends(trace, charged.blocker) <= windows.start[0]
    lost = int(time[earlier & (step == 0)].sum())
    usual = float(np.median(np.bincount(step, time, len(windows))[1:]))
    much = max(_MOST_STARTUP * (windows.end[0] - windows.start[0]), 2 * usual)
    return {0: "pays for waits that ended before it"} if lost > much else {}


def _cut(windows: Windows, trace: Trace, calls: Launches) -> dict[int, str]:
    missing = _count(trace.ts[calls.orphans], windows)
    launched = _count(trace.ts[calls.call[calls.call >= 0]], windows) + missing
    found: dict[int, str] = {}
    for i in (0, len(windows) - 1):
        if missing[i] > _MOST_MISSING * max(int(launched[i]), 1):
            found[i] = "GPU records are missing in it"
    usual = float(np.median(launched[:-1])) if len(launched) > 1 else 0.0
    fewest = _FEWEST_OPERATIONS if len(windows) > 2 else _STUB
    if launched[-1] < fewest * usual:
        found[len(windows) - 1] = "is cut: it has fewer GPU operations than the others"
    return found


def _lost(windows: Windows, trace: Trace, calls: Launches) -> dict[int, str]:
    """Steps of which a file that ends too early lacks records, whichever they are.

    Kineto writes operators first; calls and GPU records follow buffer by buffer, in any order.
    None where no step is whole, or no call tells: then there is nothing to go by.
    """
    if not trace.info.damage.truncated or not (trace.kind == Kind.RUNTIME).any():
        return {}
    orphans, launched = (
        _count(trace.ts[rows], windows) for rows in (calls.orphans, calls.call[calls.call >= 0])
    )
    lost = _lacks_calls(windows, trace) | (orphans > _MOST_MISSING * (launched + orphans))
    if lost.all():
        return {}
    steps = np.flatnonzero(lost).tolist()
    return dict.fromkeys(steps, "records are missing in it: the file is cut")


def _lacks_calls(windows: Windows, trace: Trace) -> Bools:
    """Steps with few calls for their operators, or whose operators outlast all calls."""
    operator, call = (trace.ts[trace.kind == kind] for kind in (Kind.OPERATOR, Kind.RUNTIME))
    late = operator[operator > call.max()]
    operators, called, behind = (_count(times, windows) for times in (operator, call, late))
    by_operator = called / np.maximum(operators, 1)
    few = by_operator < _FEWEST_OPERATIONS * by_operator.max()
    return np.asarray(few | (behind > (1 - _FEWEST_OPERATIONS) * operators))


def _validated(windows: Windows, trace: Trace) -> dict[int, str]:
    rows = np.flatnonzero(matching(trace, _VALIDATION)[trace.name] & (trace.kind < Kind.SYNC))
    first = np.searchsorted(windows.end, trace.ts[rows], side="right")
    behind = np.searchsorted(windows.start, ends(trace, rows), side="left")
    steps = {i for a, b in zip(first.tolist(), behind.tolist(), strict=True) for i in range(a, b)}
    return dict.fromkeys(steps, "holds a validation, which is no step")


def _count(times: Int64s, windows: Windows) -> Int64s:
    at = step_of(times, windows)
    return np.bincount(at[at >= 0], minlength=len(windows))
