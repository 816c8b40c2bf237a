"""Every simulated scenario against its own truth, which the simulator keeps while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.api import analyze
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.diagnosis import Diagnosis
from perfkit.trace import open_trace
from sample_traces.simulator import SCENARIOS, simulate, write

SHARE_ERROR = 0.02  # of a cause's true time
SMALL = 0.005  # of the wall time: below it a cause is held to this instead


@dataclass
class Run:
    truth: dict[str, Any]
    facts: Facts
    diagnosis: Diagnosis


@pytest.fixture(scope="module", params=list(SCENARIOS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    simulated = simulate(request.param, seed=3)
    path: Path = write(simulated, tmp_path_factory.mktemp("simulated"))
    return Run(simulated.truth, facts_of(open_trace(path)), analyze(path))


def of_truth(run: Run, part: str) -> list[int]:
    return [step[part] for step in run.truth["steps"]]


def test_steps_and_states_are_exact(run: Run) -> None:
    times = run.facts.times
    assert times.wall.tolist() == of_truth(run, "wall_ns")
    for part in ("compute", "communication", "copy"):
        assert getattr(times, part).tolist() == of_truth(run, f"{part}_ns"), part


@pytest.mark.parametrize("cause", CAUSES)
def test_time_of_each_cause(run: Run, cause: Cause) -> None:
    true = sum(step["idle_ns"].get(cause.value, 0) for step in run.truth["steps"])
    found = int(run.facts.times.idle[:, CODE[cause]].sum())
    wall = int(run.facts.times.wall.sum())
    assert abs(found - true) <= max(SHARE_ERROR * true, SMALL * wall), (found / wall, true / wall)


def test_causes_that_matter_are_within_two_percent(run: Run) -> None:
    wall = int(run.facts.times.wall.sum())
    for cause in CAUSES:
        true = sum(step["idle_ns"].get(cause.value, 0) for step in run.truth["steps"])
        if true > 5 * SMALL * wall:
            found = int(run.facts.times.idle[:, CODE[cause]].sum())
            assert found == pytest.approx(true, rel=SHARE_ERROR), cause


def test_first_cause(run: Run) -> None:
    idle = run.facts.times.idle[run.facts.counted].sum(axis=0)
    largest = CAUSES[int(np.argmax(idle))]
    if run.truth["first_cause"] is not None:
        assert largest.value == run.truth["first_cause"]
    else:  # nothing is wrong with this run's idle time
        assert idle.sum() < 0.03 * run.facts.times.wall.sum()


def test_findings(run: Run) -> None:
    found = {f.code: f for f in run.diagnosis.findings}
    warned = {code for code, f in found.items() if f.severity != "info"}
    assert set(run.truth["findings"]) <= set(found)
    assert warned.isdisjoint(run.truth["no_findings"])
