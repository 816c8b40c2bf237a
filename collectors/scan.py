"""A short look at what lies in folders."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SCAN_ENTRIES = 2000
SCAN_S = 0.05


def seen(paths: Sequence[str]) -> tuple[int, int, bool, str | None]:
    """(files, their bytes, whether there are more, the largest one) in and below the paths.

    Ends after SCAN_ENTRIES entries or SCAN_S seconds, unless the file system hangs.
    """
    deadline = time.monotonic() + SCAN_S
    count, total, largest = 0, 0, (-1, "")
    for entries, (path, facts) in enumerate(_walk(paths)):
        if entries >= SCAN_ENTRIES or time.monotonic() > deadline:
            return count, total, True, largest[1] or None
        if stat.S_ISREG(facts.st_mode):
            count, total = count + 1, total + facts.st_size
            largest = max(largest, (facts.st_size, path))
    return count, total, False, largest[1] or None


def _walk(paths: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in and below the paths, breadth first; what cannot be read is passed over."""
    folders = list(dict.fromkeys(paths))
    for folder in folders:
        try:
            facts = Path(folder).stat()
            if not stat.S_ISDIR(facts.st_mode):
                yield folder, facts
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    yield entry.path, entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue
