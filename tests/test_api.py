"""The facade: what a program that imports perfkit calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import perfkit
from perfkit.model.diagnosis import Diagnosis
from sample_traces.simulator import simulate, write


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = write(simulate("input_bound", steps=6), tmp_path_factory.mktemp("trace"))
    return path


def test_analyze_takes_a_path_and_gives_a_diagnosis(trace_file: Path) -> None:
    diagnosis = perfkit.analyze(trace_file)
    assert diagnosis.findings[0].code == "dataloader-starvation"
    assert diagnosis.steps.count + len(diagnosis.steps.excluded) == 6


def test_diagnosis_survives_json(trace_file: Path) -> None:
    diagnosis = perfkit.analyze(str(trace_file))
    text = diagnosis.to_json()
    assert Diagnosis.from_json(text) == diagnosis
    assert json.loads(text)["schema"] == "perfkit.diagnosis/1"


def test_rules_can_be_chosen_and_left_out(trace_file: Path) -> None:
    code = "dataloader-starvation"
    assert [f.code for f in perfkit.analyze(trace_file, rules=[code]).findings] == [code]
    assert code not in [f.code for f in perfkit.analyze(trace_file, ignore=[code]).findings]


def test_to_pandas_has_one_row_an_event_in_nanoseconds(trace_file: Path) -> None:
    trace = perfkit.open_trace(trace_file)
    frame = trace.to_pandas()
    assert len(frame) == len(trace)
    assert frame["ts"].dtype == "int64"
    assert frame["ts"].is_monotonic_increasing
    assert isinstance(frame["name"].dtype, pd.CategoricalDtype)
    kernels = frame[frame["kind"] == "kernel"]
    assert kernels["dur"].sum() == trace.dur[trace.kind == 8].sum()
    assert set(kernels["lane"].astype(str).str[:5]) == {"GPU 0"}


def test_import_pulls_in_nothing_heavy() -> None:
    probe = "import sys, perfkit; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "plotly", "rich", "torch", "click", "msgspec", "hta"}
    assert heavy.isdisjoint(run.stdout.split())


def test_analysis_does_not_need_torch_nor_plotly(trace_file: Path) -> None:
    probe = f"import sys, perfkit; perfkit.analyze({str(trace_file)!r}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert {"torch", "plotly", "pandas", "hta"}.isdisjoint(run.stdout.split())


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        perfkit.nothing  # noqa: B018


def test_a_wrong_code_is_said_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(perfkit.PerfkitError, match="There is no rule sink"):
        perfkit.analyze(tmp_path / "absent.json", ignore=["sink"])
