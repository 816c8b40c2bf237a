"""What the reports say of a run beside its trace, and that they say nothing without one."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from rich.cells import cell_len

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.memory_facts import FailedAllocation
from perfkit.reports import html, markdown, terminal
from perfkit.reports.run_summary import overhead_text, run_lines
from tests.reports.diagnoses import make_diagnosis
from tests.reports.runs import make_memory, make_run


@pytest.fixture(scope="module")
def recorded() -> Diagnosis:
    return make_diagnosis(run=make_run(), memory=make_memory())


@pytest.fixture(scope="module")
def page(recorded: Diagnosis) -> str:
    return html.render(recorded)


def test_four_lines_say_what_matters(recorded: Diagnosis) -> None:
    assert run_lines(recorded) == [
        "Run: 1,180 steps of 160.0 ms, profiled 160.0 ms (+12 %); "
        "window 2 of 3 of rank 0 (slow-step).",
        "Input: 35.0 % of a step waited; 4 workers; CPU-bound; a batch every 200.0 ms.",
        "Storage: data on lustre (/scratch <b>*); checkpoints on nfs4 (/home); "
        "3 checkpoints at 1.20 GB/s.",
        "GPU: 61.0 % utilized, 310 W, 1,290 MHz, HwThermalSlowdown 40.0 % of the time, Xid 79.",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [(-0.7, " (a window unlike the run)"), (-0.03, " (-3 %)"), (0.0, " (the same)")],
)
def test_a_window_of_shorter_steps_shows_no_overhead(more: float, words: str) -> None:
    steps = make_run().steps
    assert steps is not None
    assert overhead_text(msgspec.structs.replace(steps, overhead_share=more)) == words


def test_a_trace_file_has_no_run(recorded: Diagnosis) -> None:
    plain = make_diagnosis()
    assert run_lines(plain) == []
    assert 'id="run"' not in html.render(plain)
    assert "Run:" not in markdown.render(plain) + terminal.render(plain, width=100, color=False)


def test_a_trace_that_tells_of_allocations_has_its_memory() -> None:
    failed = FailedAllocation(count=1, asked_bytes=4 << 30, allocated_bytes=60 << 30,
                              reserved_bytes=70 << 30)  # fmt: skip
    page = html.render(make_diagnosis(memory=msgspec.structs.replace(make_memory(), failed=failed)))
    assert 'id="memory"' in page
    assert 'id="run"' not in page
    assert "asked for when it failed" in page
    assert 'id="memory"' not in html.render(make_diagnosis())


def test_what_was_not_recorded_has_no_line() -> None:
    bare = make_run(steps=None, loaders=[], file_systems=[], checkpoints=None, gpus=[], cpu=None,
                    gc=None, missing=[])  # fmt: skip
    found = make_diagnosis(run=bare)
    assert run_lines(found) == ["Run: window 2 of 3 of rank 0 (slow-step)."]
    page = html.render(found)
    assert "Step times over the run" not in page
    assert 'id="run-steps"' not in page


def test_the_cpu_stands_where_no_gpu_was_sampled() -> None:
    assert run_lines(make_diagnosis(run=make_run(gpus=[])))[-1] == (
        "CPU: the training thread had no core 2.0 % of the time (16 cores)."
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_still_fits_one_screen(recorded: Diagnosis, width: int) -> None:
    lines = terminal.render(recorded, width=width, color=False).splitlines()
    assert len(lines) <= 40
    assert max(map(cell_len, lines)) <= width
    assert sum(line.startswith(("Run:", "Input:", "Storage:", "GPU:")) for line in lines) == 4


def test_markdown_lists_the_lines_escaped(recorded: Diagnosis) -> None:
    text = markdown.render(recorded)
    assert "- Run: 1,180 steps" in text
    assert "lustre (/scratch &lt;b&gt;\\*)" in text


@pytest.mark.parametrize(
    "words",
    [
        "window 2 of 3, steps 100 to 119, for a slow step",
        "profiled window (+12 %)",
        "The run finished after 200.0 s.",
        "The first step took 4.00 s",
        "workers that would suffice",
        "cpu: making a batch is 97 % processor time",
        "1,281,167+",
        "stripe_count 1",
        "HwThermalSlowdown 40.0 % (error)",
        "GPU 0: Xid 79",
        "garbage collection, per step",
        "peak in backward",
        "pip install nvidia-ml-py",
    ],
)
def test_the_page_has_the_tables(page: str, words: str) -> None:
    assert words in page


def test_names_of_the_run_are_text(page: str) -> None:
    body = page.partition('<script type="application/json"')[0]
    assert "<script>alert" not in body
    assert "<img" not in body


def test_the_chart_has_the_points(page: str) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    points = json.loads(found[1])["run"]
    assert len(points) == 120
    assert points[10] == {"step": 100, "wall": 160100.0, "max": 170000.0, "data": 56000.0,
                          "profiled": True}  # fmt: skip
    assert 'id="run-steps"' in page
