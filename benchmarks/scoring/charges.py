"""What a fault is charged at each dose, against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scoring.dose import Line, line
from benchmarks.scoring.runs import COMMUNICATION, COPIES, Run
from sample_traces.simulator import INJECTIONS

_HOST = ("launch", "dispatch", "python")
_CHARGED = {
    "launch": _HOST,
    "dispatch": _HOST,
    "python": _HOST,
    "copy": ("copy", COPIES),
    "checkpoint": ("checkpoint", COPIES),
}
"""Faults of the host load all three of its causes; copies also show as copies."""


@dataclass(frozen=True)
class Charged:
    """The line of one fault; `intercept_share` is of the healthy step."""

    fault: str
    causes: tuple[str, ...]
    line: Line
    intercept_share: float


TRUTH = "truth"


def causes_of(fault: str) -> tuple[str, ...]:
    """What a fault may be charged to; nothing for a hidden one or one that costs no idle time."""
    injection = INJECTIONS[fault]
    if injection.exposes:
        return (COMMUNICATION,)
    cause = injection.cause
    return () if cause is None else _CHARGED.get(cause, (cause,))


def dose_lines(clean: Sequence[Run], singles: Sequence[Run], method: str) -> list[Charged]:
    """A line for each fault that costs something; dose 0 is the clean run of the same seed.

    `method` may be TRUTH: a fault may cost more than idle time, and the truth's slope says so.
    """
    healthy = {run.case.seed: run for run in clean}
    faults = dict.fromkeys(run.case.faults[0][0] for run in singles)
    found = (_charged(fault, healthy, singles, method) for fault in faults if causes_of(fault))
    return [one for one in found if one is not None]


def _charged(
    fault: str, healthy: dict[int, Run], singles: Sequence[Run], method: str
) -> Charged | None:
    runs = [run for run in singles if run.case.faults[0][0] == fault]
    seeds = sorted({run.case.seed for run in runs})
    runs = [*(healthy[seed] for seed in seeds), *runs]
    causes = causes_of(fault)
    increase = [(run.step_us - healthy[run.case.seed].step_us) / 1000 for run in runs]
    charged = [sum(_times(run, method)[cause] for cause in causes) / 1000 for run in runs]
    fitted = line(increase, charged)
    if fitted is None:
        return None
    step_ms = healthy[seeds[0]].step_us / 1000
    return Charged(fault, causes, fitted, fitted.intercept_ms / step_ms)


def _times(run: Run, method: str) -> dict[str, float]:
    return run.true_us if method == TRUTH else run.found_us[method]
