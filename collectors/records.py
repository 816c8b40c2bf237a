"""Files that a killed run leaves readable: whole lines appended, whole documents renamed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from perfkit.collectors.guard import attempt

_FLUSH_AFTER_S = 1.0
_FLUSH_AT_RECORDS = 250
_VERY_FIRST = 8
_CLOSE_NS = 30_000_000
"""Telling of a batch in full costs some 60 us, which is little of so much."""

_Later = tuple[Callable[..., msgspec.Struct], tuple[Any, ...]]
"""What makes a record, and of what."""


class RecordFile:
    """Records appended to a JSONL file, a line each; the file appears with the first one.

    Lines are written whole, many at a time, at least once a second as long as records come. They
    are made only then: one after the other that takes a third of the time each, and a step in
    which a record comes pays next to nothing. A process forked from the owner writes nothing.
    OSError, such as a full disk, comes out of `add` or `close` once; after it the file takes no
    more records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: list[msgspec.Struct | _Later] = []
        self._due = time.monotonic() + _FLUSH_AFTER_S
        self._owner = os.getpid()
        self._failed = False
        self._lock = threading.Lock()

    def add(self, record: msgspec.Struct) -> None:
        """Append one record of `perfkit.model.capture`; safe from any thread."""
        self._hold(record)

    def add_later(self, make: Callable[..., msgspec.Struct], *readings: Any) -> None:
        """The same of what `make` makes of the readings, when it is written."""
        self._hold((make, readings))

    def flush(self) -> None:
        """Write what is held back."""
        if os.getpid() != self._owner:  # before the lock, which a fork may have copied held
            self._held.clear()
            return
        with self._lock:
            lines = self._taken()
            if not self._failed:
                self._write(lines)

    close = flush

    def _hold(self, record: msgspec.Struct | _Later) -> None:
        held = self._held
        held.append(record)
        if time.monotonic() >= self._due or len(held) >= _FLUSH_AT_RECORDS:
            self.flush()

    def _taken(self) -> bytearray:
        """The lines of what is held, which other threads may add to meanwhile."""
        self._due = time.monotonic() + _FLUSH_AFTER_S
        records = self._held[:]
        del self._held[: len(records)]
        lines = bytearray()
        for one in records:
            record = attempt("A record", one[0], *one[1]) if isinstance(one, tuple) else one
            if record is not None:
                lines += msgspec.json.encode(record) + b"\n"
        return lines

    def _write(self, lines: bytearray) -> None:
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
    """Lets everything through at first, then less and less: a week-long run can carry that.

    Of the first ones the very first go through, and then those that do not follow closely; later
    ones at a rate.
    """

    def __init__(
        self, first: int = 200, per_second: float = 5.0, close_ns: int | None = None
    ) -> None:
        self._first, self._period_ns = first, round(1e9 / per_second)
        self._close_ns = _CLOSE_NS if close_ns is None else close_ns
        self._through = 0
        self.next_ns = 0
        """When the next one goes through, on the clock of `time.perf_counter_ns`."""

    @classmethod
    def after(cls, seen: int) -> Pace:
        """The pace of something of which so many have gone through before."""
        pace = cls()
        pace._through = seen
        return pace

    def is_due(self) -> bool:
        """Whether this one goes through."""
        now = time.perf_counter_ns()
        if now < self.next_ns:
            return False
        self._through += 1
        if self._through >= _VERY_FIRST:
            self.next_ns = now + (
                self._close_ns if self._through < self._first else self._period_ns
            )
        return True


def write_document(path: Path, document: msgspec.Struct) -> None:
    """Write a JSON document so that a reader finds the old one or the new one, never half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
