"""Run a scenario, and write its trace with the truth beside it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import truth
from .kineto import trace_text
from .machine import Machine
from .records import Recording
from .scenarios import FINDINGS, SCENARIOS, Scenario
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
    run, no_sync = _train(scenario, seed, count), _train(scenario, seed, count, "sync")
    blocking = scenario.copy == "pageable"
    no_waits = _train(scenario, seed, count, "sync", "copy") if blocking else no_sync
    rows = truth.steps(run, truth.credit(run, no_sync, no_waits))
    return Simulated(scenario, run, _truth(scenario, seed, rows))


def _train(scenario: Scenario, seed: int, steps: int, *drop: str) -> Recording:
    return Training(scenario, Machine(seed, frozenset(drop))).run(steps)


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
