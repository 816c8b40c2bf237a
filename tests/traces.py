"""Where the public traces lie that several tests use."""

from __future__ import annotations

from pathlib import Path

import pytest

PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "traces"

needs_public = pytest.mark.skipif(
    not PUBLIC.is_dir(), reason="the public traces are not beside this checkout"
)


def kineto_files() -> list[str]:
    """Paths relative to PUBLIC of every file that is a PyTorch Profiler trace."""
    other = ("nsys/", "straggler/", "memory_analysis/", "rocprof")
    found = sorted(p.relative_to(PUBLIC).as_posix() for p in PUBLIC.rglob("*.json*"))
    return [path for path in found if not any(word in path for word in other)]
