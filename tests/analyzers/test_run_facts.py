"""The facts of a run from its records: its steps, and what a Diagnosis holds of it all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perfkit.analyzers.run_facts import step_facts, steps_of
from perfkit.api import analyze
from perfkit.model.capture import FileSystem, GpuFault, Sight, StepTimes
from perfkit.model.diagnosis import Diagnosis
from perfkit.trace.capture_folder import Recording
from tests.analyzers.test_loader_facts import STEPS, WAITS, info, made
from tests.analyzers.test_memory_facts import GB, held
from tests.captures import as_read, step_times, write_capture

RECORDING = Recording(Path("w.json"), first_step=10, steps=5, reason="schedule")


def test_steps_without_the_profiler_stand_against_the_window() -> None:
    found = as_read(
        step_times([900.0, *[100.0] * 9], 25.0),
        StepTimes(first=10, start_ns=0, wall_us=[130.0] * 5, data_us=[26.0] * 5, profiled=True),
        StepTimes(first=15, start_ns=0, wall_us=[100.0, 300.0], data_us=[25.0, 75.0]),
    )
    steps = step_facts(steps_of(found), RECORDING)
    assert (steps.total, steps.first_us) == (17, 900.0)
    assert steps.unprofiled is not None
    assert steps.unprofiled.count == 11
    assert steps.unprofiled.mean_us == pytest.approx(1300 / 11)
    assert (steps.unprofiled.p50_us, steps.unprofiled.max_us) == (100.0, 300.0)
    assert steps.unprofiled.data_share == pytest.approx(0.25)
    assert steps.window is not None
    assert steps.window.count == 5
    assert steps.window.data_share == pytest.approx(0.2)
    assert steps.overhead_share == pytest.approx(130 / (1300 / 11) - 1)


def test_blocks_in_any_order_and_of_uneven_length() -> None:
    found = as_read(
        StepTimes(first=3, start_ns=0, wall_us=[4.0, 5.0, 6.0], data_us=[1.0, 9.0]),
        StepTimes(first=0, start_ns=0, wall_us=[1.0, float("nan"), 3.0], data_us=[1.0, 1.0, 1.0]),
        StepTimes(first=9, start_ns=0, wall_us=[0.0, -3.0], data_us=[0.0, 0.0]),
    )
    steps = steps_of(found)
    assert steps.number.tolist() == [0, 2, 3, 4]
    assert steps.data.tolist() == [1.0, 1.0, 1.0, 5.0]  # never more than the step


def test_shares_stay_shares() -> None:
    steps = step_facts(steps_of(as_read(step_times([5.0, 5.0, 5.0], 50.0))), RECORDING)
    assert steps.unprofiled is not None
    assert steps.unprofiled.data_share == 1.0
    assert (steps.window, steps.overhead_share) == (None, None)


def test_a_long_run_becomes_few_points_that_keep_means_and_extremes() -> None:
    wall = [100.0] * 50_000
    wall[33_333] = 9000.0
    found = as_read(
        step_times(wall[:20_000]),
        step_times(wall[20_000:20_010], first=20_000, profiled=True),
        step_times(wall[20_010:], first=20_010),
    )
    points = step_facts(steps_of(found), RECORDING).points
    assert 100 < len(points) <= 400
    assert max(point.max_us for point in points) == 9000.0
    assert [point.step for point in points if point.profiled] == [20_000]
    assert [point.step for point in points] == sorted(point.step for point in points)


def test_few_steps_are_points_of_their_own() -> None:
    points = step_facts(steps_of(as_read(step_times([5.0, 7.0, 6.0]))), RECORDING).points
    assert [(point.step, point.wall_us) for point in points] == [(0, 5.0), (1, 7.0), (2, 6.0)]


def test_nothing_recorded_is_nothing_said(tmp_path: Path) -> None:
    found = analyze(write_capture(tmp_path / "run"))
    run = found.run
    assert run is not None
    assert (run.steps, run.loaders, run.file_systems, run.checkpoints) == (None, [], [], None)
    assert (run.gpus, run.cpu, run.gc, found.memory) == ([], None, None, None)


def test_the_diagnosis_holds_the_run_and_survives_json(tmp_path: Path) -> None:
    place = FileSystem(role="dataset", path="/data", kind="lustre", mount="/data", source="m@tcp")
    later = msgspec.structs.replace(place, files=12)
    run = write_capture(
        tmp_path / "run",
        [step_times([12_000.0] * 30, 500.0), info(), *WAITS, *map(made, range(STEPS)), place,
         later, held(3, GB), GpuFault(t_ns=1, device=0, xid=48)],
        collectors=[Sight(collector="nvml", active=False, missing=["No GPU: run it on one."])],
    )  # fmt: skip
    found = analyze(run)
    assert Diagnosis.from_json(found.to_json()) == found
    assert found.source.format == "capture"
    assert found.source.path.endswith("window18.pt.trace.json.gz")
    assert found.run is not None
    assert (found.run.window.number, found.run.window.count) == (1, 1)
    assert (found.run.window.first_step, found.run.window.reason) == (18, "schedule")
    assert [place.files for place in found.run.file_systems] == [12]
    assert found.run.missing == ["No GPU: run it on one."]
    assert (found.run.script, found.run.host, found.run.ended) == ("train.py", "node1", "finished")
    assert found.memory is not None


def test_notes_say_what_the_breakdown_cannot_show(tmp_path: Path) -> None:
    times = [
        step_times([10_000.0] * 18, 4000.0),
        step_times([15_000.0] * 10, 100.0, first=18, profiled=True),
    ]
    found = analyze(write_capture(tmp_path / "run", times, ended=None, ended_ns=None))
    said = " ".join(found.fidelity.notes)
    assert "The run left no end" in said
    assert "steps wait 40 % of their time for data, in this window 1 %" in said
    alike = analyze(write_capture(tmp_path / "alike", [*times[:1], step_times(
        [15_000.0] * 10, 5800.0, first=18, profiled=True)]))  # fmt: skip
    assert not any("Without the profiler" in note for note in alike.fidelity.notes)
