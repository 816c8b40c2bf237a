"""Recorded runs whose fault is known: the analysis must put it first, and be silent without one."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis
from sample_traces.scenarios.publish import scrubbed, scrubber

RECORDED = Path(__file__).resolve().parents[2] / "sample_traces" / "recorded"
CAPTURES = sorted(path.parent for path in RECORDED.rglob("truth.json"))
_MOST_BYTES_EACH = 150_000
_MOST_BYTES = 4_000_000


def name(capture: Path) -> str:
    return capture.relative_to(RECORDED).as_posix()


def truth(capture: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((capture / "truth.json").read_text("utf-8"))
    return read


@cache
def diagnosis(capture: Path) -> Diagnosis:
    return perfkit.analyze(capture)


def those(**wanted: bool) -> pytest.MarkDecorator:
    """The captures whose truth has (or lacks) these."""
    found = [c for c in CAPTURES if all(bool(truth(c)[k]) == v for k, v in wanted.items())]
    return pytest.mark.parametrize("capture", found, ids=name)


every_capture = pytest.mark.parametrize("capture", CAPTURES, ids=name)


@those(first_cause=True)
def test_the_known_cause_is_the_largest(capture: Path) -> None:
    idle = diagnosis(capture).idle_us
    known = truth(capture)
    assert max(idle, key=idle.__getitem__) in {known["first_cause"], *known["or_causes"]}


@those(first_finding=True)
def test_the_known_fault_is_found_first(capture: Path) -> None:
    found = diagnosis(capture).findings
    assert [f.code for f in found][:1] == [truth(capture)["first_finding"]]
    chance = "low-precision-unused"  # never more than a hint
    assert found[0].severity != "info" or found[0].code == chance


@those(clean=True)
def test_nothing_is_blamed_where_nothing_is_wrong(capture: Path) -> None:
    blamed = [f"{f.code}: {f.title}" for f in diagnosis(capture).findings if f.severity != "info"]
    assert blamed == []


@every_capture
def test_steps_of_the_window_are_counted(capture: Path) -> None:
    found = diagnosis(capture)
    assert found.steps.marker == "ProfilerStep"
    assert found.steps.count >= 3
    assert found.run is not None
    assert found.run.steps is not None
    assert found.run.steps.total == truth(capture)["steps"]


@every_capture
def test_truth_is_whole(capture: Path) -> None:
    known = truth(capture)
    device, scenario, form = capture.relative_to(RECORDED).parts
    dose = "" if known["dose"] == 1 else f"-x{known['dose']:g}"
    named = (known["device"], known["scenario"] + dose, known["form"])
    assert named == (device, scenario, form)
    assert known["first_cause"] in {None, *(cause.value for cause in Cause)}
    assert known["simulated"] is False
    times = known["unprofiled_step_ms"][form]
    assert len(times["rounds"]) >= 2
    assert min(times["rounds"]) <= times["median"] <= max(times["rounds"])


@those(ratio=True)
def test_a_fault_makes_steps_longer_and_a_hidden_one_does_not(capture: Path) -> None:
    known = truth(capture)
    if known["scenario"] == "hidden_dataset":
        assert 0.8 < known["ratio"] < 1.2
    else:
        assert known["ratio"] > 1.2


@every_capture
def test_nothing_names_the_machine_it_was_recorded_on(capture: Path) -> None:
    scrub = scrubber({}, {})
    files = [path for path in capture.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        assert scrubbed(text, scrub) == text, path


def test_captures_are_small_and_there_are_some_of_each_kind() -> None:
    sizes = [path.stat().st_size for path in RECORDED.rglob("*") if path.is_file()]
    assert max(sizes) < _MOST_BYTES_EACH
    assert sum(sizes) < _MOST_BYTES
    assert {True, False} == {truth(capture)["clean"] for capture in CAPTURES}
