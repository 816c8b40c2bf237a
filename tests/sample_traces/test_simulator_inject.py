"""Injected faults: what they cost grows with the dose, and each fix has a true step time."""

from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from sample_traces.simulator import INJECTIONS, Simulated, inject

SEED = 2
STEPS = 6  # steady are four: a whole period of the pauses
FIXES = {
    *("dataloader", "copies", "sync", "cuda-graphs", "overlap", "allocator", "gc", "checkpoint"),
}
MACHINE = {"host=2", "kernels=2", "kernels:gemm=2"}
CASES = [(name, dose) for name, fault in INJECTIONS.items() for dose in fault.doses if dose > 0]

every_fault = pytest.mark.parametrize("name", INJECTIONS)
every_dose = pytest.mark.parametrize(("name", "dose"), CASES)


@cache
def truth(name: str, dose: float) -> dict[str, Any]:
    return inject({name: dose}, SEED, STEPS).truth


@cache
def healthy() -> Simulated:
    return inject({}, SEED, STEPS)


def facts(simulated: Simulated) -> list[tuple[str, int, int]]:
    """Everything the run's trace holds in time."""
    run = simulated.recording
    ops = [(op.name, op.start, op.end) for op in run.ops]
    return ops + [(span.name, span.start, span.end) for span in run.spans]


def idle(rows: list[dict[str, Any]], cause: str) -> float:
    wall = sum(row["wall_ns"] for row in rows)
    return float(sum(row["idle_ns"][cause] for row in rows) / wall)


@every_dose
def test_parts_of_a_step_sum_to_its_wall_time(name: str, dose: float) -> None:
    for row in truth(name, dose)["steps"]:
        busy = row["compute_ns"] + row["communication_ns"] + row["copy_ns"]
        assert busy + sum(row["idle_ns"].values()) == row["wall_ns"]
        assert min(row["idle_ns"].values()) >= 0


@every_fault
def test_dose_zero_is_the_healthy_run(name: str) -> None:
    none = inject({name: 0.0}, SEED, STEPS)
    assert facts(none) == facts(healthy())
    assert none.truth["steps"] == healthy().truth["steps"]
    assert none.truth["faults"] == {name: 0.0}


@every_fault
def test_more_of_a_fault_costs_more(name: str) -> None:
    times = [truth(name, dose)["step_ns"] for dose in INJECTIONS[name].doses]
    slack = 0.01 * times[0]
    assert all(more >= less - slack for less, more in pairwise(times))
    if not INJECTIONS[name].hidden:
        assert all(more > less for less, more in pairwise(times))
        assert times[1] < 1.2 * times[0]
        assert times[-1] > 1.4 * times[0]


@every_fault
def test_idle_time_of_the_cause_grows_with_the_dose(name: str) -> None:
    fault = INJECTIONS[name]
    runs = [truth(name, dose) for dose in fault.doses]
    if fault.cause is None:
        named = set(runs[0]["steps"][0]["idle_ns"]) - {"kernel_gap"}
        assert all(sum(idle(run["steps"], cause) for cause in named) < 0.02 for run in runs)
        assert all(run["first_cause"] is None for run in runs)
        return
    shares = [idle(run["steps"], fault.cause) for run in runs]
    assert all(more > less for less, more in pairwise(shares))
    assert shares[0] < 0.005
    assert shares[-1] > 0.15
    assert runs[-1]["first_cause"] == fault.cause


@every_dose
def test_a_repaired_program_is_not_slower(name: str, dose: float) -> None:
    answer, fix = truth(name, dose), INJECTIONS[name].fix
    assert set(answer["fixes"]) - {"communication=2"} == MACHINE | ({fix, "all"} if fix else set())
    for times in answer["fixes"].values():
        assert times["step_ns"] <= 1.01 * answer["step_ns"]
        assert times["wall_ns"] <= 1.01 * answer["wall_ns"]


@every_fault
def test_the_fix_takes_away_most_of_what_it_can(name: str) -> None:
    fault = INJECTIONS[name]
    if fault.fix is None or fault.hidden:
        return
    answer = truth(name, fault.doses[-1])
    left = answer["fixes"][fault.fix]["step_ns"] - healthy().truth["step_ns"]
    cost = answer["step_ns"] - healthy().truth["step_ns"]
    # What stays: tiny kernels themselves, a checkpoint's copies, communication beyond backward.
    assert left < (0.7 if fault.mended else 0.01) * cost


@every_fault
def test_without_is_the_run_that_the_fix_promises(name: str) -> None:
    fault, dose = INJECTIONS[name], INJECTIONS[name].doses[-1]
    fixed = inject({name: dose}, SEED, STEPS, without={name})
    assert fixed.truth["without"] == [name]
    assert fixed.truth["findings"] == []
    if fault.fix:
        assert fixed.truth["step_ns"] == truth(name, dose)["fixes"][fault.fix]["step_ns"]
    if fault.mended is None:
        assert facts(fixed) == facts(healthy())


def test_fixes_have_perfkits_names() -> None:
    assert {fault.fix for fault in INJECTIONS.values()} - {None} == FIXES


def test_every_fault_has_doses_from_none_to_much() -> None:
    for fault in INJECTIONS.values():
        assert len(fault.doses) >= 5
        assert fault.doses[0] == 0.0
        assert list(fault.doses) == sorted(set(fault.doses))
        assert not (fault.hidden and (fault.cause or fault.findings))
