"""One remedy tried: what a finding prints and predicts, and the step measured with it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import perfkit
from benchmarks.scoring.markdown import table
from benchmarks.scoring.real import RECORDED
from perfkit.model.diagnosis import Diagnosis, Finding, Gain, Remedy
from sample_traces.scenarios import SCENARIOS, Scenario
from sample_traces.scenarios.runs import Run, measure, record

CODES = frozenset({"dataloader-starvation", "host-sync-in-step", "launch-bound", "python-overhead"})
"""Input-, sync- and launch-bound; python-overhead is what launch-bound is on a CPU."""
_WORTH = 0.02  # of the step: what changes less is not told
_APART = 0.10  # of the step: a recording that differs by more was disturbed


@dataclass(frozen=True)
class Tried:
    """A remedy tried; times are milliseconds per unprofiled step, faulty and remedied in turns.

    `predicted_ms` is what it returns by the finding: expected, low, high and at most, as far as
    the finding says. `recorded_ms` is the faulty step while it was profiled. `left_ms` of the cause
    is left in the trace of the remedied run, and all else became `rest_ms` longer.
    """

    scenario: str
    code: str
    remedy: Remedy
    applied: str
    faulty_ms: list[float]
    remedied_ms: list[float]
    predicted_ms: Gain
    recorded_ms: float
    left_ms: float
    rest_ms: float

    @property
    def gains_ms(self) -> list[float]:
        """What the remedy returned, a number a round."""
        return [a - b for a, b in zip(self.faulty_ms, self.remedied_ms, strict=True)]

    @property
    def verdict(self) -> str:
        """Where the median gain lies, as the prediction goes."""
        gain, said = median(self.gains_ms), self.predicted_ms
        if said.low is None or said.high is None:
            return "within the bound" if gain <= said.bound else "above the bound"
        return "in" if said.low <= gain <= said.high else "below" if gain < said.low else "above"

    @property
    def outside_ms(self) -> float:
        """How far the median gain lies outside of what was predicted; 0 inside."""
        said, gain = self.predicted_ms, median(self.gains_ms)
        high = said.bound if said.high is None or said.low is None else said.high
        low = gain if said.low is None else said.low
        return max(gain - high, low - gain, 0.0)

    @property
    def why(self) -> str:
        """By how much a gain lies outside of the interval, and what is seen of the reason."""
        if not self.outside_ms:
            return ""
        step, spread = median(self.faulty_ms), max(self.gains_ms) - min(self.gains_ms)
        least, apart = _WORTH * step, abs(self.recorded_ms / step - 1)
        parts = [
            f"by {self.outside_ms:.1f} ms, while the rounds differ by {spread:.1f} ms",
            f"the recorded step took {self.recorded_ms:.1f} ms" if apart > _APART else "",
            f"{self.left_ms:.1f} ms of the cause are left" if self.left_ms > least else "",
            f"all else takes {self.rest_ms:+.1f} ms" if abs(self.rest_ms) > least else "",
        ]
        return "; ".join(part for part in parts if part)


def scenarios(device: str) -> list[Scenario]:
    """Those with a finding of these kinds on that device."""
    return [
        one
        for one in SCENARIOS.values()
        if device not in one.skip and not one.healthy and one.finding_on(device) in CODES
    ]


def tried(scenario: Scenario, device: str, steps: int, rounds: int, where: Path) -> Tried:
    """Do what the first finding of the faulty form prints, and measure both in turns.

    The finding is of the recording that is kept with the script; without one it is recorded here.
    """
    faulty = Run(scenario.name, device, "faulty", 1.0, steps, where)
    kept = RECORDED / device / scenario.name / "faulty"
    before = perfkit.analyze(kept) if kept.is_dir() else _recorded(faulty, scenario, "before")
    found = before.findings[0]
    options = loader_options(found.remedy.snippet or "")
    remedied = replace(faulty, options=options) if options else replace(faulty, form="fixed")
    after = _recorded(remedied, scenario, "after")
    times = [(measure(faulty), measure(remedied)) for _ in range(rounds)]
    faulty_ms, remedied_ms = [list(column) for column in zip(*times, strict=True)]
    return Tried(
        scenario.name,
        found.code,
        found.remedy,
        _told(options) or f"in words alone, so the scenario's cure: {scenario.fixed}",
        faulty_ms,
        remedied_ms,
        _in_ms(found.gain_us),
        recorded_ms=before.steps.mean_us / 1000,
        left_ms=after.idle_us.get(found.cause, 0.0) / 1000,
        rest_ms=(_rest_us(after, found) - _rest_us(before, found)) / 1000,
    )


def _recorded(run: Run, scenario: Scenario, name: str) -> Diagnosis:
    folder = Path(f"{scenario.name}-{name}")
    record(run, folder, scenario.active)
    return perfkit.analyze(run.where / folder)


def _rest_us(diagnosis: Diagnosis, found: Finding) -> float:
    """The step without the idle time of the finding's cause."""
    return diagnosis.steps.mean_us - diagnosis.idle_us.get(found.cause, 0.0)


def _in_ms(gain: Gain) -> Gain:
    parts = (gain.expected, gain.low, gain.high)
    expected, low, high = (None if part is None else part / 1000 for part in parts)
    return Gain(bound=gain.bound / 1000, expected=expected, low=low, high=high)


def loader_options(snippet: str) -> dict[str, Any]:
    """The options that a printed `DataLoader(...)` sets to numbers or to True and False."""
    try:
        nodes = ast.walk(ast.parse(snippet))
    except SyntaxError:
        return {}
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "DataLoader"]
    given = [(word.arg, word.value) for call in calls for word in call.keywords if word.arg]
    return {
        name: value.value
        for name, value in given
        if isinstance(value, ast.Constant) and isinstance(value.value, int)
    }


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def rows(found: list[Tried]) -> str:
    """The table."""
    head = ["script", "finding", "step, ms", "with the remedy, ms", "predicted gain, ms"]
    head += ["measured gain, ms", "", "why"]
    return table(head, map(_row, found))


def _row(one: Tried) -> list[str]:
    said = one.predicted_ms
    interval = (
        f"{said.expected:.1f} ({said.low:.1f} to {said.high:.1f})"
        if said.expected is not None and said.low is not None and said.high is not None
        else f"at most {said.bound:.1f}"
    )
    times = [f"{median(ms):.1f}" for ms in (one.faulty_ms, one.remedied_ms)]
    return [one.scenario, f"`{one.code}`", *times, interval, _spread(one.gains_ms),
            one.verdict, one.why]  # fmt: skip


def _spread(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def remedies(found: list[Tried]) -> str:
    """What was printed and what was done, a paragraph each."""
    return "\n\n".join(_remedy(one) for one in found)


def _remedy(one: Tried) -> str:
    snippet = f"\n\n```python\n{one.remedy.snippet}\n```" if one.remedy.snippet else ""
    return f"**{one.scenario}.** {one.remedy.text} Applied: {one.applied}{snippet}"
