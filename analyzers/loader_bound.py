"""What holds up the making of batches: processor, storage, collation, start-up or a cold cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfkit.model.capture import BatchMade
from perfkit.model.run_facts import Bound, HostFacts, LoaderFacts

Floats = NDArray[np.float64]
_LEAST_WAIT_SHARE = 0.02  # of the steps: below it nothing waits for the loader, so nothing binds it
_MOST_OF_IT = 0.5
_IN_TIME = 0.5  # of the time a step takes for a batch
_MOSTLY_COMPUTING = 0.6  # processor time of the making thread, of the time a batch takes
_MOSTLY_WAITING = 0.4
_CROWDED = 0.1  # of the time without a core
_MOST_WITHOUT = 0.9
_FEWEST_TO_COMPARE = 12
_FALLEN_TO = 0.25  # storage reads, last third of the batches against the first
_FASTER_TO = 0.7  # fetch time, the same
_SOME_BYTES = 65_536  # a batch: below it the first third did not read from storage either
_SOME_FAULTS = 1.0
_FEW_BYTES = 4096  # read a batch, caches included: no sample that has a file is smaller


@dataclass(frozen=True)
class Batches:
    """Batches that were made, by start; shapes (batches,), times in us, NaN where not measured."""

    start: Floats
    worker: Floats
    """-1 in the training process."""
    pid: Floats
    fetch: Floats
    collate: Floats
    cpu: Floats
    process_cpu: Floats
    delay: Floats
    items: Floats
    read_bytes: Floats
    rchar: Floats
    calls: Floats
    faults: Floats

    @classmethod
    def of(cls, made: list[BatchMade]) -> Batches:
        """Columns of these records."""
        made = sorted(made, key=lambda batch: batch.start_ns)

        def column(name: str) -> Floats:
            values = (getattr(batch, name) for batch in made)
            return np.array([np.nan if v is None else v for v in values], dtype=np.float64)

        return cls(
            start=column("start_ns"),
            worker=np.nan_to_num(column("worker"), nan=-1.0),
            pid=column("pid"),
            fetch=column("fetch_us"),
            collate=column("collate_us"),
            cpu=column("cpu_us"),
            process_cpu=column("process_cpu_us"),
            delay=column("run_delay_us"),
            items=column("items"),
            read_bytes=column("read_bytes"),
            rchar=column("rchar"),
            calls=column("syscr"),
            faults=column("major_faults"),
        )

    def __len__(self) -> int:
        return len(self.start)

    @property
    def make(self) -> Floats:
        """Fetching and collating together."""
        return self.fetch + np.nan_to_num(self.collate)

    @property
    def steady(self) -> Batches:
        """Without the first batch of each process, if others remain."""
        later = np.ones(len(self), dtype=np.bool_)
        later[np.unique(self.pid, return_index=True)[1]] = False
        return self.take(later) if later.any() else self

    def take(self, rows: NDArray[np.bool_] | slice) -> Batches:
        """Some of the batches."""
        return replace(self, **{name: column[rows] for name, column in vars(self).items()})


def mean_of(values: Floats) -> float | None:
    """The mean of what was measured."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def with_bound(facts: LoaderFacts, batches: Batches, host: HostFacts | None) -> LoaderFacts:
    """The facts with what binds the loader, and the numbers that say so; None where none does."""
    if facts.wait_share is not None and facts.wait_share < _LEAST_WAIT_SHARE:
        return facts
    found = _startup(facts) or _cold_cache(batches.steady)
    if found is None and not _in_time(facts):
        found = _collate(facts) or _making(facts, batches.steady, host)
    if found is None:
        return facts
    return msgspec.structs.replace(facts, bound=found[0], reason=found[1])


Found = tuple[Bound, str] | None


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _in_time(facts: LoaderFacts) -> bool:
    """Whether workers deliver so much faster than the steps take that making binds nothing."""
    if not facts.num_workers or facts.deliver_us is None or facts.use_us is None:
        return False
    return facts.deliver_us <= _IN_TIME * facts.use_us


def _startup(facts: LoaderFacts) -> Found:
    share = facts.startup_share or 0.0
    if share < _MOST_OF_IT or not facts.num_workers or facts.persistent_workers:
        return None
    text = f"{_percent(share)} of all waiting begins a pass ({facts.passes} passes): workers start"
    return "worker start-up", text


def _cold_cache(batches: Batches) -> Found:
    third = len(batches) // 3
    if len(batches) < _FEWEST_TO_COMPARE:
        return None
    first, last = batches.take(slice(0, third)), batches.take(slice(-third, None))
    before, after = mean_of(first.fetch), mean_of(last.fetch)
    if before is None or after is None or after > _FASTER_TO * before:
        return None
    for name, least, noun in (
        ("read_bytes", _SOME_BYTES, "bytes from storage"),
        ("faults", _SOME_FAULTS, "major page faults"),
    ):
        reads, later = mean_of(getattr(first, name)), mean_of(getattr(last, name))
        if reads is not None and later is not None and _fell(reads, later, least):
            return "cold cache", (
                f"{noun} a batch fell from {reads:,.0f} to {later:,.0f} over the run, and fetching"
                f" from {before / 1000:.1f} ms to {after / 1000:.1f} ms"
            )
    return None


def _fell(before: float, after: float, least: float) -> bool:
    return before >= least and after <= _FALLEN_TO * before


def _collate(facts: LoaderFacts) -> Found:
    if facts.collate_us is None or not facts.make_us:
        return None
    share = facts.collate_us / facts.make_us
    if share < _MOST_OF_IT:
        return None
    return "collate", f"collating is {_percent(share)} of making a batch"


def _making(facts: LoaderFacts, batches: Batches, host: HostFacts | None) -> Found:
    """Computing or waiting; a thread without a core does neither, so that time is taken out."""
    if facts.cpu_share is None:
        return None
    text = f"making a batch is {_percent(facts.cpu_share)} processor time"
    without = _without_core(host)
    share = min(facts.cpu_share / (1 - without), 1.0)
    if share >= _MOSTLY_COMPUTING:
        crowd = f", and threads have no core {_percent(without)} of the time"
        return "cpu", text + crowd * (without >= _CROWDED)
    if share > _MOSTLY_WAITING:
        return None
    if _reads_no_files(batches):
        return "waiting", f"{text}, the rest waits, and not for files: most read none"
    return "io", f"{text}, the rest waits for files"


def _reads_no_files(batches: Batches) -> bool:
    """Whether most of the making was of batches that read nothing worth the name."""
    if np.isnan(batches.rchar).all():
        return False
    bare = (batches.rchar < _FEW_BYTES) & ~(batches.faults >= _SOME_FAULTS)
    return float(batches.make[bare].sum()) > _MOST_OF_IT * float(batches.make.sum())


def _without_core(host: HostFacts | None) -> float:
    """How long a thread that could run has no core, as a share: measured, else by the load."""
    if host is None:
        return 0.0
    if host.run_delay_share is not None:
        return min(host.run_delay_share, _MOST_WITHOUT)
    cores = host.machine_cores or host.cores
    crowd = host.load / cores if host.load is not None and cores else 0.0
    return min(max(1 - 1 / crowd, 0.0), _MOST_WITHOUT) if crowd > 1 else 0.0
