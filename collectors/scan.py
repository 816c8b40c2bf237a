"""A short look at what lies in folders."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SCAN_ENTRIES = 2000
SCAN_S = 0.05
_MOST_TYPES = 5


@dataclass
class Seen:
    """Files in and below some paths; `partial` where there are more."""

    files: int = 0
    bytes: int = 0
    partial: bool = False
    largest: str | None = None
    largest_bytes: int = 0
    types: Counter[str] = field(default_factory=Counter)
    """By the end of their names, such as .jpg."""

    def add(self, path: str, size: int) -> None:
        """One more file."""
        self.files, self.bytes = self.files + 1, self.bytes + size
        if self.largest is None or size > self.largest_bytes:
            self.largest, self.largest_bytes = path, size
        self.types[os.path.splitext(path)[1].lower()] += 1  # noqa: PTH122 (there are many)

    @property
    def file_types(self) -> dict[str, int]:
        """The most frequent types."""
        return dict(self.types.most_common(_MOST_TYPES))


def seen(paths: Sequence[str]) -> Seen:
    """What is there, after SCAN_ENTRIES entries or SCAN_S seconds, unless the file system hangs."""
    deadline = time.monotonic() + SCAN_S
    found = Seen()
    for entries, (path, facts) in enumerate(_walk(paths)):
        if entries >= SCAN_ENTRIES or time.monotonic() > deadline:
            found.partial = True
            return found
        if stat.S_ISREG(facts.st_mode):
            found.add(path, facts.st_size)
    return found


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
