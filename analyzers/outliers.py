"""Steps far above the usual one, what grew in them, and the period they come with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analyzers.breakdown import StepTimes, step_times
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import distinct
from perfkit.analyzers.steps import step_of
from perfkit.model.cause import CAUSES
from perfkit.model.diagnosis import Outlier, Outliers
from perfkit.model.trace import Int64s

_FEWEST_STEPS = 5
_LEAST_EXCESS = 0.15  # of the median step
_LEAST_SPREADS = 6.0  # median absolute deviations, about four standard deviations
_MOST_SHARE = 0.4  # more steps than this are no outliers
_FEWEST_FOR_PERIOD = 3


def outliers(facts: Facts) -> Outliers | None:
    """Slow steps among the counted ones; None when there are none or too few steps to tell.

    Measured from the end of one step's GPU work to the end of the next one's: where the host runs
    ahead, its marks come early or late though no step is slow.
    """
    counted = facts.counted[facts.counted > 0]
    if len(counted) < _FEWEST_STEPS or not len(facts.work):
        return None
    ends = _device_ends(facts)
    wall = np.diff(ends)[counted - 1]
    usual = float(np.median(wall))
    spread = float(np.median(np.abs(wall - usual)))
    slow = np.flatnonzero(wall - usual > max(_LEAST_EXCESS * usual, _LEAST_SPREADS * spread))
    if not len(slow) or len(slow) > _MOST_SHARE * len(wall):
        return None
    parts, names = _parts(_times_between(facts, ends).take(counted - 1))
    growth = parts[slow] - np.median(parts, axis=0)
    excess = wall[slow] - usual
    return Outliers(
        steps=[
            Outlier(
                step=facts.windows.labels[counted[s]],
                wall_us=float(wall[s]) / 1000,
                excess_us=float(e) / 1000,
                grew=names[int(np.argmax(g))],
            )
            for s, e, g in zip(slow.tolist(), excess.tolist(), growth, strict=True)
        ],
        cost_us=facts.per_step_us(excess.sum()),
        cause=names[int(np.argmax(growth.sum(axis=0)))],
        period=_period(counted[slow]),
    )


def _device_ends(facts: Facts) -> Int64s:
    """When the GPU had finished what each step launched; nanoseconds, shape (steps,)."""
    windows, work, call = facts.windows, facts.work, facts.calls.call
    step = step_of(np.where(call >= 0, facts.trace.ts[call], work.start), windows)
    ends = windows.start.copy()
    np.maximum.at(ends, step[step >= 0], work.end[step >= 0])
    return np.maximum.accumulate(ends)


def _times_between(facts: Facts, ends: Int64s) -> StepTimes:
    """Of the steps after the first, each from the end of the step before it."""
    windows = replace(
        facts.windows, start=ends[:-1], end=ends[1:], labels=facts.windows.labels[1:], excluded=()
    )
    return step_times(facts.work, facts.pieces.cut(distinct(ends)), windows)


def _parts(times: StepTimes) -> tuple[Int64s, list[str]]:
    """Nanoseconds of each part of the breakdown in each step; shape (steps, parts)."""
    busy = np.stack([times.compute, times.communication, times.copy], axis=1)
    names = ["compute", "communication", "copy_time", *(cause.value for cause in CAUSES)]
    return np.concatenate([busy, times.idle], axis=1), names


def _period(positions: Int64s) -> int | None:
    """The distance in steps, when it is the same between all."""
    if len(positions) < _FEWEST_FOR_PERIOD:
        return None
    distances = np.unique(np.diff(positions))
    return int(distances[0]) if len(distances) == 1 and distances[0] > 1 else None
