"""Modules and ranges of places, in each report."""

from __future__ import annotations

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Place
from perfkit.reports import html, markdown, terminal
from perfkit.reports.advice import advise
from perfkit.reports.where import where_text
from tests.advice.builder import diagnosis, place


def told(**where: str) -> Place:
    return msgspec.structs.replace(place("sync", "aten::item", 3000.0), **where)


def case(where: Place) -> Diagnosis:
    return advise(diagnosis({"sync": 3000.0}, places=[where]))


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, ""),
        ({"module": "Net > Block"}, "module Net > Block"),
        ({"range": "eval"}, "range eval"),
        ({"module": "Net", "range": "eval"}, "module Net, range eval"),
        ({"line": "a.py:1 in f", "module": "Net"}, "a.py:1 in f, module Net"),
    ],
)
def test_in_words(where: dict[str, str], text: str) -> None:
    assert where_text(told(**where)) == text


def test_every_report_names_the_module() -> None:
    found = case(told(module="Net > Block"))
    assert "aten::item (module Net > Block)" in terminal.render(found, width=100, color=False)
    assert "`aten::item` (module Net &gt; Block)" in markdown.render(found)
    assert "module Net &gt; Block</small>" in html.render(found)


def test_the_screen_names_it_where_the_first_evidence_does_not() -> None:
    where = msgspec.structs.replace(told(module="Net > Block"), cause="launch")
    found = advise(diagnosis({"launch": 4000.0}, places=[where]))
    said = terminal.render(found, width=100, color=False)
    assert said.count("Costliest place: aten::item, module Net > Block") == 1
    assert "Costliest place" not in terminal.render(
        case(told(module="Net")), width=100, color=False
    )


@pytest.mark.parametrize("part", ["module", "line"])
def test_a_hostile_module_stays_text(part: str) -> None:
    found = case(told(**{part: "<script>alert(1)</script>"}))
    assert "<script>alert(1)" not in html.render(found)
    assert "<script>" not in markdown.render(found)
