"""Write docs/rules, a page a rule, from the rules' own docstrings: `make docs`."""

from __future__ import annotations

from pathlib import Path

from perfkit.reports import advice
from perfkit.reports.page import SECTIONS, Page

FOLDER = Path(__file__).parent / "rules"


def pages() -> dict[str, str]:
    """Text by file name."""
    known = [advice.page(code) for code in advice.codes()]
    return {f"{page.code}.md": _page(page) for page in known} | {"README.md": _index(known)}


def _page(page: Page) -> str:
    parts = [f"# {page.code}", page.summary, f"For the {page.audience}."]
    parts += [f"## {title}\n\n{page.sections[title]}" for title in SECTIONS]
    return "\n\n".join(parts) + "\n"


def _index(known: list[Page]) -> str:
    rows = [f"| [{p.code}]({p.code}.md) | {p.summary} | {p.audience} |" for p in known]
    head = ["| rule | what it says | for |", "|---|---|---|"]
    note = "Made by `make docs` from the rules' docstrings; `perfkit explain CODE` prints a page."
    return "\n".join(["# Rules", "", note, "", *head, *rows]) + "\n"


def main() -> None:
    """Write every page, and remove those of rules that are gone."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
