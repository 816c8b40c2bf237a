"""Pieces of a file that are named by one process and read by the one that works on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfkit.errors import PerfkitError


@dataclass(frozen=True, slots=True)
class Stretch:
    """The text of a plain file on a disk from byte `start` to byte `stop`."""

    path: str
    start: int
    stop: int

    def text(self) -> bytes:
        """The text, shorter where the file has shrunk; raises PerfkitError if it cannot be read."""
        try:
            with Path(self.path).open("rb", buffering=0) as file:
                file.seek(self.start)
                return file.read(self.stop - self.start)
        except OSError as error:
            raise PerfkitError(
                f"Reading {self.path} failed ({error}): copy it to a local disk."
            ) from error


def text_of(block: bytes | Stretch) -> bytes:
    """The text of a block, wherever it is."""
    return block if isinstance(block, bytes) else block.text()
