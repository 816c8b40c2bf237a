"""One run: simulated, analyzed, and what each method says of it beside the truth."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import perfkit
from benchmarks.scoring import baselines, hta_baselines
from benchmarks.scoring.cases import Case, Damage
from benchmarks.scoring.predictions import Prediction
from benchmarks.scoring.said import Said, said_of
from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.whatif import what_if
from perfkit.model.diagnosis import Diagnosis, Fix, Together
from perfkit.trace import open_trace
from sample_traces.simulator import (
    INJECTIONS,
    Simulated,
    damage,
    fixed_again,
    inject,
    trace_text,
    write,
    write_capture,
)

COMMUNICATION = "communication"
COPIES = "exposed copies"
NOT_KNOWN = ("unknown", "unobserved_gpu_work")
_NO_ALARM = "info"


@dataclass(frozen=True)
class Run:
    """What is true of a run and what was found; times are microseconds per step.

    `step_us` is the recording from its first mark to the end of its GPU work, by its steps;
    `steady_us` the pace after the first two of them. `true_us` has the time of each cause of idle
    time, and of communication and copies that nothing hides. `found_us` has the same by method.
    """

    case: Case
    step_us: float
    steady_us: float
    true_us: dict[str, float]
    found_us: dict[str, dict[str, float]]
    measured_us: float
    """The mean step that perfkit prints."""
    counted: int
    steps: int
    findings: list[tuple[str, str]]
    """Code and severity."""
    expected: list[str]
    """Findings that the simulator says must come."""
    unknown_share: float
    replay_failed: list[str] = field(default_factory=list)
    predicted: dict[str, list[Prediction]] = field(default_factory=dict)
    """By method."""
    skipped: list[str] = field(default_factory=list)
    """Methods that gave no answer, and why."""
    said: list[Said] = field(default_factory=list)
    """The findings with what they cost."""

    @property
    def alarms(self) -> list[str]:
        """Findings that ask for action."""
        return [code for code, severity in self.findings if severity != _NO_ALARM]


def measured(case: Case, with_hta: bool = False) -> Run:
    """Simulate a case and ask every method about it."""
    simulated = inject(dict(case.faults), seed=case.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write(simulated, Path(folder))
        diagnosis, facts = perfkit.analyze(path), facts_of(open_trace(str(path)))
        seen = _recorded(simulated, Path(folder) / "run")
    found = {"perfkit": found_us(diagnosis), "occupant": baselines.occupant_us(facts)}
    truth, again = simulated.truth, fixed_again(dict(case.faults), seed=case.seed)
    predicted, skipped = _predictions(case, truth, again, diagnosis, seen or facts), []
    if seen is not None:
        alone = _predictions(case, truth, again, diagnosis, facts)
        predicted["perfkit, trace alone"] = alone["perfkit"]
    if with_hta:
        answer = hta_baselines.answers(facts, _fixes(truth, "wall_ns"), _step_us(truth))
        found |= answer.found_us
        predicted |= answer.predicted
        skipped = answer.skipped
    return Run(
        case=case,
        step_us=_step_us(truth),
        steady_us=truth["step_ns"] / 1000,
        true_us=true_us(simulated),
        found_us=found,
        measured_us=diagnosis.steps.mean_us,
        counted=diagnosis.steps.count,
        steps=len(truth["steps"]),
        findings=[(f.code, f.severity) for f in diagnosis.findings],
        expected=list(truth["findings"]),
        unknown_share=diagnosis.fidelity.unknown_share,
        replay_failed=list(facts.replay.failed),
        predicted=predicted,
        skipped=skipped,
        said=said_of(diagnosis.findings),
    )


def _recorded(simulated: Simulated, folder: Path) -> Facts | None:
    """The facts of the run as a Capture, where that tells more: of loader workers."""
    if not any(batch.start < batch.end for batch in simulated.recording.batches):
        return None
    return facts_of(open_trace(str(write_capture(simulated, folder))))


def _step_us(truth: Mapping[str, Any]) -> float:
    return float(truth["wall_ns"]) / 1000 / len(truth["steps"])


def found_us(diagnosis: Diagnosis) -> dict[str, float]:
    """Idle time by cause, and exposed communication and copies."""
    parts = diagnosis.breakdown_us
    return {**diagnosis.idle_us, COMMUNICATION: parts.communication, COPIES: parts.copy}


def true_us(simulated: Simulated) -> dict[str, float]:
    """The same from the simulator, over all steps."""
    rows = simulated.truth["steps"]
    total = {c: sum(row["idle_ns"][c] for row in rows) for c in rows[0]["idle_ns"]}
    total[COMMUNICATION] = sum(row["communication_ns"] for row in rows)
    total[COPIES] = sum(row["copy_ns"] for row in rows)
    return {cause: ns / 1000 / len(rows) for cause, ns in total.items()}


def shares(simulated: Simulated) -> dict[str, float]:
    """The same as shares of the step."""
    step_us = _step_us(simulated.truth)
    return {cause: us / step_us for cause, us in true_us(simulated).items()}


def _fixes(truth: Mapping[str, Any], of: str) -> dict[str, float]:
    """The true step with each fix: of the whole run ("wall_ns") or of steady steps ("step_ns")."""
    steps = len(truth["steps"]) if of == "wall_ns" else 1
    return {fix: times[of] / 1000 / steps for fix, times in truth["fixes"].items()}


def _predictions(
    case: Case,
    truth: Mapping[str, Any],
    again: Mapping[str, Mapping[str, int]],
    diagnosis: Diagnosis,
    facts: Facts,
) -> dict[str, list[Prediction]]:
    fixed = _fixes(truth, "wall_ns")
    step_us = _step_us(truth)
    mends = sorted({str(INJECTIONS[n].fix) for n, _ in case.faults if INJECTIONS[n].fix})
    if len(mends) < 2:
        fixed.pop("all", None)
    simple = baselines.subtracted_us(facts, found_us(diagnosis), [*fixed], mends)
    subtracted = [Prediction(f, step_us, fixed[f], step_us - simple[f]) for f in fixed]
    steady_us, steady = truth["step_ns"] / 1000, _fixes(truth, "step_ns")
    replayed = _replayed(facts, [f for f in fixed if f != "all"], mends)
    return {
        "perfkit": [
            replace(
                _prediction(f, row, step_us, fixed[f]),
                again_us=again[f]["wall_ns"] / 1000 / len(truth["steps"]),
            )
            for f, row in replayed.items()
        ],
        "perfkit, steady": [
            _prediction(f, row, steady_us, steady[f], steady_us / diagnosis.steps.mean_us)
            for f, row in replayed.items()
        ],
        "subtract": subtracted,
    }


def _replayed(facts: Facts, fixes: list[str], mends: list[str]) -> dict[str, Fix | Together]:
    """What perfkit answers by fix, "all" for all mends at once; empty where it withholds them."""
    answer = what_if(facts, fixes)
    if answer.withheld:
        return {}
    found: dict[str, Fix | Together] = {row.fix: row for row in answer.fixes}
    if len(mends) > 1:
        found["all"] = what_if(facts, mends).order[0]
    return found


def _prediction(
    fix: str, row: Fix | Together, step_us: float, true: float, scale: float = 1.0
) -> Prediction:
    gain = row.gain_us
    expected, low, high = (
        None if g is None else step_us - scale * g for g in (gain.expected, gain.low, gain.high)
    )
    assert expected is not None  # what_if says "withheld" instead
    least = step_us - scale * gain.bound
    return Prediction(fix, step_us, true, expected, high, low, least)


@dataclass(frozen=True)
class Damaged:
    """One damaged trace against the whole one: growth by cause as a share of the whole step.

    `lost_share` is how much less of the time the GPU is seen to work.
    """

    case: Case
    damage: Damage
    growth: dict[str, float]
    lost_share: float
    idle_growth: float


def damaged(case: Case, damages: tuple[Damage, ...]) -> list[Damaged]:
    """Damage a case's trace in every way, and see where its time goes."""
    simulated = inject(dict(case.faults), seed=case.seed)
    text = trace_text(simulated.scenario, simulated.recording)
    whole = _analyzed(text)
    return [_compared(case, d, whole, _analyzed(damage(text, d.kind, d.share, 1))) for d in damages]


def _analyzed(text: str) -> Diagnosis:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json.gz"
        path.write_bytes(gzip.compress(text.encode(), 1))
        return perfkit.analyze(path)


def _compared(case: Case, what: Damage, whole: Diagnosis, broken: Diagnosis) -> Damaged:
    step_us = whole.steps.mean_us
    before, after = found_us(whole), found_us(broken)
    growth = {cause: (after[cause] - before[cause]) / step_us for cause in before}
    lost = (whole.breakdown_us.compute - broken.breakdown_us.compute) / step_us
    idle = (broken.breakdown_us.idle - whole.breakdown_us.idle) / step_us
    return Damaged(case, what, growth, lost, idle)
