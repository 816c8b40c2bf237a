"""Files that a killed run leaves readable: whole lines appended, whole documents renamed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec

_FLUSH_AFTER_S = 1.0
_FLUSH_AT_BYTES = 64_000


class RecordFile:
    """Records appended to a JSONL file, a line each; the file appears with the first one.

    Lines are written whole, many at a time, at least once a second as long as records come. A
    process forked from the owner writes nothing. OSError, such as a full disk, comes out of `add`
    or `close` once; after it the file takes no more records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = bytearray()
        self._written = time.monotonic()
        self._owner = os.getpid()
        self._failed = False
        self._lock = threading.Lock()

    def add(self, record: msgspec.Struct) -> None:
        """Append one record of `perfkit.model.capture`; safe from any thread."""
        if os.getpid() != self._owner:  # before the lock, which a fork may have copied held
            return
        with self._lock:
            if self._failed:
                return
            self._lines += msgspec.json.encode(record) + b"\n"
            late = time.monotonic() - self._written > _FLUSH_AFTER_S
            if late or len(self._lines) >= _FLUSH_AT_BYTES:
                self._flush()

    def flush(self) -> None:
        """Write what is held back."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            if not self._failed:
                self._flush()

    close = flush

    def _flush(self) -> None:
        lines, self._lines, self._written = self._lines, bytearray(), time.monotonic()
        if not lines:
            return
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _write_all(handle, lines)
            finally:
                os.close(handle)
        except OSError:
            self._failed = True
            raise


def _write_all(handle: int, lines: bytearray) -> None:
    """All of it or, on a full disk, nothing: half a line would spoil the next one's."""
    before = os.fstat(handle).st_size
    view = memoryview(lines)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError:
        os.ftruncate(handle, before)
        raise


class Pace:
    """Lets everything through at first, then so much a second: a week-long run can carry that."""

    def __init__(self, first: int = 200, per_second: float = 5.0) -> None:
        self._left = first
        self._period_ns = round(1e9 / per_second)
        self._next_ns = 0

    @classmethod
    def after(cls, seen: int) -> Pace:
        """The pace of something of which so many have gone through before."""
        pace = cls()
        pace._left = max(pace._left - seen, 0)
        return pace

    def is_due(self) -> bool:
        """Whether this one goes through."""
        if self._left > 0:
            self._left -= 1
            return True
        now = time.perf_counter_ns()
        if now < self._next_ns:
            return False
        self._next_ns = now + self._period_ns
        return True


def write_document(path: Path, document: msgspec.Struct) -> None:
    """Write a JSON document so that a reader finds the old one or the new one, never half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
