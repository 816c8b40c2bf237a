"""Runs with injected faults, with the truth about each fix: the same program, repaired and run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from .another import another_run
from .faults import HEALTHY
from .injections import INJECTIONS, Injection
from .program import Scenario
from .records import Recording
from .run import Simulated, judged, train
from .scenarios import FINDINGS

SETTLING = 2
"""Steps at the start that are not steady: the host is not ahead yet."""
_SMALL = 0.01  # of the wall time: idle time below it is no first cause

Doses = Mapping[str, float]


def inject(
    faults: Doses, seed: int = 0, steps: int | None = None, *, without: Collection[str] = ()
) -> Simulated:
    """Run the healthy program with faults at their doses, those named in `without` repaired.

    `without` takes names of faults or of fixes. What no fault touches has the same jitter in all
    runs of a seed. Raises ValueError for an unknown fault, a negative dose or fewer than 4 steps.
    """
    doses, count = _checked(faults), HEALTHY.steps if steps is None else steps
    if count < SETTLING + 2:
        raise ValueError(f"{count} steps hold no steady ones; take at least {SETTLING + 2}")
    mended = _named(doses, without)
    program = _program(doses, mended)
    run, rows = judged(program, seed, count)
    answer = _truth(program, doses, mended, rows)
    fixed = _fixed(doses, mended)
    fixes = {fix: dict(_run_times(_bare(p), seed, count)) for fix, p in fixed.items()}
    times = {**_times(run), "fixes": fixes}
    steady = [row["step"] for row in rows[SETTLING:]]
    more = {"seed": seed, "steady": steady, **times, "steps": rows}
    return Simulated(program, run, {**answer, **more})


def _checked(faults: Doses) -> dict[str, float]:
    unknown = sorted(set(faults) - set(INJECTIONS))
    if unknown:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(INJECTIONS)}")
    if min(faults.values(), default=0.0) < 0:
        raise ValueError("a dose is 0 (no fault) or more")
    return {name: float(faults[name]) for name in INJECTIONS if name in faults}


def _named(doses: Doses, names: Collection[str]) -> frozenset[str]:
    """The faults meant by names of faults or of fixes."""
    unknown = sorted(set(names) - set(doses) - {INJECTIONS[name].fix for name in doses})
    if unknown:
        raise ValueError(f"no fault of this run is named or fixed by {', '.join(unknown)}")
    return frozenset(n for n in doses if n in names or INJECTIONS[n].fix in names)


def _program(doses: Doses, mended: Collection[str]) -> Scenario:
    program = HEALTHY
    for name, dose in doses.items():
        fault = INJECTIONS[name]
        change = fault.mended if name in mended else fault.faulty
        if dose > 0 and change is not None:
            program = change(program, dose)
    described = [INJECTIONS[name].description for name in doses] or [HEALTHY.description]
    return replace(program, name=_name(doses, mended), description=" ".join(described))


def _name(doses: Doses, mended: Collection[str]) -> str:
    faults = "+".join(f"{name}-{dose:g}" for name, dose in doses.items()) or HEALTHY.name
    return "-without-".join([faults, *sorted(mended)])


def _times(run: Recording) -> dict[str, int]:
    """The mean steady step on the GPU, and the whole run, from its first mark to the last work."""
    ends: dict[int, int] = {}
    for op in run.ops:
        ends[op.step] = max(op.end, ends.get(op.step, 0))
    last = len(run.marks) - 1
    step = round((ends[last] - ends[SETTLING - 1]) / (last - SETTLING + 1))
    return {"step_ns": step, "wall_ns": max(ends.values()) - run.marks[0].start}


def fixed_again(
    faults: Doses, seed: int = 0, steps: int | None = None
) -> dict[str, dict[str, int]]:
    """The times that `inject` gives of each fix, in another run: other draws, other clocks."""
    doses, count = _checked(faults), HEALTHY.steps if steps is None else steps
    runs = {fix: another_run(_bare(p), seed) for fix, p in _fixed(doses, frozenset()).items()}
    return {fix: dict(_run_times(p, other, count)) for fix, (p, other) in runs.items()}


def _fixed(doses: Doses, mended: frozenset[str]) -> dict[str, Scenario]:
    """The program with each fix, and with a part of the machine twice as fast."""
    fixable = [n for n in doses if n not in mended and INJECTIONS[n].fix is not None]
    choices = {str(INJECTIONS[n].fix): _named(doses, [str(INJECTIONS[n].fix)]) for n in fixable}
    if fixable:
        choices["all"] = frozenset(fixable)
    programs = {fix: _program(doses, mended | more) for fix, more in choices.items()}
    return programs | _twice_as_fast(_program(doses, mended))


def _twice_as_fast(program: Scenario) -> dict[str, Scenario]:
    pace = program.pace
    paces = {
        "host=2": replace(pace, host=2 * pace.host),
        "kernels=2": replace(pace, kernels=2 * pace.kernels),
        "kernels:gemm=2": replace(pace, gemm=2 * pace.gemm),
    }
    if program.communication != "none":
        paces["communication=2"] = replace(pace, communication=2 * pace.communication)
    return {name: replace(program, pace=new) for name, new in paces.items()}


def _bare(program: Scenario) -> Scenario:
    """The program alone, so that equal programs are run once."""
    return replace(program, name="", description="")


@lru_cache(maxsize=4096)
def _run_times(program: Scenario, seed: int, steps: int) -> tuple[tuple[str, int], ...]:
    return tuple(_times(train(program, seed, steps)).items())


def _truth(
    program: Scenario, doses: Doses, mended: Collection[str], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    present = [INJECTIONS[n] for n, dose in doses.items() if dose > 0 and n not in mended]
    largest = [fault for fault in present if doses[fault.name] >= fault.doses[-1]]
    must = dict.fromkeys(code for fault in largest for code in fault.findings)
    return {
        "scenario": program.name,
        "simulated": True,
        "description": program.description,
        "faults": dict(doses),
        "without": sorted(mended),
        "first_cause": _first_cause(rows),
        "findings": list(must),
        "no_findings": [code for code in FINDINGS if code not in _possible(present)],
    }


def _possible(present: list[Injection]) -> set[str]:
    return {code for fault in present for code in (*fault.findings, *fault.undecided)}


def _first_cause(rows: list[dict[str, Any]]) -> str | None:
    total = {cause: sum(row["idle_ns"][cause] for row in rows) for cause in rows[0]["idle_ns"]}
    del total["kernel_gap"]
    first = max(total, key=total.__getitem__)
    return first if total[first] > _SMALL * sum(row["wall_ns"] for row in rows) else None
