"""Where in the program a place lies, in words."""

from __future__ import annotations

from perfkit.model.diagnosis import Place
from perfkit.reports.format import clean

_NO_NAMES = ("between operators", "outside of ")


def within(place: Place) -> str:
    """Such as "in aten::item"; what stands for no name at all, such as "between operators"."""
    return clean(place.name) if is_nowhere(place) else f"in {clean(place.name)}"


def is_nowhere(place: Place) -> bool:
    """Whether the trace has no name for the place."""
    return place.name.startswith(_NO_NAMES)


def where_text(place: Place) -> str:
    """Such as "train.py:12 in step, module Net > Block"; empty where the trace does not tell."""
    line = [clean(place.line)] if place.line else []
    parts = (("module", place.module), ("range", place.range))
    return ", ".join([*line, *(f"{word} {clean(path)}" for word, path in parts if path)])
