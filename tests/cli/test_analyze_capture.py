"""`perfkit analyze DIR`: a recorded run on the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from perfkit.model.capture import Window
from tests.captures import (
    TRACE,
    cpu_trace,
    operators,
    rank_file,
    step_times,
    write_capture,
    write_rank,
)
from tests.cli.conftest import Run, refusal


@pytest.fixture
def run(run: Run) -> Run:
    """Runs `perfkit analyze`."""
    return partial(run, "analyze")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "exp1", [step_times([12_000.0] * 18, 300.0)])


def test_a_capture_is_analyzed_by_its_folder(run: Run, capture: Path) -> None:
    code, out, err = run(capture)
    assert (code, err) == (0, "")
    assert out.startswith("On the CPU")
    assert "Run: 17 steps of 12.0 ms; window 1 of 1 (schedule)." in out
    assert json.loads(run(capture / "rank0", "--json", "-")[1])["source"]["format"] == "capture"


def test_every_report_is_written(run: Run, capture: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "json", "markdown")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    assert run(capture, *options)[0] == 0
    assert json.loads(files["json"].read_text("utf-8"))["run"]["window"]["steps"] == 10
    assert 'id="run"' in files["html"].read_text("utf-8")
    assert "- Run: 17 steps" in files["markdown"].read_text("utf-8")


def test_rank_and_window_can_be_chosen(run: Run, tmp_path: Path) -> None:
    windows = [Window(file=f"{i}.json", first_step=i, steps=4, reason="signal") for i in (5, 9)]
    traces = {window.file: cpu_trace([operators(1)] * 4) for window in windows}
    for rank in (0, 3):
        write_rank(tmp_path, rank_file(rank=rank, windows=windows), traces=traces)
    out = run(tmp_path, "--rank", 3, "--window", 1)[1]
    assert "window 1 of 2 of rank 3 (signal)" in out
    assert "window 2 of 2 of rank 0 (signal)" in run(tmp_path)[1]
    assert "There is no rank 7" in refusal(run(tmp_path, "--rank", 7))
    assert "has no window 3" in refusal(run(tmp_path, "--window", 3))


def test_a_trace_file_has_neither_rank_nor_window(run: Run, capture: Path) -> None:
    trace = capture / "rank0" / TRACE
    for option in ("--rank", "--window"):
        assert "leave --rank and --window out" in refusal(run(trace, option, 1))


def test_what_is_no_capture_is_refused(run: Run, tmp_path: Path) -> None:
    assert "without a Capture" in refusal(run(tmp_path))
    (tmp_path / "host.1.pt.trace.json").touch()
    assert "pass host.1.pt.trace.json" in refusal(run(tmp_path))
    assert "There is no file" in refusal(run(tmp_path / "missing"))


def test_a_run_that_ended_early_says_when_profiling_starts(run: Run, tmp_path: Path) -> None:
    write_rank(tmp_path, rank_file(windows=[]), [step_times([9.0] * 4)], traces={})
    said = refusal(run(tmp_path))
    assert "The run ended after 4 steps and profiling starts after 18" in said


@pytest.mark.parametrize("name", ["capture.json", "rank0/rank.json", f"rank0/{TRACE}"])
def test_the_capture_is_never_overwritten(run: Run, capture: Path, name: str) -> None:
    before = (capture / name).read_bytes()
    assert "would overwrite" in refusal(run(capture, "--json", capture / name))
    assert (capture / name).read_bytes() == before


def test_a_report_may_lie_beside_the_records(run: Run, capture: Path) -> None:
    for _ in range(2):  # and be written anew
        assert run(capture, "--html", capture / "report.html")[0] == 0
    assert (capture / "report.html").is_file()
