"""Child interpreters that decode blocks beside this process, for files worth the start of one.

Decoding makes Python objects, so threads would not help. Children neither fork a process that may
hold threads or a GPU, nor import the caller's main module.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST = 3
_LARGE_BYTES, _LARGE_GZIP_BYTES = 64 << 20, 4 << 20
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # its threads only get in the way
    # glibc keeps the memory of a block for the next one, as fresh pages cost much.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
_PROGRAM = "import sys; sys.path[:] = {path!r}; from perfkit.trace.helpers import serve; serve()"

_early: list[subprocess.Popen[bytes]] = []
"""Started, and not taken yet."""
_lock = threading.Lock()


@contextmanager
def started_early(path: str) -> Iterator[None]:
    """Within, the children for a large file are there: they import while this process does."""
    started = _new() if _is_large(path) else []
    with _lock:
        _early.extend(started)
    try:
        yield
    finally:
        for child in _taken(started):
            with child:
                child.kill()


def children() -> list[subprocess.Popen[bytes]]:
    """One for each other core, but three at most; the caller ends them."""
    return _taken(_early) or _new()


def _taken(wanted: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    """Those that nobody has taken yet, and now the caller has."""
    with _lock:
        found = [child for child in wanted if child in _early]
        _early[:] = [child for child in _early if child not in found]
    return found


def _new() -> list[subprocess.Popen[bytes]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = min((cores or 1) - 1, _MOST) if sys.executable else 0
    try:
        return [_start() for _ in range(wanted)]
    except OSError:  # no room for another process: this one does it all
        return []


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )


def _is_large(path: str) -> bool:
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):  # an address, or nothing that can be read: others say so
        return False
    return size >= (_LARGE_GZIP_BYTES if path.endswith(".gz") else _LARGE_BYTES)
