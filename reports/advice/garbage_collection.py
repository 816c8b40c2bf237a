"""Python's garbage collector interrupts the step.

What it detects
    Time in which the training thread ran Python's cyclic garbage collector, from the trace
    (torch 2.9 and newer mark it) or from the run's own records, and idle time that followed.

Why it costs
    A full collection looks at every container object alive: with millions of them it takes
    hundreds of milliseconds. It comes when allocations say so, so that in a distributed job each
    rank stops at another step and all wait for each.

What to do
    Freeze what lives for ever after set-up (gc.freeze()), switch the automatic collector off
    (gc.disable()) and collect the young generation every N steps, on all ranks at the same step.
    Remove calls of gc.collect() from the loop; keep large data in arrays, not in lists of objects.

When not to
    A program that makes many reference cycles grows in memory without collections: watch its
    resident size after switching the collector off.

References
    https://docs.python.org/3/library/gc.html
    https://docs.pytorch.org/tnt/stable/framework/generated/torchtnt.framework.callbacks.GarbageCollector.html
    XProf calls 3 % of the step in host time that is neither input nor launches moderate, 15 % high.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.format import count, plural, time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.03, critical_share=0.15)  # XProf, "all other" host time


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of the collector: over the whole run where that was recorded, else in the trace."""
    gc = diagnosis.run.gc if diagnosis.run else None
    cost = idle_us(diagnosis, Cause.GC)
    if gc is not None and gc.us_per_step is not None and not cost:
        cost = min(gc.us_per_step, diagnosis.steps.mean_us)
    places = places_of(diagnosis, Cause.GC)
    return Advice(
        title=f"Garbage collection in Python takes {of_step(diagnosis, cost)}",
        cause=Cause.GC,
        cost_us=cost,
        limits=LIMITS,
        evidence=[*place_facts(places), *_over_the_run(diagnosis)],
        remedy=Remedy(
            text=(
                "Collect at steps of your choice: freeze what set-up made, switch the automatic "
                "collector off, and collect the young generation every N steps on all ranks alike."
            ),
            snippet=(
                "gc.collect(); gc.freeze(); gc.disable()  # after set-up\n"
                "if step % 100 == 0:\n    gc.collect(1)"
            ),
            applies_to="Python",
        ),
        places=places,
        fix="gc",
    )


def _over_the_run(diagnosis: Diagnosis) -> list[Evidence]:
    gc = diagnosis.run.gc if diagnosis.run else None
    if gc is None:
        return []
    each = f", {count(gc.count_per_step)} a step" if gc.count_per_step is not None else ""
    said = (
        f"over the run: {plural(gc.count, 'collection')}{each}, {gc.full_count:,} of them full; "
        f"the longest took {time_us(gc.longest_us)}"
    )
    return [fact(said, gc.us_per_step, "us/step")]
