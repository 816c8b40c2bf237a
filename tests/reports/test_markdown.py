from __future__ import annotations

import re

import pytest

from perfkit.model.diagnosis import Diagnosis, Evidence, Place, Remedy
from perfkit.reports.markdown import code, escaped, render
from tests.reports.diagnoses import make_diagnosis
from tests.reports.findings import make_finding
from tests.reports.hostile import HOSTILE, HOSTILE_NAMES


def test_says_verdict_breakdown_findings_facts_in_order(slow: Diagnosis) -> None:
    text = render(slow)
    at = [
        text.index(part)
        for part in (
            "### perfkit: The GPU waits",
            "| idle: waiting for data | 62.4 ms | 35.1 % |",
            "**The GPU waits for data in every step**",
            "<details><summary>PK101",
            "12 steps counted",
        )
    ]
    assert at == sorted(at)


def test_unknown_is_there_at_zero(empty: Diagnosis) -> None:
    assert "| idle: unknown | 0 us | 0 % |" in render(empty)


def test_findings_come_by_severity_then_cost(slow: Diagnosis) -> None:
    found = re.findall(r"<summary>(PK\d+)", render(slow))
    assert found == ["PK101", "PK203", "PK301", "PK302", "PK501", "PK401"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_bring_no_markup_and_no_mention(name: str) -> None:
    places = [Place(cause="sync", name=name, count_per_step=1, idle_us=1.0)]
    finding = make_finding(title=name, evidence=[Evidence(text=name)], where=places)
    text = render(make_diagnosis(verdict=name, findings=[finding]))
    prose = re.sub(r"`[^`\n]*`", "", text)  # code shows its content as it is
    assert not re.search(r"<(?!/?(details|summary)>)", prose)
    assert not re.search(r"@\w", prose)
    assert not re.search(r"#\d", prose.replace("\\#", "#"))
    assert "\x1b" not in text


def test_a_table_row_keeps_its_columns() -> None:
    text = render(make_diagnosis(findings=[make_finding(title="a | b || c")]))
    row = next(line for line in text.splitlines() if "**a" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 5


def test_links_are_not_made() -> None:
    assert "https://" not in escaped("see https://evil.example/")
    assert "[y](x)" not in escaped("[y](x)")


def test_escapes_are_not_shown_inside_html() -> None:
    text = render(make_diagnosis(findings=[make_finding(title="num_workers is 0 & <b>")]))
    assert "<summary>PK999: num_workers is 0 &amp; &lt;b&gt;</summary>" in text


def test_code_cannot_leave_its_backticks() -> None:
    assert code("a`b``c|d") == "`a'b''c¦d`"
    assert code(" \n") == "(no name)"


def test_a_snippet_cannot_leave_its_fence() -> None:
    snippet = f"x = 1\n```\n{HOSTILE}\n  y = 2"
    text = render(make_diagnosis(findings=[make_finding(remedy=Remedy(text="t", snippet=snippet))]))
    assert f"````python\n{snippet}\n````" in text


def test_stays_below_what_a_comment_may_hold(slow: Diagnosis) -> None:
    assert len(render(slow)) < 65_536


def test_nothing_to_fix_is_said(empty: Diagnosis) -> None:
    assert "No rule found anything to fix." in render(empty)
    assert "> No GPU activity was recorded" in render(empty)


def test_a_place_is_listed_once() -> None:
    place = Place(cause="sync", name="aten::item", count_per_step=1, idle_us=3000.0)
    facts = [Evidence(text="3.00 ms per step in aten::item"), Evidence(text="something else")]
    text = render(make_diagnosis(findings=[make_finding(evidence=facts, where=[place])]))
    assert text.count("aten::item") == 1
    assert "something else" in text
