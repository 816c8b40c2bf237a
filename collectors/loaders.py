"""Which loader an iterator belongs to, and what can be read off the two."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Literal
from weakref import WeakKeyDictionary

from perfkit.collectors.fetching import Maker
from perfkit.collectors.records import Pace
from perfkit.model.capture import BatchWait, LoaderInfo

_CLOSE_NS = 100_000_000
"""Longer than of workers, who tell beside the training: short steps feel what telling costs."""


@dataclass(eq=False, slots=True)
class Loader:
    """A loader's number in the run, and the batches counted over its epochs.

    Waits that no record tells of are held back as their number, sum and the start of the first.
    """

    number: int
    told: int = 0
    """Batches that records tell of."""
    fresh: bool = True
    """Whether the next batch is the first of its pass."""
    rests_until_ns: int = 0
    """No wait is told of in full before this, on the clock of `time.perf_counter_ns`."""
    pace: Pace = field(default_factory=lambda: Pace(close_ns=_CLOSE_NS))
    maker: Maker | None = None
    """What times its batches, where this process makes them."""
    held: int = 0
    held_ns: int = 0
    held_start_ns: int = 0

    @property
    def asked(self) -> int:
        """Batches so far."""
        return self.told + self.held

    def is_due(self) -> bool:
        """Whether the next wait is to be told of in full."""
        return self.fresh or self.pace.is_due()

    def tell_next(self) -> None:
        """The next wait is to be told of in full."""
        self.pace.next_ns = self.rests_until_ns = 0

    def hold(self, batches: int, took_ns: int, began_ns: int) -> None:
        """Waits that are not worth a record of their own; the first began then."""
        if not self.held:
            self.held_start_ns = time.time_ns() - (perf_counter_ns() - began_ns)
        self.held += batches
        self.held_ns += took_ns

    def take_held(self) -> BatchWait:
        """The waits held back, as one record."""
        held, took_ns, first = self.held, self.held_ns, self.told
        self.held = self.held_ns = 0
        self.told += held
        return BatchWait(
            loader=self.number,
            batch=first,
            batches=held,
            start_ns=self.held_start_ns,
            wait_us=took_ns / 1e3,
        )


class Loaders:
    """Numbers loaders as they come up, and keeps none of torch's alive.

    `on_new` gets the facts of each and its dataset.
    """

    def __init__(self, on_new: Callable[[LoaderInfo, object], None]) -> None:
        self._on_new = on_new
        self._by_loader: WeakKeyDictionary[Any, Loader] = WeakKeyDictionary()
        self._by_iterator: WeakKeyDictionary[Any, Loader] = WeakKeyDictionary()
        self._adopted: dict[tuple[int, int], Loader] = {}
        self.known: list[Loader] = []
        """All, in the order of their numbers."""

    def bind(self, iterator: Any, loader: Any) -> None:
        """The iterator is being made by the loader."""
        known = self._by_loader.get(loader) or self._adopted.pop(_identity(iterator), None)
        if known is None:
            known = self._new(loader_info(len(self.known), iterator, loader), iterator)
        self._by_loader[loader] = self._by_iterator[iterator] = known

    def of(self, iterator: Any) -> Loader:
        """The iterator's loader.

        An iterator from before the run stands for its loader until that makes the next.
        """
        known = self._by_iterator.get(iterator)
        if known is None:
            known = self._new(loader_info(len(self.known), iterator, None), iterator)
            self._by_iterator[iterator] = self._adopted[_identity(iterator)] = known
        return known

    def _new(self, info: LoaderInfo, iterator: Any) -> Loader:
        self.known.append(Loader(info.loader))
        self._on_new(info, iterator._dataset)
        return self.known[-1]


def _identity(iterator: Any) -> tuple[int, int]:
    """What all iterators of one loader share, as long as the loader lives."""
    return id(iterator._dataset), id(iterator._index_sampler)


def loader_info(number: int, iterator: Any, loader: Any) -> LoaderInfo:
    """The facts of a loader, read off its iterator where the loader is not known."""

    def known(name: str) -> Any:
        source, attribute = (iterator, f"_{name}") if loader is None else (loader, name)
        return getattr(source, attribute, None)

    workers = known("num_workers")
    return LoaderInfo(
        loader=number,
        kind=_kind(iterator),
        dataset=_type_name(iterator._dataset),
        num_workers=workers,
        prefetch_factor=known("prefetch_factor"),
        pin_memory=known("pin_memory"),
        persistent_workers=known("persistent_workers"),
        batch_size=_batch_size(iterator),
        start_method=_start_method(loader) if workers else None,
        in_order=known("in_order"),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    )


def _kind(iterator: Any) -> Literal["map", "iterable", "other"]:
    kinds: dict[Any, Literal["map", "iterable"]] = {0: "map", 1: "iterable"}
    return kinds.get(iterator._dataset_kind, "other")


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _batch_size(iterator: Any) -> int | None:
    size = getattr(iterator._index_sampler, "batch_size", None)
    return size if iterator._auto_collation and type(size) is int else None


def _start_method(loader: Any) -> str | None:
    """As the workers are started; asking must not settle the process's default."""
    context = getattr(loader, "multiprocessing_context", None) or multiprocessing
    method = context.get_start_method(allow_none=True)
    return str(method or multiprocessing.get_all_start_methods()[0])


def standing_ready(iterator: Any) -> int | None:
    """Batches that the training process could take at once; None where it makes them itself.

    Those in the queue from the workers (from the pinning thread, where there is one), and those
    taken from it before their turn. Under torch's default order, the next batch in turn may still
    be missing where others stand ready.
    """
    data_queue = getattr(iterator, "_data_queue", None)
    if data_queue is None:
        return None
    try:
        queued: int = data_queue.qsize()
    except NotImplementedError:  # macOS cannot count a queue
        return None
    early: int = len(iterator._task_info) - iterator._tasks_outstanding
    if early > 0 and iterator._dataset_kind:  # workers that ran dry leave entries without data
        early = sum(len(entry) == 2 for entry in tuple(iterator._task_info.values()))
    return max(queued, 0) + max(early, 0)


def early_batches(iterator: Any) -> int | None:
    """Batches taken from the queue before their turn; None where none are made to wait for it."""
    if not getattr(iterator, "_in_order", True):
        return None
    tasks: dict[int, tuple[Any, ...]] | None = getattr(iterator, "_task_info", None)
    return None if tasks is None else sum(len(entry) == 2 for entry in tuple(tasks.values()))


class MadeBy:
    """Finds which worker made the batch that an iterator gives."""

    def __init__(self, iterator: Any) -> None:
        tasks: dict[int, tuple[Any, ...]] = getattr(iterator, "_task_info", {})
        self._turn: int | None = getattr(iterator, "_rcvd_idx", None)
        if getattr(iterator, "_in_order", True) and self._turn is not None:
            entry = tasks.get(self._turn)
            tasks = {self._turn: entry} if entry else {}
        self._workers: dict[int, int] = {task: entry[0] for task, entry in tasks.items()}

    def worker(self, iterator: Any) -> int | None:
        """Of the batch given since; None where it is not clear."""
        if self._turn is None:
            return None
        gone = [task for task in self._workers if task not in iterator._task_info]
        skipped = iterator._rcvd_idx - self._turn != 1
        if len(gone) != 1 or (skipped and getattr(iterator, "_in_order", True)):
            return None
        return self._workers[gone[0]]
