"""Python works between the operators of a model that runs on the CPU.

What it detects
    On a trace whose device is the CPU: time in which no operator ran and the training thread
    neither waited for data nor wrote a checkpoint, so that Python itself was at work. Gaps of a
    millisecond and more count first; the short ones between operators only where most of the
    step is made of them. On a GPU the same is told as launch-bound.

Why it costs
    No tensor is computed meanwhile, and one thread of Python uses one core.

What to do
    Find what runs there: mark parts of the loop with perfkit.annotate, or sample it with py-spy.
    Move it into tensor operators, into loader workers, or to every N steps (logging, metrics).
    Where many small operators make the step, torch.compile joins them.

When not to
    A small model's operators take microseconds, as the Python between them does: a larger batch
    changes the share without any fix. Time without a core is not counted here.

References
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide
    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    Limits as of launch-bound, which is this on a GPU.
"""

from __future__ import annotations

import math

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Place, PythonGaps, Remedy
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step, place_facts, share_of_step
from perfkit.reports.where import is_nowhere

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # as launch-bound
_SHORT_LIMITS = Limits(warning_share=0.60, critical_share=math.inf)  # see "When not to"


def check(diagnosis: Diagnosis) -> Advice | None:
    """Long gaps, or all of them where the step is mostly short ones."""
    gaps = diagnosis.python_gaps
    if gaps is None or diagnosis.device.kind != "cpu":
        return None
    on_core = 1 - _without_core(diagnosis)
    long, total = gaps.long_us * on_core, gaps.total_us * on_core
    short = total > 2 * long and _SHORT_LIMITS.severity(share_of_step(diagnosis, total)) != "info"
    cost = total if short else long
    return Advice(
        title=f"Work in Python between operators takes {of_step(diagnosis, cost)}",
        cause=Cause.PYTHON,
        cost_us=cost,
        limits=_SHORT_LIMITS if short else LIMITS,
        evidence=[_split(gaps), *place_facts(gaps.places)],
        remedy=_remedy(gaps, short),
        places=gaps.places,
    )


def _without_core(diagnosis: Diagnosis) -> float:
    """Share of the time for which cpu-contention speaks."""
    host = diagnosis.run.cpu if diagnosis.run else None
    return host.run_delay_share or 0.0 if host else 0.0


def _split(gaps: PythonGaps) -> Evidence:
    return fact(
        f"{time_us(gaps.long_us)} per step in gaps of {time_us(gaps.long_gap_us)} or more "
        f"({count(gaps.long_per_step)} a step), {time_us(gaps.total_us - gaps.long_us)} in shorter "
        "ones",
        gaps.long_us,
        "us/step",
    )


def _remedy(gaps: PythonGaps, short: bool) -> Remedy:
    if short:
        return Remedy(
            text=(
                "The step is many small operators with Python between them: compile the model, or "
                "give each operator more to do (a larger batch)."
            ),
            snippet="model = torch.compile(model)",
            applies_to="PyTorch",
        )
    first = next(iter(gaps.places), None)
    return Remedy(
        text=(
            f"See what Python does {_there(first)}: move it into tensor operators, into "
            "loader workers, or out of the step to every N steps."
        ),
        snippet='with perfkit.annotate("metrics"):  # names it in the trace\n    ...',
        applies_to="perfkit",
    )


def _there(place: Place | None) -> str:
    if place is not None and place.line is None and is_nowhere(place):
        return "there (no range of yours names it: perfkit.annotate does)"
    named = (place.line or place.name) if place else "the loop"
    return f"there (first: {named})"
