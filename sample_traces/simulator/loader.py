"""The DataLoader: batches made in the training process, by worker processes, or ahead of time."""

from __future__ import annotations

from random import Random

from .machine import JITTER, Machine
from .program import Scenario
from .records import Batch

WORKERS = 4
PREFETCH = 2  # batches each worker may have made or in the making, PyTorch's default
FIRST_BATCH_US = 60.0  # fetched ahead, before the profiler started
_NAME = "enumerate(DataLoader)#_{}DataLoaderIter.__next__"
_STACKS = 4


class Loader:
    """The iterator of a DataLoader on the main thread of a machine."""

    def __init__(self, scenario: Scenario, machine: Machine, seed: int) -> None:
        s = self._s = scenario
        self._machine = machine
        self._has_workers = s.worker_batch_us + s.worker_slow_us + s.storage_us > 0
        in_process = s.dataset_us + s.collate_us > 0 and not self._has_workers
        self._name = _NAME.format("SingleProcess" if in_process else "MultiProcessing")
        self._workers = Workers(
            seed, s.worker_batch_us, s.worker_slow_us, s.worker_slow_every, s.storage_us, s.phase
        )

    def next(self, index: int) -> None:
        """Wait for batch `index`."""
        s, machine = self._s, self._machine
        stalled = s.stall_every and (index + s.phase) % s.stall_every == s.stall_every - 3
        with machine.span(self._name, "user_annotation", "dataloader"):
            machine.spend(s.loader_us if index else FIRST_BATCH_US)
            with machine.aside("loader"):
                if s.loader_period_us:
                    machine.wait(round(index * s.loader_period_us * 1000) + machine.jitter(200))
                if stalled:
                    machine.spend(s.stall_us)
                if self._has_workers:
                    batch = self._workers.take(index, machine.now)
                    machine.record.batches.append(batch)
                    machine.wait(batch.taken)
            if index:
                with machine.aside("fetch"):
                    self._fetch()

    def _fetch(self) -> None:
        """What the training process itself does for a batch: `__getitem__`, then collate."""
        s, machine = self._s, self._machine
        if s.dataset_us:
            machine.spend(s.dataset_us)
        for _ in range(_STACKS if s.collate_us else 0):
            with machine.span("aten::stack", "cpu_op", "dispatch"):
                machine.spend(s.collate_us / _STACKS)


class Workers:
    """Worker processes that make batches of about `batch_us` each and hand them over in order.

    One batch in `slow_every` takes `slow_us` more, `phase` batches early. Before a batch is made it
    is read, for about `storage_us`, from a storage that reads for one worker at a time.
    """

    def __init__(
        self,
        seed: int,
        batch_us: float,
        slow_us: float = 0.0,
        slow_every: int = 0,
        storage_us: float = 0.0,
        phase: int = 0,
    ) -> None:
        self._phase = phase
        self._storage_us = storage_us
        self._seed = seed
        self._batch_us = batch_us
        self._slow_us = slow_us
        self._slow_every = slow_every
        self._begun: list[int] = []
        self._read: list[int] = []
        self._ready: list[int] = []
        self._taken: list[int] = []

    def take(self, index: int, now: int) -> Batch:
        """Hand over batch `index`, asked for `now`, as soon as it is made: room for another."""
        self._make(index)
        begun, read, ready = self._begun[index], self._read[index], self._ready[index]
        self._taken.append(max(now, ready))
        return Batch(index, index % WORKERS, begun, read, ready, now, self._taken[-1])

    def _make(self, index: int) -> None:
        for batch in range(len(self._ready), index + 1):
            us = self._batch_us + (self._slow_us if self._is_slow(batch) else 0.0)
            if batch < WORKERS:  # in the making when the run starts, evenly out of step
                every = us / WORKERS + self._storage_us
                self._ready.append(round(batch * every * 1000))
                self._read.append(self._ready[-1] - round(us * 1000))
                self._begun.append(self._read[-1] - round(self._storage_us * 1000))
                continue
            queued = batch - WORKERS * PREFETCH
            asked = self._taken[queued] if queued >= 0 else 0
            uneven = self._uneven(batch)
            self._begun.append(max(self._ready[batch - WORKERS], asked))
            self._read.append(self._begun[-1])
            if self._storage_us:
                free = max(self._read[-2], self._begun[-1])
                self._read[-1] = free + round(self._storage_us * 1000 * uneven)
            self._ready.append(self._read[-1] + round(us * 1000 * uneven))

    def _is_slow(self, batch: int) -> bool:
        every = self._slow_every
        return every > 0 and (batch + self._phase) % every == every - 3

    def _uneven(self, batch: int) -> float:
        """Every batch takes its own time, but slow ones are slow alike."""
        if self._is_slow(batch):
            return 1.0
        return Random(f"{self._seed}/batch {batch}").uniform(1 - JITTER, 1 + JITTER)
