"""What memory and threads a DataLoader's worker has, looked at ever more rarely."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from perfkit.collectors import limits
from perfkit.model.capture import WorkerState

FIRST_GAP_S = 1.0
MOST_S = 0.2
"""Reading the table of pages may take so long once; after that it is not read again."""
_ROLLUP = Path("/proc/self/smaps_rollup")
_TASKS = Path("/proc/self/task")
_KILOBYTES = re.compile(r"^(Anonymous|Private_Dirty):\s+(\d+) kB", re.MULTILINE)


class States:
    """States of this process: at once, then after a second, and after twice the time each time.

    Made on the thread that makes batches, whose number of operator threads is its own.
    """

    def __init__(self, loader: int, worker: int) -> None:
        self._loader, self._worker = loader, worker
        self._torch_threads = _torch_threads()
        self._memory_bytes = memory_bytes()
        self._gap_s = FIRST_GAP_S
        self._next_s = 0.0
        self._weighs = True

    def due(self) -> WorkerState | None:
        """The state now, if it is time for one."""
        now = time.monotonic()
        if now < self._next_s:
            return None
        self._next_s, self._gap_s = now + self._gap_s, 2 * self._gap_s
        pages = _pages() if self._weighs else {}
        self._weighs = self._weighs and time.monotonic() - now < MOST_S
        return WorkerState(
            loader=self._loader,
            worker=self._worker,
            pid=os.getpid(),
            t_ns=time.time_ns(),
            anonymous_bytes=pages.get("Anonymous"),
            private_bytes=pages.get("Private_Dirty"),
            threads=_threads(),
            torch_threads=self._torch_threads,
            memory_bytes=self._memory_bytes,
        )


def _pages() -> dict[str, int]:
    """Bytes by kind; empty where the system does not tell (before Linux 4.14, or no /proc)."""
    try:
        text = _ROLLUP.read_text()
    except OSError:
        return {}
    return {name: int(number) * 1024 for name, number in _KILOBYTES.findall(text)}


def _threads() -> int | None:
    with suppress(OSError):
        return len(os.listdir(_TASKS))  # noqa: PTH208 (only their number)
    return None


def _torch_threads() -> int | None:
    import torch

    return torch.get_num_threads()


def memory_bytes() -> int | None:
    """What this job may use: of its control group, or all of the machine's."""
    limit, machine = limits.memory_limit_bytes(), None
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    known = [size for size in (limit, machine) if size]
    return min(known, default=None)
