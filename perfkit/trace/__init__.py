"""Readers: every way a run is stored becomes a `perfkit.model.trace.Trace`."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.model.trace import Trace
    from perfkit.trace.source import Progress


def open_trace(path: str | PathLike[str], progress: Progress | None = None) -> Trace:
    """Read a trace file (PyTorch Profiler JSON or JSON.gz; a path or any fsspec URL).

    `progress` is called with (bytes read, bytes in the file). Raises `perfkit.PerfkitError`, one
    sentence with the remedy, when the file is missing, empty or no trace.
    """
    from perfkit.trace.kineto import read_kineto

    return read_kineto(fspath(path), progress)
