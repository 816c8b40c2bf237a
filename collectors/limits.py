"""What this process may use of its machine: cores and memory, by affinity and control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""Bytes: control groups of version 1 write a number near 2**63 for "none"."""


def cores() -> int | None:
    """Cores this process may run on: of its affinity, and of the time its group may use."""
    known = [cores_by_affinity(), cores_by_quota()]
    counts = [math.ceil(count) for count in known if count is not None]
    return max(min(counts), 1) if counts else None


def cores_by_affinity() -> int | None:
    """Cores the scheduler may put it on; all of the machine where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        with suppress(OSError):
            return len(os.sched_getaffinity(0))
    return os.cpu_count()


def cores_by_quota() -> float | None:
    """Processor seconds it may use a second, as control groups say; None without a limit."""
    found = []
    for folder in _groups("cpu"):
        text = _text(folder / "cpu.max") or " ".join(
            _text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")
        )
        numbers = [float(part) for part in text.split() if part.lstrip("-").isdigit()]
        if len(numbers) == 2 and min(numbers) > 0:
            found.append(numbers[0] / numbers[1])
    return min(found, default=None)


def memory_limit_bytes() -> int | None:
    """Bytes of memory at which its control group is out of memory; None without a limit."""
    found = []
    for folder in _groups("memory"):
        text = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes") or ""
        if text.isdigit() and 0 < int(text) < _NO_LIMIT:
            found.append(int(text))
    return min(found, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's groups and of those around it, of both versions."""
    for line in (_text(_CGROUPS) or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        mounted = _mounted(controllers, controller)
        if mounted is None:
            continue
        own = mounted / path.lstrip("/")
        # a container may see its own group as the root of what is mounted
        for folder in (own, *own.parents):
            if folder.is_relative_to(mounted):
                yield folder


def _mounted(controllers: str, controller: str) -> Path | None:
    """Where a hierarchy is mounted that may hold this controller."""
    if not controllers:
        unified = _ROOT / "unified"
        return unified if unified.is_dir() else _ROOT
    if controller not in controllers.split(","):
        return None
    joined = _ROOT / controllers
    return joined if joined.is_dir() else _ROOT / controller


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None
