"""docs/rules says what the rules say."""

from __future__ import annotations

from docs.make_rules import FOLDER, pages


def test_the_pages_of_the_rules_are_up_to_date() -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md")}
    assert written == pages(), "run `make docs`"
