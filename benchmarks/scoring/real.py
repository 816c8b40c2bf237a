"""Traces of real programs: recorded pairs with and without a fault, and public traces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import perfkit
from benchmarks.scoring.predictions import Prediction
from perfkit.errors import PerfkitError
from perfkit.model.diagnosis import Diagnosis

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "sample_traces" / "recorded"
PUBLIC = ROOT.parent / "shared" / "traces"
_NO_ALARM = "info"


@dataclass(frozen=True)
class Pair:
    """A recorded program with its fault and without; milliseconds per step.

    `measured_ms` are the unprofiled steps (faulty, fixed), which no profiler slows; `charged_ms`
    what the faulty trace charges to the known cause, less what the fixed one does.
    """

    name: str
    cause: str | None
    measured_ms: tuple[float, float]
    charged_ms: float | None
    top: str
    is_top_right: bool | None
    is_finding_first: bool | None
    alarms_fixed: list[str]
    predicted: dict[str, Prediction] = field(default_factory=dict)
    """Of the repaired step, by method."""
    note: str = ""
    scenario: str = ""
    """Its name without the dose."""
    apart: list[float] = field(default_factory=list)
    """How far two unprofiled runs of each form are apart, as a share of their mean."""


def pairs(folder: Path = RECORDED) -> Iterator[Pair]:
    """Every recorded program that is there in both forms."""
    for faulty in sorted(folder.glob("*/*/faulty")):
        if (faulty.parent / "fixed").is_dir():
            yield pair(faulty.parent)


def pair(folder: Path) -> Pair:
    """One recorded program: DEVICE/NAME with its two forms in it."""
    truth: dict[str, Any] = json.loads((folder / "faulty" / "truth.json").read_text("utf-8"))
    bad, good = perfkit.analyze(folder / "faulty"), perfkit.analyze(folder / "fixed")
    cause: str | None = truth["first_cause"]
    times = truth["unprofiled_step_ms"]
    measured = (float(times["faulty"]["median"]), float(times["fixed"]["median"]))
    codes, idle = [f.code for f in bad.findings], bad.idle_us
    top = max(idle, key=lambda name: idle[name])
    predicted, note = _predicted(bad, cause, measured)
    first = truth["first_finding"]
    return Pair(
        name=f"{folder.parent.name}/{folder.name}",
        cause=cause,
        measured_ms=measured,
        charged_ms=(idle[cause] - good.idle_us[cause]) / 1000 if cause else None,
        top=top,
        is_top_right=top in {cause, *truth["or_causes"]} if cause else None,
        is_finding_first=codes[:1] == [first] if first else None,
        alarms_fixed=[f.code for f in good.findings if f.severity != _NO_ALARM],
        predicted=predicted,
        note=note,
        scenario=f"{folder.parent.name}/{truth['scenario']}",
        apart=[_apart(times[form]["rounds"]) for form in ("faulty", "fixed")],
    )


def _apart(rounds: list[float]) -> float:
    first, second = rounds[:2]
    return 2 * abs(second - first) / (first + second)


def _predicted(
    bad: Diagnosis, cause: str | None, measured: tuple[float, float]
) -> tuple[dict[str, Prediction], str]:
    """The unprofiled step after the repair, by the share of the profiled step that it saves."""
    if cause is None:
        return {}, "no idle time is to blame, so no fix is scored"
    step, after = 1000 * measured[0], 1000 * measured[1]
    mean = bad.steps.mean_us

    def left(saved_us: float) -> float:
        return step * (1 - saved_us / mean)

    found = {"subtract": Prediction(cause, step, after, left(bad.idle_us[cause]))}
    gain = (
        next((f.gain_us for f in bad.whatif.fixes if f.fix == cause), None) if bad.whatif else None
    )
    if gain is not None and gain.expected is not None:
        low, high = (None if g is None else left(g) for g in (gain.high, gain.low))
        least = left(gain.bound)
        found["perfkit"] = Prediction(cause, step, after, left(gain.expected), low, high, least)
        return found, ""
    if cause in bad.saved_us:
        found["perfkit"] = Prediction(cause, step, after, left(bad.saved_us[cause]))
        return found, "by the replay without this cause: no fix is named for it"
    return found, "no what-if for this cause"


@dataclass(frozen=True)
class Public:
    """A public trace: how much of its step has no cause, or why it was refused."""

    name: str
    device: str
    steps: int
    step_us: float
    idle_share: float
    unknown_share: float
    replay_failed: list[str]
    refused: str | None = None


def public(folder: Path = PUBLIC) -> list[Path]:
    """The public traces that lie beside the checkout."""
    return sorted(path for path in folder.rglob("*.json*") if _may_be_trace(path))


def _may_be_trace(path: Path) -> bool:
    return "nsys" not in path.parts and "straggler" not in path.parts


def unknown(path: Path, folder: Path = PUBLIC) -> Public:
    """What of one public trace's step stays unknown."""
    name = path.relative_to(folder).as_posix()
    try:
        found = perfkit.analyze(path)
    except PerfkitError as error:
        return Public(name, "", 0, 0.0, 0.0, 0.0, [], refused=str(error))
    step = found.steps.mean_us
    replay = found.fidelity.replay
    return Public(
        name=name,
        device=found.device.kind,
        steps=found.steps.count,
        step_us=step,
        idle_share=found.breakdown_us.idle / step if step else 0.0,
        unknown_share=found.fidelity.unknown_share,
        replay_failed=list(replay.failed) if replay else [],
    )
