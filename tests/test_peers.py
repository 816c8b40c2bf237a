"""docs/peers.md names rules that exist, and answers each rule of other tools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perfkit.reports.advice import codes

TEXT = (Path(__file__).parents[1] / "docs" / "peers.md").read_text("utf-8")
TOOLS = ("TensorBoard", "XProf", "SageMaker", "TorchTidy", "TraceLens", "nsys", "Drishti")


def answers() -> list[tuple[str, str]]:
    """Rule of another tool, and perfkit's answer."""
    lines = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    return [(cells[0], cells[-1]) for cells in lines if cells[0] != "rule"]


def test_all_tools_are_there() -> None:
    titles = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert len(titles) == len(TOOLS)
    assert all(tool in title for tool, title in zip(TOOLS, titles, strict=True))
    assert len(answers()) > 60


@pytest.mark.parametrize(("rule", "answer"), answers(), ids=[rule for rule, _ in answers()])
def test_an_answer_names_rules_that_exist_or_says_why_not(rule: str, answer: str) -> None:
    named = re.findall(r"`([a-z0-9-]+)`", answer)
    assert set(named) <= set(codes())
    assert named or re.match(r"no rule\b.*: \S", answer) or re.match(r"no rule by ", answer)
