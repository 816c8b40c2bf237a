"""Named ranges that the PyTorch Profiler and Nsight Systems show alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from perfkit.collectors.guard import attempt, disabled
from perfkit.collectors.nvtx_ranges import Nvtx

_nvtx = Nvtx()
_open: dict[int, Any] = {}
"""Ranges of the PyTorch Profiler that are open, by the number in their handle."""
Handle = tuple[int, Any]


@cache
def _torch_records() -> Callable[[], bool]:
    """What tells whether the PyTorch Profiler runs, once torch has been imported."""
    tells: Callable[[], bool] = sys.modules["torch"].autograd._profiler_enabled
    return tells


def listening() -> bool:
    """Whether any profiler would see a range; cheaper than opening one."""
    return ("torch" in sys.modules and _torch_records()()) or _nvtx.listens


def open_range(name: str) -> Handle:
    """Begin a range where a profiler would see it; give what it returns to `close_range`."""
    record = _record_function(name)
    if record is not None:
        _open[id(record)] = record
    return id(record), _nvtx.open(name)


def close_range(handle: Handle) -> None:
    """End a range, in any order with others."""
    number, nvtx = handle
    _nvtx.close(nvtx)
    record = _open.pop(number, None)
    if record is not None:
        record.__exit__(None, None, None)


def close_all() -> None:
    """End every range in the PyTorch Profiler: one that ends under another profiler crashes torch.

    Closing such a range later does nothing more.
    """
    while _open:
        _open.popitem()[1].__exit__(None, None, None)


def _record_function(name: str) -> Any:
    """A range of the PyTorch Profiler, or None while it does not run."""
    if "torch" not in sys.modules or not _torch_records()():
        return None
    record = sys.modules["torch"].autograd.profiler.record_function(name)
    record.__enter__()
    return record


@contextmanager
def annotate(name: str) -> Generator[None]:
    """Mark a part of the program by name, as a context manager or a decorator.

    PyTorch Profiler traces and Nsight Systems (NVTX) show it. Costs about a microsecond while no
    profiler runs, and nothing is marked where PERFKIT_DISABLE=1.
    """
    handle = None if disabled() else attempt("Marking a range", open_range, name)
    try:
        yield
    finally:
        if handle is not None:
            attempt("Marking a range", close_range, handle)
