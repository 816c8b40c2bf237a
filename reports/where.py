"""Where in the program a place lies, in words."""

from __future__ import annotations

from perfkit.model.diagnosis import Place
from perfkit.reports.format import clean


def where_text(place: Place) -> str:
    """Such as "module Net > Block > Attention"; empty where the trace does not tell."""
    parts = (("module", place.module), ("range", place.range))
    return ", ".join(f"{word} {clean(path)}" for word, path in parts if path)
