"""Small training loops with a known fault, each also without it."""

from __future__ import annotations

from sample_traces.scenarios import hosting, kernels, loading, waiting
from sample_traces.scenarios.base import DOSES, FORMS, Form, Program, Scenario, Setting

__all__ = ["DOSES", "FORMS", "SCENARIOS", "Form", "Program", "Scenario", "Setting"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (loading, waiting, hosting, kernels)
    for scenario in module.SCENARIOS
}
