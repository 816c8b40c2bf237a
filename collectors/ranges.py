"""Named ranges that the PyTorch Profiler and Nsight Systems show alike."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from perfkit.collectors.guard import attempt, disabled
from perfkit.collectors.nvtx_ranges import Nvtx

_nvtx = Nvtx()
_numbers = itertools.count()
_open: dict[int, Any] = {}
"""Ranges of the PyTorch Profiler that are open, by the number in their handle."""
Handle = tuple[int, Any]


def _look_for_torch() -> bool:
    """Whether the PyTorch Profiler runs, before torch's own answer to that is known."""
    global _profiler_runs  # noqa: PLW0603
    autograd = getattr(sys.modules.get("torch"), "autograd", None)
    answer: Callable[[], bool] | None = getattr(autograd, "_profiler_enabled", None)
    if answer is None:
        return False
    _profiler_runs = answer
    return answer()


_profiler_runs: Callable[[], bool] = _look_for_torch


def listening() -> bool:
    """Whether any profiler would see a range; costs a tenth of a microsecond."""
    return _profiler_runs() or _nvtx.listens


def open_range(name: str) -> Handle:
    """Begin a range where a profiler would see it; give what it returns to `close_range`."""
    number = next(_numbers)
    if _profiler_runs():
        _open[number] = _torch()._record_function_with_args_enter(name)
    return number, _nvtx.open(name)


def close_range(handle: Handle) -> None:
    """End a range, in any order with others."""
    number, nvtx = handle
    _nvtx.close(nvtx)
    record = _open.pop(number, None)
    if record is not None:
        _torch()._record_function_with_args_exit(record)


def close_all() -> None:
    """End every range in the PyTorch Profiler: one that ends under another profiler crashes torch.

    So do the program's own, made by torch's record_function, which have to be looked for among
    all objects (a tenth of a second a million). Closing such a range later does nothing more.
    """
    while _open:
        _torch()._record_function_with_args_exit(_open.popitem()[1])
    kind = _torch().profiler.record_function
    for mark in [one for one in gc.get_referrers(kind) if type(one) is kind]:
        if getattr(mark, "record", None) is not None:
            mark.__exit__(None, None, None)


def _torch() -> Any:
    """What torch.profiler.record_function calls below its Python: 2 us a range in place of 9."""
    return sys.modules["torch"].autograd


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
