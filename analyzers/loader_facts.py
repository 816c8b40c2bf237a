"""The input of a run: how long batches take to make, who makes them, and what holds that up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.intervals import Intervals
from perfkit.analyzers.loader_bound import Batches, mean_of, with_bound
from perfkit.analyzers.step_spans import inside_us, taken
from perfkit.analyzers.worker_facts import share_of_making, workers
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, WorkerState
from perfkit.model.run_facts import HostFacts, LoaderFacts
from perfkit.trace.capture_records import Records

Floats = NDArray[np.float64]
_SETTINGS = (
    "kind", "dataset", "num_workers", "prefetch_factor", "pin_memory", "persistent_workers",
    "batch_size", "start_method", "in_order", "cores",
)  # fmt: skip
_STOOD_READY = 1
R = TypeVar("R", BatchWait, BatchMade, WorkerState)


@dataclass(frozen=True)
class _Loader:
    """What one loader left, beside the steps of the run (microseconds, shape (steps,))."""

    number: int
    info: LoaderInfo | None
    waits: list[BatchWait]
    batches: Batches
    states: list[WorkerState]
    steps: Intervals
    """When steps ran."""
    wall: Floats
    data: Floats

    @property
    def workers(self) -> int:
        """Processes that make batches; 0 where the training process does."""
        if self.info is not None and self.info.num_workers is not None:
            return self.info.num_workers
        return len(set(self.batches.worker[self.batches.worker >= 0].tolist()))


def loaders(
    records: Records, wall: Floats, data: Floats, host: HostFacts | None
) -> list[LoaderFacts]:
    """Each loader; `wall` and `data` are the steps' times and data waits, shape (steps,)."""
    info = {found.loader: found for found in records.of(LoaderInfo)}
    waits, made = _by_loader(records.of(BatchWait)), _by_loader(records.of(BatchMade))
    states, steps = _by_loader(records.of(WorkerState)), taken(records)
    found = [
        _Loader(
            number=n,
            info=info.get(n),
            waits=waits.get(n, []),
            batches=Batches.of(made.get(n, [])),
            states=states.get(n, []),
            steps=steps,
            wall=wall,
            data=data,
        )
        for n in sorted({*info, *waits, *made})
    ]
    return [with_bound(_facts(loader), loader.batches, host) for loader in found]


def _by_loader(records: Iterable[R]) -> dict[int, list[R]]:
    found: dict[int, list[R]] = {}
    for record in records:
        found.setdefault(record.loader, []).append(record)
    return found


def _facts(loader: _Loader) -> LoaderFacts:
    info, batches = loader.info, loader.batches.steady
    settings = {name: getattr(info, name) for name in _SETTINGS} if info else {}
    fetch, collate = mean_of(batches.fetch), mean_of(batches.collate)
    facts = LoaderFacts(
        loader=loader.number,
        **settings,
        batches=_asked(loader.waits) or len(loader.batches),
        fetch_us=fetch,
        collate_us=collate,
        make_us=mean_of(batches.make),
        longest_make_us=float(np.nanmax(batches.make)) if len(batches) else None,
        items=mean_of(batches.items),
        cpu_share=_cpu_share(batches),
        read_bytes=mean_of(batches.read_bytes),
        rchar_bytes=mean_of(batches.rchar),
        read_calls=mean_of(batches.calls),
        major_faults=mean_of(batches.faults),
        workers=workers(loader.batches, loader.states),
    )
    return _with_pace(_with_waits(facts, loader), loader)


def _cpu_share(batches: Batches) -> float | None:
    share = share_of_making(batches, batches.cpu)
    return None if share is None else min(share, 1.0)


def _with_waits(facts: LoaderFacts, loader: _Loader) -> LoaderFacts:
    """What the training thread waited for this loader."""
    if not loader.waits:
        return facts
    batches = [wait for wait in loader.waits if wait.part == "batch"]
    ready = [wait.ready for wait in batches if wait.ready is not None]
    waited, wall = sum(wait.wait_us for wait in loader.waits), float(loader.wall.sum())
    spans = [(wait.start_ns, wait.wait_us) for wait in loader.waits]
    in_steps = float(inside_us(spans, loader.steps).sum())
    passes, startup = _startup(loader.waits, facts.make_us or 0.0)
    return msgspec.structs.replace(
        facts,
        passes=passes,
        wait_us=waited / _asked(batches) if batches else None,
        wait_share=min(in_steps / wall, 1.0) if wall else None,
        ready=sum(ready) / len(ready) if ready else None,
        startup_share=startup / waited if passes > 1 and waited else None,
        out_of_turn_share=_out_of_turn(batches),
    )


def _out_of_turn(waits: list[BatchWait]) -> float | None:
    """The part of waiting in which other batches stood ready, of waits that were looked at.

    What taking over a batch that is there takes is no such waiting.
    """
    known = [wait for wait in waits if wait.early is not None and wait.ready is not None]
    total = sum(wait.wait_us for wait in known)
    ready = [wait for wait in known if (wait.ready or 0) >= _STOOD_READY]
    taken = [wait.wait_us for wait in ready if not wait.early]
    usual = median(taken) if taken else 0.0
    held = (max(wait.wait_us - usual, 0.0) for wait in ready if wait.early)
    return sum(held) / total if total else None


def _asked(waits: list[BatchWait]) -> int:
    """How many batches these were."""
    return sum(wait.batches for wait in waits if wait.part == "batch")


def _startup(waits: list[BatchWait], make_us: float) -> tuple[int, float]:
    """Passes over the data, and the microseconds in which later ones started workers anew.

    That is making and ending iterators, and first batches as far as they took longer than a batch
    usually waits or takes to make.
    """
    batches = [wait.wait_us / wait.batches for wait in waits if wait.part == "batch"]
    usual = max(make_us, median(batches) if batches else 0.0)
    passes, began, startup = 0, False, 0.0
    for wait in sorted(waits, key=lambda wait: wait.start_ns):
        passes += wait.part == "start"
        if wait.part != "batch":
            startup += wait.wait_us * (passes > 1)
        elif began:
            startup += max(wait.wait_us - usual * wait.batches, 0.0) * (passes > 1)
        began = wait.part == "start"
    return max(passes, 1), startup


def _with_pace(facts: LoaderFacts, loader: _Loader) -> LoaderFacts:
    """What the workers deliver, what the steps could take, and the workers that would suffice."""
    make, use = facts.make_us, _use_us(loader)
    if make is None:
        return msgspec.structs.replace(facts, use_us=use)
    return msgspec.structs.replace(
        facts,
        deliver_us=make / max(loader.workers, 1),
        use_us=use,
        workers_needed=max(math.ceil(make / use), 1) if use else None,
    )


def _use_us(loader: _Loader) -> float | None:
    """The step without its data wait, per batch of this loader; the usual one."""
    if not len(loader.wall):
        return None
    asked = _asked(loader.waits) or len(loader.batches)
    step = float(np.median(loader.wall - loader.data))
    return step * len(loader.wall) / asked if asked and step > 0 else None
