"""All cases that tests make, by name: each writes a trace or a Capture and returns its path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.advice.made_captures import CAPTURES
from tests.advice.made_programs import PROGRAMS

PATHS: dict[str, Callable[[Path], Path]] = {**PROGRAMS, **CAPTURES}
