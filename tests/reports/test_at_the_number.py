"""What stands beside a number: why a gain is not the cost, and what "per step" is of."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Finding, Fix, Gain, LeftOut, WhatIf
from perfkit.reports import advice, html, markdown, summary, terminal
from tests.advice.builder import copies, diagnosis, place
from tests.reports.diagnoses import make_diagnosis


def predicted(fix: str, grade: Any, gain: Gain, **case: Any) -> Diagnosis:
    """Advice where replay predicts this fix."""
    rows = [Fix(fix=fix, text=fix, gain_us=gain, grade=grade)]
    told = WhatIf(steps=10, fixes=rows, combinations=[], order=[])
    return advice.advise(diagnosis(**case, whatif=told))


def of(code: str, case: Diagnosis) -> Finding:
    return next(f for f in case.findings if f.code == code)


def reports(case: Diagnosis) -> list[str]:
    texts = (
        terminal.render(case, width=120, color=False),
        markdown.render(case),
        html.render(case),
    )
    return [" ".join(text.split()) for text in texts]


MORE = Gain(bound=4100.0, expected=4000.0, low=3900.0, high=4100.0)


def test_a_gain_above_the_cost_says_where_the_rest_comes_from() -> None:
    idle = {"launch": 1500, "dataloader": 3000}
    case = predicted("cuda-graphs", "C", MORE, idle=idle, places=[])
    note = "2.50 ms of that comes out of waiting for data"
    assert of("launch-bound", case).gain_note == note
    for text in reports(case):
        assert f"; {note}" in text


def test_what_several_causes_may_have_given_is_not_put_on_one() -> None:
    idle = {"launch": 1500, "dataloader": 1500, "sync": 1400, "copy": 1300}
    case = predicted("cuda-graphs", "C", MORE, idle=idle, places=[])
    assert of("launch-bound", case).gain_note.endswith("comes out of time charged to other causes")


def test_a_gain_that_is_the_cost_needs_no_word() -> None:
    gain = Gain(bound=1520.0, expected=1490.0, low=1400.0, high=1520.0)
    assert (
        of(
            "launch-bound", predicted("cuda-graphs", "C", gain, idle={"launch": 1500}, places=[])
        ).gain_note
        == ""
    )


LITTLE = Gain(bound=100.0, expected=90.0, low=60.0, high=100.0)
PAGED: dict[str, Any] = {"copy": 800, "copies": copies("pageable", 800)}


@pytest.mark.parametrize(("grade", "severity"), [("A", "info"), ("C", "warning")])
def test_what_records_say_returns_little_is_no_warning(grade: str, severity: str) -> None:
    found = of("pageable-copy", predicted("copies", grade, LITTLE, **PAGED))
    assert (found.severity, found.cost_us) == (severity, 800)
    assert found.gain_note == "other waits take the place of the rest"


def test_without_a_prediction_the_cost_sets_the_severity() -> None:
    assert of("pageable-copy", advice.advise(diagnosis(**PAGED))).severity == "warning"


def test_a_recording_without_steps_has_nothing_per_step() -> None:
    steps = {"marker": "none", "count": 1}
    places = [place("sync", "aten::item", 2000), place("python", "between operators", 700)]
    case = advice.advise(diagnosis({"sync": 2000, "python": 700}, steps=steps, places=places))
    found = of("host-sync-in-step", case)
    assert "per step" not in " ".join([found.title, *(e.text for e in found.evidence)])
    assert found.evidence[0].text == "2.00 ms in the recording in aten::item"
    assert "per step" not in terminal.render(case, width=100, color=False)
    assert "| cost | share |" in markdown.render(case).replace("finding | cost", "| cost")


def test_where_no_operator_runs_is_between_them() -> None:
    case = advice.advise(
        diagnosis({"python": 2000}, places=[place("python", "between operators", 2000)])
    )
    told = [e.text for e in of("launch-bound", case).evidence]
    assert "2.00 ms per step between operators" in told


def test_every_report_says_what_is_left_out() -> None:
    left_out = LeftOut(rules=["launch-bound"], small=2, least_share=0.01, for_others=1)
    said = summary.left_out_text(make_diagnosis(left_out=left_out))
    assert "rule launch-bound (--rule, --ignore or [tool.perfkit])" in said
    assert "2 findings below 1.0 % of the step (--all)" in said
    for findings in ([], make_diagnosis().findings):
        terminal_, markdown_, html_ = reports(make_diagnosis(left_out=left_out, findings=findings))
        assert said in terminal_
        assert said in html_
        assert said in markdown_.replace("\\", "")
        assert "No rule found" not in terminal_ + markdown_ + html_


def test_many_rules_left_out_are_counted() -> None:
    left_out = LeftOut(rules=[f"rule-{i}" for i in range(40)], least_share=0.005)
    assert "Left out: 40 rules (" in summary.left_out_text(make_diagnosis(left_out=left_out))


def test_nothing_left_out_is_nothing_said() -> None:
    assert summary.left_out_text(make_diagnosis()) == ""
    assert all("Left out" not in text for text in reports(make_diagnosis()))


def test_a_file_without_gpu_records_has_its_line_of_the_unknown() -> None:
    known = msgspec.structs.replace(diagnosis(device={"kind": "none"}))
    assert ".. idle: unknown" in terminal.render(known, width=100, color=False)
