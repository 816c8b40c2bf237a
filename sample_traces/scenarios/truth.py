"""What is known about a recorded run, as it lies beside the Capture in `truth.json`."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sample_traces.scenarios.base import Form, Scenario

TRUTH = "truth.json"


@dataclass(frozen=True)
class Measured:
    """Unprofiled step times in milliseconds, a mean of each round; empty for a form not run."""

    faulty: list[float]
    fixed: list[float]

    def of(self, form: Form) -> list[float]:
        """The rounds of a form."""
        return self.faulty if form == "faulty" else self.fixed


@dataclass(frozen=True)
class Machine:
    """What the runs ran on."""

    device: str
    device_name: str
    cores: int


def truth(
    scenario: Scenario, form: Form, dose: float, steps: int, machine: Machine, measured: Measured
) -> dict[str, Any]:
    """The document; what was not measured is null."""
    clean = scenario.is_clean(form)
    return {
        "scenario": scenario.name,
        "form": form,
        "dose": dose,
        "simulated": False,
        **asdict(machine),
        **_versions(),
        "injected": scenario.injected if form == "faulty" else scenario.fixed,
        "dose_1": scenario.injected,
        "clean": clean,
        "first_cause": None if clean else scenario.cause,
        "or_causes": [] if clean else list(scenario.also),
        "first_finding": None if clean else scenario.finding_on(machine.device),
        "unprofiled_step_ms": {
            "faulty": _rounds(measured.faulty),
            "fixed": _rounds(measured.fixed),
        },
        "ratio": _ratio(measured),
        "steps": steps,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write_truth(document: dict[str, Any], folder: Path) -> None:
    """Beside the Capture."""
    (folder / TRUTH).write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "python": platform.python_version()}


def _rounds(times: list[float]) -> dict[str, Any] | None:
    if not times:
        return None
    return {"rounds": [round(t, 3) for t in times], "median": round(statistics.median(times), 3)}


def _ratio(measured: Measured) -> float | None:
    """How many times longer a step takes with the fault."""
    if not measured.faulty or not measured.fixed:
        return None
    return round(statistics.median(measured.faulty) / statistics.median(measured.fixed), 3)
