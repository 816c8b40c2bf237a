"""DataLoaders as the run uses them: how long it waits for batches, and how they are made.

torch's iterators are watched by replacing methods of its classes while a run collects; no loader,
dataset or sampler is touched, and neither are random numbers or the batches themselves.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from math import inf
from multiprocessing.sharedctypes import RawValue
from time import perf_counter_ns
from types import MethodType
from typing import Any, Literal, NamedTuple
from weakref import ref

from perfkit.collectors.dataset_paths import dataset_paths
from perfkit.collectors.fetching import IO, Maker, ProcessIo
from perfkit.collectors.guard import attempt, guarded
from perfkit.collectors.loaders import Loader, Loaders, MadeBy, early_batches, standing_ready
from perfkit.collectors.patches import Patches
from perfkit.collectors.protocol import Run, Unwatched, unwatched
from perfkit.collectors.ranges import listener
from perfkit.collectors.records import RecordFile
from perfkit.collectors.storage import notice
from perfkit.collectors.worker import Flag, WorkerStart
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, Sight

Part = Literal["batch", "start", "end"]


class _Look(NamedTuple):
    """What was seen of an iterator as it was asked for a batch."""

    ready: int | None
    made_by: MadeBy | None
    """None where no worker makes batches."""
    fetcher: Any = None
    """What makes them in this process, and is timed."""


_NOBODY: tuple[Callable[[], Any], Loader | None] = (lambda: None, None)


class DataLoaders:
    """Records every loader once, every wait for a batch, and every batch where it is made.

    A loader's first batches are told of in full, later ones at a pace; the waits between those
    are summed up. Workers started before `start` are not seen; those that outlive `stop` fall
    silent.
    """

    name = "dataloader"

    def __init__(self) -> None:
        self.active = False
        """Whether this process records; a forked child does not."""
        self._patches = Patches()
        self._loaders = Loaders(self._new_loader)
        self._last = _NOBODY
        """The iterator that was asked last, held weakly, and its loader."""
        self._run: Run | None = None
        self._records: RecordFile | None = None
        self._live: Flag | None = None
        self._io: ProcessIo | None = None
        self._owner = os.getpid()
        self._profiler_runs: Callable[[], bool] = bool
        self._profiled = False
        """Whether a profiler ran as the last step ended."""

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

        self._run, self._owner, self._profiler_runs = run, os.getpid(), listener()
        self._records = run.records("dataloader")
        self._live = RawValue("b", 1)
        self.active = True
        _running.append(self)
        base, put = torch_loader._BaseDataLoaderIter, self._patches.put
        put(base, "__init__", self._around_init(base.__init__))
        put(base, "__next__", self._around_next(base.__next__, run))
        run.unwatched.append(functools.partial(self._unwatched, base.__next__))
        loader = torch_loader.DataLoader
        put(loader, "__iter__", self._around_iter(loader.__iter__))
        put(torch_loader._MultiProcessingDataLoaderIter, "_worker_init_fn", _WorkerInit(self))

    def step(self, step: int) -> float:
        """A profiled window needs a wait that is told of in full, to know its batches by."""
        records = self._profiler_runs()
        if records and not self._profiled:
            for loader in self._loaders.known:
                loader.tell_next()
        self._profiled = records
        return inf

    def stop(self) -> None:
        """Put torch's methods back, and tell the workers that still run."""
        if os.getpid() != self._owner:
            return
        self.silence()
        if self in _running:
            _running.remove(self)
        if self._live is not None:
            self._live.value = False
        self._patches.undo()
        if self._io is not None:
            self._io.close()
        if self._records is not None:
            for loader in self._loaders.known:
                self._tell_held(loader)
            self._records.close()

    def silence(self) -> None:
        """Record nothing from here on."""
        self.active, self._last = False, _NOBODY

    def _around_init(self, init: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        @functools.wraps(init)
        def __init__(iterator: Any, loader: Any) -> None:  # noqa: N807
            init(iterator, loader)
            if self.active:
                attempt("Watching a DataLoader", self._loaders.bind, iterator, loader)

        return __init__

    def _around_next(self, next_: Callable[[Any], Any], run: Run) -> Callable[[Any], Any]:
        begin_wait, end_wait, wait = run.begin_wait, run.end_wait, run.wait

        @functools.wraps(next_)
        def __next__(iterator: Any) -> Any:  # noqa: N807
            last, loader = self._last
            if last() is not iterator:
                loader = self._loader_of(iterator)
            if loader is None:
                return next_(iterator)
            began_ns = perf_counter_ns()
            rests = began_ns < loader.rests_until_ns
            look = None if rests or not loader.is_due() else self._look(iterator, loader)
            outermost = not wait.is_on and begin_wait()
            if outermost or not rests:  # a step may have ended meanwhile
                began_ns = perf_counter_ns()
            part: Part | None = None
            try:
                batch = next_(iterator)
                part = "batch"
            except StopIteration:
                part = "end"
                raise
            finally:
                took_ns = perf_counter_ns() - began_ns
                if outermost:
                    end_wait(part == "batch")
                if look is None and part == "batch":
                    loader.hold(1, took_ns, began_ns)
                else:
                    self._asked(iterator, loader, look, part, took_ns)
            return batch

        return __next__

    def _unwatched(self, next_: Any, iterator: Any) -> Unwatched | None:
        """While no batch of the iterator is to be told of in full; `next_` is ours.

        Where somebody else has replaced that since, they are to be called.
        """
        last, loader = self._last
        if last() is not iterator or loader is None or type(iterator).__next__ is not next_:
            return None
        if perf_counter_ns() >= loader.rests_until_ns:
            return unwatched(iterator)._replace(until_ns=0)
        tell = functools.partial(self._told, iterator, loader)
        return Unwatched(MethodType(next_.__wrapped__, iterator), loader.rests_until_ns, tell)

    @guarded("Watching a DataLoader")
    def _told(
        self,
        iterator: Any,
        loader: Loader,
        batches: int,
        took_ns: int,
        began_ns: int,
        end_ns: int | None,
    ) -> None:
        """Of waits that nobody has watched."""
        if not self.active:
            return
        if batches:
            loader.hold(batches, took_ns, began_ns)
        if end_ns is not None:
            self._asked(iterator, loader, None, "end", end_ns)

    def _around_iter(self, iter_: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(iter_)
        def __iter__(loader: Any) -> Any:  # noqa: N807
            start_ns, began_ns = time.time_ns(), perf_counter_ns()
            iterator = iter_(loader)
            if self.active and hasattr(iterator, "_index_sampler"):
                took_us = (perf_counter_ns() - began_ns) / 1e3
                attempt("Watching a DataLoader", self._started, iterator, start_ns, took_us)
            return iterator

        return __iter__

    def worker_start(self, user: Callable[[int], object] | None, iterator: Any) -> Any:
        """What a new worker of the iterator calls in place of the user's worker_init_fn."""
        if not self.active or self._run is None or self._live is None:
            return user
        loader = attempt("Watching a DataLoader", self._loaders.of, iterator)
        if loader is None:
            return user
        return WorkerStart(user, loader.number, self._run.folder, self._live, loader.asked)

    def _loader_of(self, iterator: Any) -> Loader | None:
        if not self.active:
            return None
        loader = attempt("Watching a DataLoader", self._loaders.of, iterator)
        self._last = (ref(iterator), loader)
        return loader

    @guarded("Watching a DataLoader")
    def _look(self, iterator: Any, loader: Loader) -> _Look:
        """Just before a batch is asked for that is to be told of in full."""
        fetcher, ready = getattr(iterator, "_dataset_fetcher", None), standing_ready(iterator)
        if fetcher is None:
            return _Look(ready, MadeBy(iterator))
        self._time_next(fetcher, loader)
        return _Look(ready, None, fetcher)

    def _time_next(self, fetcher: Any, loader: Loader) -> None:
        """Until it is called, a function of ours stands before the fetcher's own."""
        if loader.maker is None and self._records is not None:
            self._io = self._io or ProcessIo()
            loader.maker = Maker(loader.number, None, self._records.add_later, self._io)
        maker, own = loader.maker, fetcher.__dict__
        if maker is None or "fetch" in own:
            return

        def timed(index: Any) -> Any:
            own.pop("fetch", None)
            return maker.make(type(fetcher).fetch, fetcher, index, loader.asked)

        own["fetch"] = timed

    @guarded("Watching a DataLoader")
    def _asked(
        self, iterator: Any, loader: Loader, look: _Look | None, part: Part | None, took_ns: int
    ) -> None:
        """The answer is there, or an error (None); an error leaves no record."""
        if look is not None and look.fetcher is not None:
            look.fetcher.__dict__.pop("fetch", None)
        if part is None:
            return
        made_by = look.made_by if look is not None and part == "batch" else None
        wait = BatchWait(
            loader=loader.number,
            batch=loader.asked,
            start_ns=time.time_ns() - took_ns,
            part=part,
            wait_us=took_ns / 1e3,
            ready=look and look.ready,
            early=early_batches(iterator) if made_by else None,
            worker=made_by.worker(iterator) if made_by else None,
        )
        self._tell(loader, wait)

    def _tell(self, loader: Loader, wait: BatchWait) -> None:
        """Write a wait, and before it those held back."""
        self._tell_held(loader)
        self.record(wait)
        loader.told += wait.part == "batch"
        loader.fresh = wait.part != "batch"
        loader.rests_until_ns = 0 if loader.fresh else loader.pace.next_ns

    def _tell_held(self, loader: Loader) -> None:
        if loader.held:
            self.record(loader.take_held())

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
        self._tell(loader, wait)

    def _new_loader(self, info: LoaderInfo, dataset: object) -> None:
        self.record(info)
        notice(dataset_paths(dataset), "dataset")


_running: list[DataLoaders] = []


def _in_forked_child() -> None:
    for collector in _running:
        collector.silence()


os.register_at_fork(after_in_child=_in_forked_child)


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
