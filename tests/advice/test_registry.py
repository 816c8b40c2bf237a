"""Finding rules, explaining them, and surviving one that fails."""

from __future__ import annotations

import re

import pytest

from perfkit.errors import PerfkitError
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.settings import Settings
from perfkit.reports import advice
from perfkit.reports.advice import launch_bound
from perfkit.reports.page import SECTIONS
from tests.advice.builder import all_reduces, diagnosis


@pytest.mark.parametrize("code", advice.codes())
def test_every_page_has_the_sections_in_order(code: str) -> None:
    page = advice.page(code).text
    found = re.findall(r"^(\S[^\n]*)\n {4}\S", page, re.MULTILINE)
    assert tuple(found) == SECTIONS
    assert page.partition("\n")[0].endswith(".")
    assert "http" in page.partition("References")[2]


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(PerfkitError, match="did you mean launch-bound"):
        advice.page("launch-bond")
    with pytest.raises(PerfkitError, match="perfkit explain"):
        advice.advise(diagnosis(), ignore=["zzz"])


def test_a_rule_that_fails_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Diagnosis) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(launch_bound, "check", broken)
    found = advice.advise(diagnosis({"dataloader": 3000})).findings
    assert [f.code for f in found] == ["dataloader-starvation", "launch-bound"]
    assert "ZeroDivisionError" in found[1].title


def test_findings_come_by_cost_and_information_last() -> None:
    case = diagnosis({"dataloader": 900, "sync": 300, "launch": 2000}, communication=1500,
                     collectives=all_reduces(1500))  # fmt: skip
    found = advice.advise(case).findings
    assert [f.code for f in found] == [
        "launch-bound", "exposed-communication", "dataloader-starvation", "host-sync-in-step",
    ]  # fmt: skip


def test_rules_and_ignore() -> None:
    case = diagnosis({"dataloader": 900, "sync": 800})
    only = advice.advise(case, rules=["host-sync-in-step"]).findings
    assert [f.code for f in only] == ["host-sync-in-step"]
    rest = advice.advise(case, ignore=["host-sync-in-step"]).findings
    assert [f.code for f in rest] == ["dataloader-starvation"]


def test_small_findings_are_left_out_unless_asked_for() -> None:
    case = diagnosis({"sync": 40})
    assert advice.advise(case).findings == []
    (told,) = advice.advise(
        case, settings=Settings(least_share=0.0), rules=["host-sync-in-step"]
    ).findings
    assert told.cost_share == 0.004


def test_limits_of_a_project_set_the_severity() -> None:
    case = diagnosis({"sync": 300})
    strict = Settings(limits={"host-sync-in-step": {"critical-share": 0.02}})
    assert advice.advise(case).findings[0].severity == "info"
    assert advice.advise(case, settings=strict).findings[0].severity == "critical"
    with pytest.raises(PerfkitError, match="did you mean host-sync-in-step"):
        advice.advise(case, settings=Settings(ignore=["host-sync-in-steps"]))


def test_the_audience_chooses_findings_and_leaves_the_verdict() -> None:
    case = diagnosis({"sync": 2300})
    everyone, other = advice.advise(case), advice.advise(case, audience="infrastructure")
    assert everyone.findings[0].audience == "researcher"
    assert (other.findings, other.verdict) == ([], everyone.verdict)


def test_a_finding_says_when_not_and_its_sources() -> None:
    (found,) = advice.advise(diagnosis({"sync": 2300})).findings
    assert found.when_not.startswith("A synchronization whose wait costs the GPU nothing")
    assert found.sources[0].startswith("https://docs.pytorch.org/")
