"""The trace post-processor, called as torchtitan's profiler calls it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from perfkit.collectors.integrations.torchtitan import analyze_trace

torch: Any = pytest.importorskip("torch")


def finish() -> None:
    for thread in threading.enumerate():
        if thread.name == "perfkit-analyze":
            thread.join()


def record(folder: Path) -> str:
    """A trace where torchtitan writes it: its folders, its name, its schedule of one step."""
    net, written = torch.nn.Linear(8, 4), ""

    def trace_handler(profiler: Any) -> None:
        nonlocal written
        place = folder / "profiling/traces" / f"iteration_{profiler.step_num}"
        place.mkdir(parents=True)
        written = str(place / "rank0_trace.json.gz")
        profiler.export_chrome_trace(written)
        analyze_trace(written)

    schedule = torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=1)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(
        activities=activities, schedule=schedule, on_trace_ready=trace_handler, record_shapes=True
    ) as profiler:
        for _ in range(3):
            net(torch.ones(2, 8)).sum().backward()
            profiler.step()
    return written


def test_a_finished_trace_gets_a_report_beside_it(tmp_path: Path) -> None:
    trace = Path(record(tmp_path))
    finish()
    assert "</html>" in (trace.parent / "rank0_report.html").read_text("utf-8")
    diagnosis = json.loads((trace.parent / "rank0_diagnosis.json").read_text("utf-8"))
    assert diagnosis["schema"] == "perfkit.diagnosis/1"
    assert diagnosis["steps"]["mean_us"] > 0
    assert len(list(trace.parent.iterdir())) == 3


def test_a_file_that_is_no_trace_is_said_and_nothing_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rank0_trace.json.gz").write_bytes(b"no trace")
    analyze_trace(str(tmp_path / "rank0_trace.json.gz"))
    finish()
    assert "was not analyzed" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["rank0_trace.json.gz"]


def test_nothing_happens_where_perfkit_is_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERFKIT_DISABLE", "1")
    analyze_trace(record(tmp_path))
    assert not any(thread.name == "perfkit-analyze" for thread in threading.enumerate())


@pytest.mark.parametrize("wrong", [None, 3])
def test_never_raises(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    analyze_trace(wrong)
    finish()
    assert "failed and is left out" in caplog.text
