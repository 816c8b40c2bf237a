"""Run a scenario, and write its trace with the truth beside it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import truth
from .framework import OUTSIDE_STREAM
from .kineto import trace_text
from .machine import Machine
from .program import Scenario
from .records import Recording
from .scenarios import FINDINGS, SCENARIOS
from .training import Training


@dataclass(frozen=True)
class Simulated:
    """One run of a scenario, and the truth about it as it is written to `NAME.truth.json`."""

    scenario: Scenario
    recording: Recording
    truth: dict[str, Any]


def simulate(name: str, seed: int = 0, steps: int | None = None) -> Simulated:
    """Run the scenario `name`; the same arguments give the same run."""
    scenario = SCENARIOS[name]
    count = scenario.steps if steps is None else steps
    run, rows = judged(scenario, seed, count)
    return Simulated(scenario, run, _truth(scenario, seed, rows))


def judged(scenario: Scenario, seed: int, steps: int) -> tuple[Recording, list[dict[str, Any]]]:
    """A run, and the truth about its steps, for which the waits are left out in further runs."""
    run, kinds = train(scenario, seed, steps), _waits(scenario)
    freed = {kind: train(scenario, seed, steps, *kinds[: i + 1]) for i, kind in enumerate(kinds)}
    return run, truth.steps(run, truth.credit(run, freed))


def _waits(scenario: Scenario) -> list[str]:
    """The kinds of waits in a program after which the GPU may have run dry."""
    there = {"sync": True, "copy": scenario.copy == "pageable", "allocator": scenario.frees > 0}
    return [kind for kind, used in there.items() if used]


def train(scenario: Scenario, seed: int, steps: int, *drop: str) -> Recording:
    """Run a program; waits of the kinds `drop` (as Machine has them) do not block."""
    blocking = frozenset({OUTSIDE_STREAM} if scenario.outside_blocks else ())
    machine = Machine(seed, frozenset(drop), scenario.pace, blocking)
    return Training(scenario, machine, seed).run(steps)


def write(simulated: Simulated, folder: Path) -> Path:
    """Write `NAME.pt.trace.json.gz` and `NAME.truth.json`; returns the trace's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = simulated.scenario.name
    path = folder / f"{name}.pt.trace.json.gz"
    text = trace_text(simulated.scenario, simulated.recording)
    path.write_bytes(gzip.compress(text.encode(), 6, mtime=0))
    answer = json.dumps(simulated.truth, indent=1) + "\n"
    (folder / f"{name}.truth.json").write_text(answer, "utf-8")
    return path


def _truth(scenario: Scenario, seed: int, rows: list[dict[str, object]]) -> dict[str, Any]:
    named = {*scenario.expect, *scenario.undecided}
    return {
        "scenario": scenario.name,
        "simulated": True,
        "seed": seed,
        "description": scenario.description,
        "first_cause": scenario.first_cause,
        "findings": list(scenario.expect),
        "no_findings": [code for code in FINDINGS if code not in named],
        "steps": rows,
    }
