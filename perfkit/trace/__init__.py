"""Readers: every way a run is stored becomes a `perfkit.model.trace.Trace`."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfkit.model.trace import Trace
    from perfkit.trace.source import Progress


def open_trace(path: str | PathLike[str], progress: Progress | None = None) -> Trace:
    """Read a trace: PyTorch Profiler JSON or JSON.gz (a path or any fsspec URL), or a Capture.

    Of a Capture, a folder that a recorded run has left, it is the profiled window with the most
    steps of the lowest rank. `progress` is called with (bytes read, bytes in the file). Raises
    `perfkit.PerfkitError`, one sentence with the remedy, when there is nothing to read.
    """
    from perfkit.trace.capture_folder import is_folder
    from perfkit.trace.kineto import read_kineto

    if is_folder(fspath(path)):
        from perfkit.trace.capture import open_capture

        return open_capture(fspath(path), progress).trace
    return read_kineto(fspath(path), progress)
