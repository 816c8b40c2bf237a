"""Where in the program a place lies, in words."""

from __future__ import annotations

from perfkit.model.diagnosis import Place
from perfkit.reports.format import clean


def where_text(place: Place) -> str:
    """Such as "train.py:12 in step, module Net > Block"; empty where the trace does not tell."""
    line = [clean(place.line)] if place.line else []
    parts = (("module", place.module), ("range", place.range))
    return ", ".join([*line, *(f"{word} {clean(path)}" for word, path in parts if path)])
