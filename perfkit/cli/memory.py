"""A process that ends after one report: how numpy and malloc serve it best."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from perfkit.trace.garbage import collector_off

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_LARGEST_KEPT = 32 << 20  # the most that glibc takes
_MOST_KEPT = 256 << 20
_NUMPY = {
    "OPENBLAS_NUM_THREADS": "1",  # threads that nothing is given to would spin
    "NUMPY_MADVISE_HUGEPAGE": "0",  # arrays live too short to make up for clearing 2 MB at a time
}


@contextmanager
def one_report() -> Iterator[None]:
    """Around a command that makes a report; the end of the process frees all at once."""
    for name, value in _NUMPY.items():
        os.environ.setdefault(name, value)
    _keep_freed_memory()
    with collector_off():
        yield
    gc.freeze()  # else the interpreter looks through everything once more when it ends


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of one array for the next: fresh pages cost a fault each.

    Other C libraries have no such setting, and go on as they do.
    """
    import ctypes

    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_ARENA_MAX, 1)  # what one thread frees is for all
