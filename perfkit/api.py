"""What a program calls: a path in, a Diagnosis out."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.trace.source import Progress


def analyze(
    path: str | PathLike[str],
    *,
    progress: Progress | None = None,
    rules: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Diagnosis:
    """Say where every step of a trace went, why the GPU was idle, and what to do.

    `path` is a PyTorch Profiler trace (JSON or JSON.gz), on disk or at any fsspec URL. `rules`
    limits the advice to these codes, `ignore` leaves codes out. Raises `perfkit.PerfkitError`, one
    sentence with the remedy, when the input is no usable trace or a code is unknown.
    """
    from perfkit.analyzers.diagnose import diagnose
    from perfkit.reports.advice import advise
    from perfkit.trace import open_trace

    diagnosis = diagnose(open_trace(fspath(path), progress))
    return advise(diagnosis, rules=rules, ignore=ignore)
