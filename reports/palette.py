"""The colours of every report, in one place.

Mid tones that stand on white and on dark ground alike. The parts and the causes met most often
differ for the three kinds of colour blindness (a test simulates them); text never depends on a
colour alone, every chart has a legend or a table beside it.
"""

from __future__ import annotations

from perfkit.model.cause import Cause

IDLE = "idle-"
"""Prefix of an idle cause's key: a blocking copy is not the copy that a GPU makes."""


def idle_key(cause: str) -> str:
    """The key of an idle cause, in colours, glyphs and style classes."""
    return IDLE + cause


COLORS: dict[str, str] = {
    "compute": "#1a6bb0",
    "communication": "#b07fe0",
    "copy": "#2aa385",
    idle_key(Cause.DATALOADER): "#d1495b",
    idle_key(Cause.SYNC): "#f2a541",
    idle_key(Cause.LAUNCH): "#7d6414",
    idle_key(Cause.PYTHON): "#86407a",
    idle_key(Cause.DISPATCH): "#e3a0b8",
    idle_key(Cause.KERNEL_GAP): "#8fc1e3",
    idle_key(Cause.OTHER_GPU): "#4b93a6",
    idle_key(Cause.COPY): "#19705a",
    idle_key(Cause.ALLOCATOR): "#93a83a",
    idle_key(Cause.CHECKPOINT): "#a0522d",
    idle_key(Cause.COMPILE): "#c9b840",
    idle_key(Cause.GC): "#c2703d",
    idle_key(Cause.PROFILER): "#6f5fa8",
    idle_key(Cause.UNOBSERVED): "#6b7683",
    idle_key(Cause.UNKNOWN): "#a4acb6",
    "host-operator": "#7e8fa3",
    "host-annotation": "#b3bfcc",
    "host-runtime": "#56667a",
    "host-overhead": "#6f5fa8",
    "host-sync": "#f2a541",
}
OTHER = "#a4acb6"

_GLYPHS: dict[str, str] = {
    "compute": "#",
    "communication": "=",
    "copy": "+",
    idle_key(Cause.DATALOADER): "d",
    idle_key(Cause.SYNC): "s",
    idle_key(Cause.LAUNCH): "l",
    idle_key(Cause.PYTHON): "p",
    idle_key(Cause.DISPATCH): "o",
    idle_key(Cause.KERNEL_GAP): "k",
    idle_key(Cause.OTHER_GPU): "n",
    idle_key(Cause.COPY): "c",
    idle_key(Cause.ALLOCATOR): "a",
    idle_key(Cause.CHECKPOINT): "w",
    idle_key(Cause.COMPILE): "j",
    idle_key(Cause.GC): "g",
    idle_key(Cause.PROFILER): "f",
    idle_key(Cause.UNOBSERVED): "?",
    idle_key(Cause.UNKNOWN): ".",
}


def color(key: str) -> str:
    """The colour of a key; a neutral one for a cause that this version does not know."""
    return COLORS.get(key, OTHER)


def glyph(key: str) -> str:
    """The character that stands for a key where there is no colour."""
    return _GLYPHS.get(key, "~")
