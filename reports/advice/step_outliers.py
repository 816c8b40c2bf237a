"""Some steps take far longer than the others.

What it detects
    Steps that exceed the median by more than 15 % and by six median absolute deviations, what
    grew in them, and the period they come with. The first and the last step of a recording do
    not count. Waits for data are told here where they come at a period, or where nine tenths of all
    waiting lies in such steps: a loader that is too slow in sum makes some steps wait longer than
    others by chance, which is dataloader-starvation alone.

Why it costs
    Averages hide them: one step in eight that takes 300 ms longer costs as much as 37 ms in
    every step. In a distributed job every rank pays for the slowest.

What to do
    Follow the part that grew: a loader that stalls (its prefetch queue runs dry every few
    batches), garbage collection, checkpoints, evaluation or logging every N steps.

When not to
    Work that has to be done now and then, such as a checkpoint, is no fault; make it
    asynchronous if it costs too much.

References
    https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-profiler-rules.html
    (StepOutlier, by standard deviations); perfkit uses the median and its absolute deviations,
    which the outliers themselves do not move.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Outliers, Remedy
from perfkit.reports.format import share, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us, places_of

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for input: XProf's 5 and 20 %
_MOST_SHOWN = 5
_MOST_OF_ALL = 0.9  # a queue that runs dry by chance leaves waits of all lengths

_REMEDIES = {
    Cause.DATALOADER.value: (
        "The loader runs dry now and then: deepen its queue (prefetch_factor, more workers) and "
        "look for samples, shards or files that take much longer than the rest."
    ),
    Cause.GC.value: (
        "Collect garbage at steps of your choice: gc.disable() at the start, gc.collect(1) every N "
        "steps on all ranks alike, gc.freeze() after set-up."
    ),
    Cause.CHECKPOINT.value: (
        "Write checkpoints in the background: torch.distributed.checkpoint.async_save copies the "
        "state and returns."
    ),
    Cause.ALLOCATOR.value: "Let memory be kept: expandable segments and shapes that repeat.",
    Cause.SYNC.value: "Find the synchronizing call that runs every N steps, such as logging.",
    "communication": "Compare the ranks in these steps: one is late, or the network was busy.",
    "compute": "The kernels took longer: look for other shapes, clocks, or a second job.",
}


def check(diagnosis: Diagnosis) -> Advice | None:
    """What the outliers cost, spread over all steps."""
    found = diagnosis.outliers
    if found is None or _is_a_slow_loader(diagnosis, found):
        return None
    return Advice(
        title=_title(diagnosis, found),
        cause=found.cause,
        cost_us=found.cost_us,
        limits=LIMITS,
        evidence=[
            fact(f"{o.step}: {time_us(o.wall_us)}, {time_us(o.excess_us)} over the usual step; "
                 f"what grew: {_text(o.grew)}", o.excess_us, "us")
            for o in found.steps[:_MOST_SHOWN]
        ],
        remedy=Remedy(text=_REMEDIES.get(found.cause, "Look at one of them in the time line.")),
        places=[p for c in Cause if c.value == found.cause for p in places_of(diagnosis, c)],
    )  # fmt: skip


def _is_a_slow_loader(diagnosis: Diagnosis, found: Outliers) -> bool:
    """Whether these steps only wait longest of many that wait."""
    waited = idle_us(diagnosis, Cause.DATALOADER)
    by_chance = found.cause == Cause.DATALOADER.value and found.period is None
    return by_chance and found.cost_us < _MOST_OF_ALL * waited


def _title(diagnosis: Diagnosis, found: Outliers) -> str:
    excess = time_us(sum(o.excess_us for o in found.steps) / len(found.steps))
    if found.period:
        which = f"Every {_ordinal(found.period)} step takes"
    elif len(found.steps) == 1:
        which = f"{found.steps[0].step} takes"
    else:
        which = f"{len(found.steps)} of {diagnosis.steps.count} steps take"
    part = share(found.cost_us / diagnosis.steps.mean_us)
    return f"{which} {excess} longer ({_text(found.cause)}), {part} of all time"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def _text(part: str) -> str:
    return next((cause.text for cause in Cause if cause.value == part), part.replace("_", " "))
