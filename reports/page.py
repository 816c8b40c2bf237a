"""The page of a rule: its module's docstring, cut at its fixed headings."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import ModuleType

from perfkit.model.diagnosis import Audience

SECTIONS = ("What it detects", "Why it costs", "What to do", "When not to", "References")
_HEADING = re.compile(rf"^({'|'.join(SECTIONS)})$", re.MULTILINE)
_ADDRESS = re.compile(r"https?://[^\s)>,;]+[^\s)>,;.]")


@dataclass(frozen=True)
class Page:
    """What a rule says of itself; `text` is all of it, `sections` its parts by heading."""

    code: str
    text: str
    sections: dict[str, str]
    audience: Audience

    @property
    def summary(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]

    @property
    def when_not(self) -> str:
        """When its remedy does not apply, as one paragraph."""
        return " ".join(self.sections.get("When not to", "").split())

    @property
    def sources(self) -> list[str]:
        """The addresses that its references name."""
        return _ADDRESS.findall(self.sections.get("References", ""))


def page_of(code: str, rule: ModuleType) -> Page:
    """The page of the rule in this module."""
    text = inspect.getdoc(rule) or ""
    parts = _HEADING.split(text)[1:]
    sections = {h: inspect.cleandoc(t) for h, t in zip(parts[::2], parts[1::2], strict=True)}
    return Page(code, text, sections, getattr(rule, "AUDIENCE", "researcher"))
