"""A finding that no time measures, such as memory that runs out, shows no cost of zero."""

from __future__ import annotations

import re

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Gain
from perfkit.reports import html, markdown, terminal
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis


def told(cost_us: float) -> Diagnosis:
    made = advise(diagnosis({"sync": 2300}))
    found = msgspec.structs.replace(
        made.findings[0], title="Something", cost_us=cost_us, cost_share=cost_us / 10_000,
        gain_us=Gain(bound=cost_us),
    )  # fmt: skip
    return msgspec.structs.replace(made, findings=[found])


@pytest.mark.parametrize(("cost_us", "is_timed"), [(0.0, False), (1230.0, True)])
def test_every_report(cost_us: float, is_timed: bool) -> None:
    case = told(cost_us)
    assert ('<span class="cost"></span>' in html.render(case)) is not is_timed
    row = next(line for line in markdown.render(case).splitlines() if "**Something**" in line)
    assert ("| - | - | not in time |" in row) is not is_timed
    screen = terminal.render(case, width=100, color=False)
    line = next(line for line in screen.splitlines() if "Something" in line)
    assert bool(re.search(r"\d", line)) is is_timed
