"""Remedies that are tried: what is read of a snippet, and what is said of a measured gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the scenarios train with torch")

import perfkit
from benchmarks.scoring import remedies
from benchmarks.scoring.real import RECORDED
from benchmarks.scoring.remedies import Tried, loader_options
from perfkit.model.diagnosis import Diagnosis, Gain, Remedy
from sample_traces.scenarios import SCENARIOS
from sample_traces.scenarios.base import Setting
from sample_traces.scenarios.runs import Run
from sample_traces.scenarios.training import Numbers, loader

MADE = Tried(
    "slow", "dataloader-starvation", Remedy(text="Do it."), "num_workers=2", [100.0, 102.0, 98.0],
    [50.0, 50.0, 60.0], Gain(bound=60.0, expected=55.0, low=45.0, high=58.0), recorded_ms=100.0,
    left_ms=4.0, rest_ms=-3.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("snippet", "options"),
    [
        (
            "DataLoader(dataset, batch_size=..., num_workers=2,\n"
            "           persistent_workers=True)  # in words",
            {"num_workers": 2, "persistent_workers": True},
        ),
        ("DataLoader(dataset, ..., num_workers=2 * now, prefetch_factor=4)",
         {"prefetch_factor": 4}),
        ("torch.set_num_threads(cores - num_workers)", {}),
        ("--overlap-grad-reduce no Python", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_options_of_a_printed_loader(snippet: str, options: dict[str, object]) -> None:
    assert loader_options(snippet) == options


def test_a_gain_lies_in_its_interval_or_it_is_said_why_not() -> None:
    assert MADE.gains_ms == [50.0, 52.0, 38.0]
    assert (MADE.verdict, MADE.why) == ("in", "")
    below = replace(MADE, predicted_ms=Gain(bound=80.0, expected=70.0, low=60.0, high=75.0))
    assert below.verdict == "below"
    assert below.why == (
        "by 10.0 ms, while the rounds differ by 14.0 ms; 4.0 ms of the cause are left; "
        "all else takes -3.0 ms"
    )
    above = replace(MADE, predicted_ms=Gain(bound=40.0, expected=30.0, low=20.0, high=35.0),
                    left_ms=0.0, rest_ms=0.0, recorded_ms=80.0)  # fmt: skip
    assert (above.verdict, above.outside_ms) == ("above", 15.0)
    assert above.why.endswith("14.0 ms; the recorded step took 80.0 ms")


def test_without_an_interval_the_bound_counts() -> None:
    assert replace(MADE, predicted_ms=Gain(bound=60.0)).verdict == "within the bound"
    assert replace(MADE, predicted_ms=Gain(bound=49.0)).verdict == "above the bound"
    assert replace(MADE, predicted_ms=Gain(bound=49.0)).outside_ms == 1.0


def test_the_table_has_the_gain_beside_what_was_predicted() -> None:
    row = remedies.rows([MADE]).splitlines()[-1]
    assert "| 55.0 (45.0 to 58.0) | 50.0 (38.0 to 52.0) | in |" in row


def test_options_of_a_run_reach_the_loader(tmp_path: Path) -> None:
    plain = Setting("cpu", "faulty", 1.0, 3, tmp_path)
    assert loader(plain, Numbers(3), batch_size=1).num_workers == 0
    told = replace(plain, options={"num_workers": 1, "batch_size": 3})
    made = loader(told, Numbers(3), batch_size=1)
    assert (made.num_workers, made.batch_size, made.pin_memory) == (1, 3, False)


def test_the_printed_remedy_is_what_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Run] = []

    def measure(run: Run) -> float:
        ran.append(run)
        return 30.0 if run.options else 120.0

    def recorded(run: Run, *_: object) -> Diagnosis:
        ran.append(run)
        return perfkit.analyze(RECORDED / "cpu" / "slow_dataset" / "fixed")

    monkeypatch.setattr(remedies, "measure", measure)
    monkeypatch.setattr(remedies, "_recorded", recorded)
    found = remedies.tried(SCENARIOS["slow_dataset"], "cpu", 30, 2, tmp_path)
    assert "num_workers" in found.applied
    assert [bool(run.options) for run in ran] == [True, False, True, False, True]
    assert {run.form for run in ran} == {"faulty"}
    assert found.gains_ms == [90.0, 90.0]
    assert found.predicted_ms.bound > 70.0


def test_scenarios_are_of_the_device() -> None:
    assert {one.name for one in remedies.scenarios("cpu")} >= {"slow_dataset", "python_between"}
    assert {one.name for one in remedies.scenarios("cuda")} >= {"item_every_step", "tiny_kernels"}
