"""Checkpoints: how long the run is held while they are written, and how large they are."""

from __future__ import annotations

import functools
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from perfkit.collectors.checkpoint_calls import CALLS, Call, path_of
from perfkit.collectors.guard import attempt
from perfkit.collectors.patches import Patches
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.collectors.storage import notice
from perfkit.model.capture import CheckpointWrite, Sight

RANGE = "perfkit::checkpoint"


@dataclass(eq=False)
class _Written:
    """A checkpoint that is being written, or was."""

    call: str
    step: int | None
    start_ns: int
    began_ns: int
    is_blocking: bool
    """Whether the training thread writes it, or waits for others to."""
    blocking_us: float = 0.0
    path: str | None = None
    file: io.IOBase | None = None
    at: int | None = None
    """Where the file stood before."""
    future: Future[Any] | None = None


class Checkpoints:
    """Records every outermost call of `torch.save` and its like that returns.

    A name bound before `start` by `from torch import save` is not seen. Libraries that are
    imported later are hooked at the end of a step: at once, as it takes so long to import one.
    """

    name = "checkpoints"

    def __init__(self) -> None:
        self._patches = Patches()
        self._replaced: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._hooked: set[tuple[Any, str]] = set()
        self._seen_modules = 0
        """How many were imported when functions were last looked for."""
        self._records: RecordFile | None = None
        self._rank = 0
        self._running_step: Callable[[], int | None] = lambda: None
        self._active = False
        self._owner = os.getpid()
        self._thread = threading.get_ident()
        self._inside = threading.local()
        self._open = 0
        self._pending: set[_Written] = set()
        self._lock = threading.Lock()
        self._ending = threading.Lock()

    def sight(self) -> Sight:
        """The functions that are there to be watched."""
        sees = [call.name for call in CALLS if find_spec(call.name.split(".")[0])]
        missing = [] if sees else ["torch is not installed: install it to train with it."]
        return Sight(collector=self.name, active=bool(sees), sees=sees, missing=missing)

    def start(self, run: Run) -> None:
        """Hook the functions whose modules are imported by now."""
        self._owner, self._thread = os.getpid(), threading.get_ident()
        self._records, self._rank = run.records("checkpoints"), run.rank
        self._running_step = run.running_step
        self._active = True
        self._hook()

    def step(self, step: int) -> float:
        """Hook what was imported since."""
        if len(sys.modules) != self._seen_modules:
            self._hook()
        return inf

    def tick(self) -> None:
        """Hook modules that took another's place, or that a thread was still importing."""
        self._thread = threading.get_ident()
        self._hook()

    def stop(self) -> None:
        """Put the functions back; writes that still go on are recorded as unfinished."""
        if os.getpid() != self._owner:
            return
        self._active = False
        self._patches.undo()
        for written in tuple(self._pending):
            unfinished = written.future is not None and not written.future.done()
            attempt("Recording a checkpoint", self._done, written, unfinished)
        if self._records is not None:
            self._records.close()

    def _hook(self) -> None:
        self._seen_modules = len(sys.modules)
        for call in CALLS:
            for module_name in call.modules:
                module = sys.modules.get(module_name)
                if module is not None and (module, call.attribute) not in self._hooked:
                    self._put(call, module)

    def _put(self, call: Call, module: Any) -> None:
        function = vars(module).get(call.attribute)
        if function is None:  # still being imported, or a torch without it
            return
        self._hooked.add((module, call.attribute))
        if function not in self._replaced:
            self._replaced[function] = self._around(call, function)
        self._patches.put(module, call.attribute, self._replaced[function])

    def _around(self, call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def save(*args: Any, **kwargs: Any) -> Any:
            if not self._counts():
                return function(*args, **kwargs)
            written = attempt("Timing a checkpoint", self._begin, call, args, kwargs)
            with self._marked():
                result = function(*args, **kwargs)
                if written is not None:
                    attempt("Recording a checkpoint", self._returned, written, result)
            return result

        return save

    def _counts(self) -> bool:
        """Whether a call is the run's own, and not made by one that already counts.

        Those write with threads of theirs, also after they returned; a save on the training
        thread meanwhile is the run's.
        """
        if not self._active or os.getpid() != self._owner or getattr(self._inside, "save", False):
            return False
        return threading.get_ident() == self._thread or not (self._open or self._pending)

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """A checkpoint is being written by this thread: nothing inside counts."""
        self._inside.save = True
        with self._lock:
            self._open += 1
        mark = attempt("Marking a checkpoint", _open_range)
        try:
            yield
        finally:
            if mark is not None:
                attempt("Marking a checkpoint", mark.__exit__, None, None, None)
            with self._lock:
                self._open -= 1
            self._inside.save = False

    def _begin(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Written:
        target = call.target(args, kwargs)
        return _Written(
            call=call.name,
            step=self._running_step(),
            path=path_of(target),
            at=target.tell() if isinstance(target, io.IOBase) and target.seekable() else None,
            file=target if isinstance(target, io.IOBase) else None,
            start_ns=time.time_ns(),
            began_ns=time.perf_counter_ns(),
            is_blocking=threading.get_ident() == self._thread,
        )

    def _returned(self, written: _Written, result: Any) -> None:
        """The call is over; what it left to the background is not, until its future is done."""
        took_us = (time.perf_counter_ns() - written.began_ns) / 1e3
        written.blocking_us = took_us if written.is_blocking else 0.0
        future = getattr(result, "upload_completion", result)
        if not isinstance(future, Future):
            self._record(written, took_us)
            return
        written.future = future
        self._pending.add(written)
        future.add_done_callback(lambda _: attempt("Recording a checkpoint", self._done, written))

    def _done(self, written: _Written, unfinished: bool = False) -> None:
        """Record a write in the background, once: by its own thread, or by `stop`."""
        took_us = (time.perf_counter_ns() - written.began_ns) / 1e3
        with self._ending:
            ours = written in self._pending and os.getpid() == self._owner
            if ours and (unfinished or _succeeded(written.future)):
                self._record(written, took_us, unfinished)
            self._pending.discard(written)

    def _record(self, written: _Written, took_us: float, unfinished: bool = False) -> None:
        record = CheckpointWrite(
            start_ns=written.start_ns,
            dur_us=took_us,
            blocking_us=written.blocking_us,
            call=written.call,
            path=written.path,
            bytes=None if unfinished else self._size(written),
            step=written.step,
            unfinished=unfinished,
        )
        written.file = None
        if self._records is not None:
            self._records.add(record)
            self._records.flush()  # they are few, and a run may be killed right after one
        if written.path is not None:
            notice([os.path.dirname(os.path.abspath(written.path))], "checkpoint")  # noqa: PTH100, PTH120

    def _size(self, written: _Written) -> int | None:
        """Bytes written: the file's, or of a folder this rank's files."""
        if written.file is not None:
            return None if written.at is None else written.file.tell() - written.at
        if written.path is None:
            return None
        path = Path(written.path)
        if path.is_file():
            return path.stat().st_size
        sizes = [file.stat().st_size for file in path.glob(f"__{self._rank}_*.distcp")]
        return sum(sizes) if sizes else None


def _succeeded(future: Future[Any] | None) -> bool:
    return future is not None and not future.cancelled() and future.exception() is None


def _open_range() -> AbstractContextManager[Any]:
    from torch.profiler import record_function

    mark: AbstractContextManager[Any] = record_function(RANGE)
    mark.__enter__()
    return mark
