"""A recording in which no steps were found is not called a step, in any report."""

from __future__ import annotations

import re

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, LeftOut
from perfkit.reports import html, markdown, terminal, whatif
from perfkit.reports.html_data import payload
from perfkit.reports.inference_summary import inference_lines
from tests.advice.serving import inference, reads, served
from tests.reports.test_compute import facts
from tests.reports.whatifs import make_predicted

SERVING = inference(served=[served("decode", 3000.0)], told_by="names", reads=reads(1, 900.0))
OF_A_STEP = re.compile(r"(per|mean) step\b", re.IGNORECASE)


def recorded(marker: str) -> Diagnosis:
    """All tables, without what only several steps have and the findings that the rules word."""
    made = make_predicted(
        compute=facts(), inference=SERVING, findings=[], outliers=None, verdict="Busy.", ranks=[]
    )
    return msgspec.structs.replace(made, steps=msgspec.structs.replace(made.steps, marker=marker))


def reports(case: Diagnosis) -> dict[str, str]:
    return {
        "html": html.render(case).partition("<script")[0],
        "data": str(payload(case)),
        "markdown": markdown.render(case),
        "terminal": terminal.render(case, width=100, color=False),
        "whatif": whatif.render(case),
    }


@pytest.mark.parametrize("name", ["html", "data", "markdown", "terminal", "whatif"])
def test_no_report_tells_of_steps(name: str) -> None:
    assert OF_A_STEP.findall(reports(recorded("none"))[name]) == []


@pytest.mark.parametrize(
    "told",
    [
        *("Kernels by name; times in the recording", "total in the recording", "recording goes"),
        *("kernels in the recording, median", "times in the recording", "idle in the recording"),
        *(
            "bytes in the recording",
            "operations in the recording",
            "Communication: 31.0 ms in the recording",
        ),
        *("taken as one step", "of the recording", "recording with it alone"),
    ],
)
def test_the_page_tells_of_the_recording(told: str) -> None:
    assert told in reports(recorded("none"))["html"]


def test_the_inference_line_tells_of_the_recording() -> None:
    assert "32 generations in the recording" in inference_lines(recorded("none"))[0]
    assert "32 generations per step" in inference_lines(recorded("ProfilerStep"))[0]


def test_what_is_left_out_and_matrix_work_are_of_the_recording() -> None:
    case = msgspec.structs.replace(recorded("none"), left_out=LeftOut(small=2, least_share=0.005))
    for name in ("html", "terminal", "markdown"):
        told = " ".join(reports(case)[name].split())
        assert "2 findings below 0.5 % of the recording (--all)" in told, name
        assert "over the recording, MFU" in told, name


def test_a_step_stays_a_step() -> None:
    page = reports(recorded("ProfilerStep"))["html"]
    assert "in the recording" not in page
    for told in ("total per step", "Where the step goes", "<dt>mean step</dt>", "step with it"):
        assert told in page, told
