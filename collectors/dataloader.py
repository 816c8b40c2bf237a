"""DataLoaders as the run uses them: how long it waits for batches, and how they are made.

torch's iterators are watched by replacing methods of its classes while a run collects; no loader,
dataset or sampler is touched, and neither are random numbers or the batches themselves.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from multiprocessing.sharedctypes import RawValue
from types import TracebackType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from perfkit.collectors.dataset_paths import dataset_paths
from perfkit.collectors.fetching import IO, Maker, ProcessIo
from perfkit.collectors.guard import attempt
from perfkit.collectors.loaders import Loader, Loaders, MadeBy, standing_ready
from perfkit.collectors.patches import Patches
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.collectors.storage import notice
from perfkit.collectors.worker import Flag, WorkerStart
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, Sight

Part = Literal["batch", "start", "end"]


class DataLoaders:
    """Records every loader once, every wait for a batch, and every batch where it is made.

    Workers started before `start` are not seen; those that outlive `stop` fall silent.
    """

    name = "dataloader"

    def __init__(self) -> None:
        self._patches = Patches()
        self._loaders = Loaders(self._new_loader)
        self._makers: WeakKeyDictionary[Any, Maker] = WeakKeyDictionary()
        self._run: Run | None = None
        self._records: RecordFile | None = None
        self._live: Flag | None = None
        self._io: ProcessIo | None = None
        self._owner = os.getpid()

    def sight(self) -> Sight:
        """Waits and batches; without /proc/self/io not what reading them cost."""
        has_torch = find_spec("torch") is not None
        missing = [] if has_torch else ["torch is not installed: install it to train with it."]
        sees = ["waits for batches", "fetch and collate time in each worker"]
        if os.access(IO, os.R_OK):
            sees.append("bytes and calls of reading")
        elif has_torch:
            missing.append(f"{IO} cannot be read: mount /proc and allow it in the container.")
        return Sight(
            collector=self.name, active=has_torch, sees=sees if has_torch else [], missing=missing
        )

    def start(self, run: Run) -> None:
        """Replace the methods of torch's loader classes. Loops already running are watched too."""
        from torch.utils.data import dataloader as torch_loader
        from torch.utils.data._utils import fetch as torch_fetch

        self._run, self._owner = run, os.getpid()
        self._records = run.records("dataloader")
        self._live = RawValue("b", 1)
        base, put = torch_loader._BaseDataLoaderIter, self._patches.put
        put(base, "__init__", self._around_init(base.__init__))
        put(base, "__next__", self._around_next(base.__next__))
        loader = torch_loader.DataLoader
        put(loader, "__iter__", self._around_iter(loader.__iter__))
        put(torch_loader._MultiProcessingDataLoaderIter, "_worker_init_fn", _WorkerInit(self))
        for fetcher in (torch_fetch._MapDatasetFetcher, torch_fetch._IterableDatasetFetcher):
            put(fetcher, "fetch", self._around_fetch(fetcher.fetch))

    def step(self, step: int) -> None:
        """Nothing happens here."""

    def stop(self) -> None:
        """Put torch's methods back, and tell the workers that still run."""
        if os.getpid() != self._owner:
            return
        if self._live is not None:
            self._live.value = False
        self._patches.undo()
        self._makers.clear()
        if self._io is not None:
            self._io.close()
        if self._records is not None:
            self._records.close()

    @property
    def _active(self) -> bool:
        return self._live is not None and bool(self._live.value) and os.getpid() == self._owner

    def _around_init(self, init: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        @functools.wraps(init)
        def __init__(iterator: Any, loader: Any) -> None:  # noqa: N807
            init(iterator, loader)
            if self._active:
                attempt("Watching a DataLoader", self._loaders.bind, iterator, loader)

        return __init__

    def _around_next(self, next_: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(next_)
        def __next__(iterator: Any) -> Any:  # noqa: N807
            if not self._active:
                return next_(iterator)
            with _Wait(self, iterator):
                return next_(iterator)

        return __next__

    def _around_iter(self, iter_: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(iter_)
        def __iter__(loader: Any) -> Any:  # noqa: N807
            start_ns, began_ns = time.time_ns(), time.perf_counter_ns()
            iterator = iter_(loader)
            if self._active and hasattr(iterator, "_index_sampler"):
                took_us = (time.perf_counter_ns() - began_ns) / 1e3
                attempt("Watching a DataLoader", self._started, iterator, start_ns, took_us)
            return iterator

        return __iter__

    def _around_fetch(self, fetch: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        @functools.wraps(fetch)
        def timed(fetcher: Any, possibly_batched_index: Any) -> Any:
            maker = self._makers.get(fetcher) if self._active else None
            if maker is None:
                return fetch(fetcher, possibly_batched_index)
            return maker.make(fetch, fetcher, possibly_batched_index)

        return timed

    def worker_start(self, user: Callable[[int], object] | None, iterator: Any) -> Any:
        """What a new worker of the iterator calls in place of the user's worker_init_fn."""
        if not self._active or self._run is None or self._live is None:
            return user
        loader = attempt("Watching a DataLoader", self._loaders.of, iterator)
        if loader is None:
            return user
        return WorkerStart(user, loader.number, self._run.folder, self._live, loader.asked)

    def begin(self, iterator: Any) -> tuple[Loader, AbstractContextManager[object] | None]:
        """The iterator's loader, and the run's wait, entered."""
        loader = self._loaders.of(iterator)
        fetcher = getattr(iterator, "_dataset_fetcher", None)
        if fetcher is not None and fetcher not in self._makers:
            self._io = self._io or ProcessIo()
            self._makers[fetcher] = Maker(
                loader.number, None, self.record, loader.made, self._io, loader.making_pace
            )
        wait = self._run.waiting() if self._run is not None else None
        if wait is not None:
            attempt("Marking the data wait", wait.__enter__)
        return loader, wait

    def tell(self, loader: Loader, wait: BatchWait) -> None:
        """Write a wait, and before it those held back."""
        for held in loader.take_held():
            self.record(held)
        self.record(wait)
        loader.asked += wait.part == "batch"
        loader.fresh = wait.part != "batch"

    def record(self, record: LoaderInfo | BatchWait | BatchMade) -> None:
        """Write one record."""
        if self._records is not None:
            self._records.add(record)

    def _started(self, iterator: Any, start_ns: int, took_us: float) -> None:
        loader = self._loaders.of(iterator)
        wait = BatchWait(
            loader=loader.number,
            batch=loader.asked,
            start_ns=start_ns,
            wait_us=took_us,
            part="start",
        )
        self.tell(loader, wait)

    def _new_loader(self, info: LoaderInfo, dataset: object) -> None:
        self.record(info)
        notice(dataset_paths(dataset), "dataset")


class _WorkerInit:
    """Stands in the iterators' class for their attribute `_worker_init_fn`.

    An iterator keeps the user's function; workers that it starts meanwhile get that of perfkit.
    """

    def __init__(self, collector: DataLoaders) -> None:
        self._collector = collector

    def __get__(self, iterator: Any, owner: type | None = None) -> Any:
        if iterator is None or "_worker_init_fn" not in iterator.__dict__:
            raise AttributeError("_worker_init_fn")
        return self._collector.worker_start(iterator.__dict__["_worker_init_fn"], iterator)

    def __set__(self, iterator: Any, user: Any) -> None:
        iterator.__dict__["_worker_init_fn"] = user


class _Wait:
    """One call of an iterator's `__next__`, timed; what fails in here never reaches the loop."""

    def __init__(self, collector: DataLoaders, iterator: Any) -> None:
        self._collector = collector
        self._iterator = iterator
        self._loader: Loader | None = None
        self._wait: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        attempt("Watching a DataLoader", self._begin)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ended_ns = time.perf_counter_ns()
        if self._wait is not None:
            attempt("Marking the data wait", self._wait.__exit__, kind, error, trace)
        if self._loader is not None and (kind is None or kind is StopIteration):
            took_us = (ended_ns - self._began_ns) / 1e3
            part: Part = "batch" if kind is None else "end"
            attempt("Watching a DataLoader", self._end, part, took_us, self._loader)

    def _begin(self) -> None:
        loader, self._wait = self._collector.begin(self._iterator)
        self._is_told = loader.fresh or loader.pace.is_due()
        if self._is_told:
            self._ready = standing_ready(self._iterator)
            self._made_by = MadeBy(self._iterator)
        self._start_ns, self._began_ns = time.time_ns(), time.perf_counter_ns()
        self._loader = loader

    def _end(self, part: Part, took_us: float, loader: Loader) -> None:
        if part == "batch" and not self._is_told:
            loader.held.append((self._start_ns, took_us))
            loader.asked += 1
            return
        record = BatchWait(
            loader=loader.number,
            batch=loader.asked,
            start_ns=self._start_ns,
            part=part,
            wait_us=took_us,
            ready=self._ready if self._is_told else None,
            worker=self._made_by.worker(self._iterator) if part == "batch" else None,
        )
        self._collector.tell(loader, record)
