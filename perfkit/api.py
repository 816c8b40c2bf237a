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
    rank: int | None = None,
    window: int | None = None,
) -> Diagnosis:
    """Say where every step of a run went, why the GPU was idle, and what to do.

    `path` is a PyTorch Profiler trace (JSON or JSON.gz), on disk or at any fsspec URL, or a
    Capture, the folder that a recorded run has left. Of a Capture, `rank` chooses the rank (else
    the lowest with a profiled window) and `window` the profiled window, counted from 1 (else the
    one with the most steps). `rules` limits the advice to these codes, `ignore` leaves codes out.
    Raises `perfkit.PerfkitError`, one sentence with the remedy, when there is nothing usable to
    read or a code is unknown.
    """
    from perfkit.reports.advice import advise

    diagnosis = _diagnosis(fspath(path), progress, rank, window)
    return advise(diagnosis, rules=rules, ignore=ignore)


def _diagnosis(
    path: str, progress: Progress | None, rank: int | None, window: int | None
) -> Diagnosis:
    from perfkit.analyzers.diagnose import diagnose
    from perfkit.errors import PerfkitError
    from perfkit.trace import open_trace
    from perfkit.trace.capture_folder import is_folder

    if is_folder(path):
        from perfkit.trace.capture import open_capture

        capture = open_capture(path, progress, rank=rank, window=window)
        return diagnose(capture.trace, capture)
    if rank is not None or window is not None:
        raise PerfkitError("A trace file is of one rank and window: leave --rank and --window out.")
    return diagnose(open_trace(path, progress))
