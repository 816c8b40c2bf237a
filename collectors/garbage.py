"""Python's garbage collector: how long it holds the training thread."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.model.capture import Collection, Sight

_SHORTEST_NS = 1_000_000
_MOST_HELD = 10_000


class Garbage:
    """Records each collection on the training thread that took a millisecond or more.

    The hook runs inside the collector, so it only keeps two numbers; `tick` writes them.
    """

    name = "garbage"

    def __init__(self) -> None:
        self._records: RecordFile | None = None
        self._thread = 0
        self._began_ns = 0
        self._held: list[tuple[int, int, int]] = []
        """End, duration (ns) and generation of what is not written yet."""

    def sight(self) -> Sight:
        """CPython tells of its collections."""
        if not hasattr(gc, "callbacks"):
            missing = ["This Python does not tell of its collections: use CPython."]
            return Sight(collector=self.name, active=False, missing=missing)
        sees = ["collections of a millisecond or more", *([] if gc.isenabled() else ["gc is off"])]
        return Sight(collector=self.name, active=True, sees=sees)

    def start(self, run: Run) -> None:
        """Listen, to the thread that calls this."""
        self._records, self._thread = run.records("garbage"), threading.get_ident()
        gc.callbacks.append(self._hear)

    def tick(self) -> None:
        """Write what was heard; the thread that calls this is the training thread."""
        self._thread = threading.get_ident()
        if self._held:
            self._write()

    def stop(self) -> None:
        """Stop listening."""
        if self._hear in gc.callbacks:
            gc.callbacks.remove(self._hear)
        self._write()
        if self._records is not None:
            self._records.close()

    def _hear(self, phase: str, info: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        now = time.perf_counter_ns()
        if phase == "start":
            self._began_ns = now
            return
        took, self._began_ns = now - self._began_ns, now
        if took >= _SHORTEST_NS and took != now and len(self._held) < _MOST_HELD:
            self._held.append((time.time_ns(), took, info["generation"]))

    def _write(self) -> None:
        held, self._held = self._held, []
        for end_ns, took_ns, generation in held:
            record = Collection(
                start_ns=end_ns - took_ns, dur_us=took_ns / 1000, generation=generation
            )
            if self._records is not None:
                self._records.add(record)
