"""How long batches take to be made, in whichever process makes them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from time import perf_counter_ns, thread_time_ns, time_ns
from typing import Any

from perfkit.collectors.guard import failed
from perfkit.model.capture import BatchMade

try:
    import resource
except ImportError:  # Windows counts none of this
    resource = None  # type: ignore[assignment]

_SELF = None if resource is None else resource.RUSAGE_SELF

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


class _Collate:
    """The user's collate function, timed; stands in for it during one fetch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate
        self.took_ns: int | None = None
        self.items: int | None = None

    def __call__(self, data: Any) -> Any:
        self.items = len(data) if type(data) is list else None
        began = perf_counter_ns()
        try:
            return self.collate(data)
        finally:
            self.took_ns = perf_counter_ns() - began


class Maker:
    """Times batches of one loader in this process in full, and passes each to `later`.

    The counters are the whole process's, so that threads the dataset uses count too. While a
    batch is timed they are only read: `later` gets a function that makes the record, and what
    was read.
    """

    def __init__(
        self, loader: int, worker: int | None, later: Callable[..., object], io: ProcessIo
    ) -> None:
        self._loader, self._worker = loader, worker
        self._later = later
        self._pid = os.getpid()
        self._io = io

    def make(self, fetch: Fetch, fetcher: Any, index: Any, number: int) -> Any:
        """Batch `number` as the fetcher makes it; nothing is recorded where it raises."""
        collate = fetcher.collate_fn
        timed = _Collate(collate)
        try:
            began = self._begin()
        except Exception as error:
            failed("Timing a batch", error)
            return fetch(fetcher, index)
        fetcher.collate_fn = timed
        try:
            batch = fetch(fetcher, index)
        finally:
            fetcher.collate_fn = collate
        try:
            self._later(self._made, number, timed.took_ns, began, self._end(),
                        _items(fetcher, index, timed))  # fmt: skip
        except Exception as error:
            failed("Timing a batch", error)
        return batch

    def _begin(self) -> _Readings:
        """The clock last, for reading the counters is no part of making the batch."""
        delay, usage, io = self._io.delay(), _usage(), self._io.read()
        return io, delay, usage, thread_time_ns(), time_ns(), perf_counter_ns()

    def _end(self) -> _Readings:
        """The clock first, and reads that count as such last."""
        clock_ns, cpu_ns, usage = perf_counter_ns(), thread_time_ns(), _usage()
        return self._io.read(), self._io.delay(), usage, cpu_ns, 0, clock_ns

    def _made(
        self, number: int, collate_ns: int | None, began: _Readings, end: _Readings,
        items: int | None,
    ) -> BatchMade:  # fmt: skip
        io, delay, usage, cpu_ns, start_ns, clock_ns = began
        took_ns = end[-1] - clock_ns
        return BatchMade(
            loader=self._loader,
            worker=self._worker,
            pid=self._pid,
            batch=number,
            start_ns=start_ns,
            fetch_us=(took_ns - (collate_ns or 0)) / 1e3,
            collate_us=None if collate_ns is None else collate_ns / 1e3,
            cpu_us=(end[3] - cpu_ns) / 1e3,
            process_cpu_us=_process_cpu_us(end[2]) - _process_cpu_us(usage),
            run_delay_us=_delay_us(delay, end[1]),
            items=items,
            major_faults=None if resource is None else end[2].ru_majflt - usage.ru_majflt,
            **_io_between(io, end[0]),
        )


_Readings = tuple[bytes, bytes, Any, int, int, int]
"""IO, SCHEDSTAT, the process's usage, and in ns the thread's processor time, date (0: not asked
for) and clock."""


def _usage() -> Any:
    """What the system counts of this process; without such counts its processor time (ns)."""
    return time.process_time_ns() if resource is None else resource.getrusage(_SELF)


def _process_cpu_us(usage: Any) -> float:
    if resource is None:
        return int(usage) / 1e3
    return float(round(usage.ru_utime * 1e6) + round(usage.ru_stime * 1e6))


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
