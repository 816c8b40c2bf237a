"""How long batches take to be made, in whichever process makes them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from perfkit.collectors.guard import attempt
from perfkit.model.capture import BatchMade

try:
    import resource
except ImportError:  # Windows counts none of this
    resource = None  # type: ignore[assignment]

Fetch = Callable[[Any, Any], Any]
IO = "/proc/self/io"
SCHEDSTAT = "/proc/thread-self/schedstat"


class KeptOpen:
    """A file of /proc about the process or thread that made this, kept open.

    It reads nothing where there is none.
    """

    def __init__(self, path: str) -> None:
        self._handle: int | None = None
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.read()
        except (OSError, AttributeError):  # not Linux, or hidden from this container
            self.close()

    def read(self) -> bytes:
        """The counters as text, in a few microseconds."""
        return b"" if self._handle is None else os.pread(self._handle, 512, 0)

    def close(self) -> None:
        """Read nothing from now on."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


class ProcessIo(KeptOpen):
    """Bytes and calls of this process's reading, and its makers' time without a core."""

    def __init__(self) -> None:
        self._delay: tuple[int, KeptOpen] | None = None
        """The thread that makes batches, and what the scheduler counts of it."""
        super().__init__(IO)

    def delay(self) -> bytes:
        """The scheduler's counts of this thread; a loader may be iterated by another one later."""
        thread = threading.get_ident()
        if self._delay is None or self._delay[0] != thread:
            self._forget()
            self._delay = thread, KeptOpen(SCHEDSTAT)
        return self._delay[1].read()

    def close(self) -> None:
        """Read nothing from now on."""
        super().close()
        self._forget()

    def _forget(self) -> None:
        if self._delay is not None:
            self._delay[1].close()
        self._delay = None


class _Began(NamedTuple):
    start_ns: int
    clock_ns: int
    cpu_ns: int
    process_cpu_ns: int
    delay: bytes
    faults: int | None
    io: bytes
    collate: _Collate


class _Collate:
    """The user's collate function, timed; stands in for it during one fetch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate
        self.took_ns: int | None = None
        self.items: int | None = None

    def __call__(self, data: Any) -> Any:
        self.items = len(data) if type(data) is list else None
        began = time.perf_counter_ns()
        try:
            return self.collate(data)
        finally:
            self.took_ns = time.perf_counter_ns() - began


class Maker:
    """Times batches of one loader in this process in full, and passes each to `record`.

    The counters are the whole process's, so that threads the dataset uses count too.
    """

    def __init__(
        self,
        loader: int,
        worker: int | None,
        record: Callable[[BatchMade], object],
        io: ProcessIo,
    ) -> None:
        self._loader, self._worker = loader, worker
        self._record = record
        self._pid = os.getpid()
        self._io = io

    def make(self, fetch: Fetch, fetcher: Any, index: Any, number: int) -> Any:
        """Batch `number` as the fetcher makes it; nothing is recorded where it raises."""
        collate = fetcher.collate_fn
        began = attempt("Timing a batch", self._begin, collate)
        if began is None:
            return fetch(fetcher, index)
        fetcher.collate_fn = began.collate
        try:
            batch = fetch(fetcher, index)
        finally:
            fetcher.collate_fn = collate
        attempt("Timing a batch", self._end, began, fetcher, index, number)
        return batch

    def _begin(self, collate: Callable[[Any], Any]) -> _Began:
        return _Began(
            collate=_Collate(collate),
            io=self._io.read(),
            faults=_major_faults(),
            delay=self._io.delay(),
            process_cpu_ns=time.process_time_ns(),
            cpu_ns=time.thread_time_ns(),
            start_ns=time.time_ns(),
            clock_ns=time.perf_counter_ns(),
        )

    def _end(self, began: _Began, fetcher: Any, index: Any, number: int) -> None:
        took_ns = time.perf_counter_ns() - began.clock_ns
        cpu_ns = time.thread_time_ns() - began.cpu_ns
        process_cpu_ns = time.process_time_ns() - began.process_cpu_ns
        faults, collate_ns = _major_faults(), began.collate.took_ns
        record = BatchMade(
            loader=self._loader,
            worker=self._worker,
            pid=self._pid,
            batch=number,
            start_ns=began.start_ns,
            fetch_us=(took_ns - (collate_ns or 0)) / 1e3,
            collate_us=None if collate_ns is None else collate_ns / 1e3,
            cpu_us=cpu_ns / 1e3,
            process_cpu_us=process_cpu_ns / 1e3,
            run_delay_us=_delay_us(began.delay, self._io.delay()),
            items=_items(fetcher, index, began.collate),
            major_faults=None if faults is None else faults - (began.faults or 0),
            **_io_between(began.io, self._io.read()),
        )
        self._record(record)


def _delay_us(before: bytes, after: bytes) -> float | None:
    """A kernel that does not count says only zeros."""
    first, second = before.split(), after.split()
    if len(first) != 3 or len(second) != 3 or not int(second[0]):
        return None
    return max(int(second[1]) - int(first[1]), 0) / 1e3


def _items(fetcher: Any, index: Any, collate: _Collate) -> int | None:
    """Samples in the batch; one where the dataset was asked for one and nothing was batched."""
    if fetcher.auto_collation:
        return collate.items
    return len(index) if isinstance(index, list | tuple) else 1


def _io_between(before: bytes, after: bytes) -> dict[str, int]:
    """read_bytes, rchar and syscr less the read that looked at them first."""
    if not before or not after:
        return {}
    first, second = before.split(), after.split()
    gained = {name: _counter(second, name) - _counter(first, name) for name in _COUNTERS}
    return {**gained, "rchar": gained["rchar"] - len(before), "syscr": gained["syscr"] - 1}


_COUNTERS = ("read_bytes", "rchar", "syscr")


def _counter(words: list[bytes], name: str) -> int:
    return int(words[words.index(b"%b:" % name.encode()) + 1])


def _major_faults() -> int | None:
    return None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_majflt
