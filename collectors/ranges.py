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

PREFIX = "perfkit::"
_nvtx = Nvtx()
_numbers = itertools.count()
_open: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
"""What ends the ranges of the PyTorch Profiler that are open, by the number in their handle."""
Handle = tuple[int, Any]


def _look_for_torch() -> bool:
    """Whether the PyTorch Profiler runs, before torch's own answer to that is known."""
    global _profiler_runs, _enter, _exit  # noqa: PLW0603
    autograd: Any = getattr(sys.modules.get("torch"), "autograd", None)
    answer: Callable[[], bool] | None = getattr(autograd, "_profiler_enabled", None)
    if answer is None:
        return False
    # below the Python of torch.profiler.record_function: 4 us a range in place of 17
    _enter = autograd._record_function_with_args_enter
    _exit = autograd._record_function_with_args_exit
    _profiler_runs = answer
    return answer()


_profiler_runs: Callable[[], bool] = _look_for_torch
_enter: Callable[[str], Any]
_exit: Callable[[Any], None]
_NO_ERROR = (None, None, None)
_cheap: Any = None
"""torch's kind of ranges for its own operators, while phases are recorded so."""


def listening() -> bool:
    """Whether any profiler would see a range; costs a tenth of a microsecond."""
    return _profiler_runs() or _nvtx.listens


def listener() -> Callable[[], bool]:
    """What answers as `listening` does, and is torch's own function where that says it all."""
    listening()  # looks for torch
    return listening if _nvtx.listens or _profiler_runs is _look_for_torch else _profiler_runs


def open_range(name: str) -> Handle:
    """Begin a range where a profiler would see it; give what it returns to `close_range`."""
    number = next(_numbers)
    if _profiler_runs():
        _open[number] = _exit, (_enter(name),)
    return number, _nvtx.open(name) if _nvtx.listens else None


def open_phase(phase: str) -> Handle:
    """The same for the range of a phase, which begins and ends a few times a step."""
    if _cheap is None:
        return open_range(PREFIX + phase)
    number = next(_numbers)
    mark = _cheap(PREFIX + phase)
    mark.__enter__()
    _open[number] = mark.__exit__, _NO_ERROR
    return number, _nvtx.open(PREFIX + phase) if _nvtx.listens else None


def make_phases_cheap(cheap: bool) -> None:
    """Whether phases are recorded as operators are: 1 us a range.

    Only for a trace in which they become annotations again as it is written.
    """
    global _cheap  # noqa: PLW0603
    kinds = getattr(sys.modules["torch"]._C, "_profiler", None)
    _cheap = getattr(kinds, "_RecordFunctionFast", None) if cheap else None


def close_range(handle: Handle) -> None:
    """End a range, in any order with others."""
    number, nvtx = handle
    if nvtx is not None:
        _nvtx.close(nvtx)
    mark = _open.pop(number, None)
    if mark is not None:
        end, arguments = mark
        end(*arguments)


def close_all() -> None:
    """End every range in the PyTorch Profiler: one that ends under another profiler crashes torch.

    So do the program's own, made by torch's record_function, which have to be looked for among
    all objects (a tenth of a second a million). Closing such a range later does nothing more.
    """
    while _open:
        end, arguments = _open.popitem()[1]
        end(*arguments)
    kind = sys.modules["torch"].autograd.profiler.record_function
    for mark in [one for one in gc.get_referrers(kind) if type(one) is kind]:
        if getattr(mark, "record", None) is not None:
            mark.__exit__(None, None, None)


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
