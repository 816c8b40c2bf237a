"""When loader workers made which batch, from a run's records: what a trace of one process lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo
from perfkit.model.trace import Int64s, Trace, WorkerBatches
from perfkit.trace.capture_records import Records

_USUAL_PREFETCH = 2
"""What torch takes where the user says nothing."""


def worker_batches(trace: Trace, records: Records) -> WorkerBatches | None:
    """Batches of the pass over the data in which the trace lies.

    None where the trace sees more than one loader or pass, where batches come in any order, or
    where no records tell.
    """
    first, last = (int(t) + trace.info.base_ns for t in (trace.ts.min(), trace.end.max()))
    waits = [w for w in records.of(BatchWait) if first <= w.start_ns <= last]
    if len({w.loader for w in waits}) != 1 or any(w.part != "batch" for w in waits):
        return None
    number = waits[0].loader
    info = next((i for i in records.of(LoaderInfo) if i.loader == number), None)
    began = _began(records, number, first)
    if info is None or not info.num_workers or info.in_order is False or began is None:
        return None
    made = list(_numbered(records, info.num_workers, began))
    asked = [(w.batch, w.start_ns) for w in waits if w.batches == 1]
    rows, asks = _table(made, 4), _table(asked, 2)
    return WorkerBatches(
        batch=rows[:, 0],
        worker=rows[:, 1],
        start=rows[:, 2] - trace.info.base_ns,
        end=rows[:, 3] - trace.info.base_ns,
        asked_batch=asks[:, 0],
        asked_at=asks[:, 1] - trace.info.base_ns,
        workers=info.num_workers,
        prefetch=info.prefetch_factor or _USUAL_PREFETCH,
    )


def _began(records: Records, loader: int, before_ns: int) -> BatchWait | None:
    """The last begin of a pass over the loader's data before this time."""
    begins = [
        w
        for w in records.of(BatchWait)
        if w.loader == loader and w.part == "start" and w.start_ns < before_ns
    ]
    return max(begins, key=lambda w: w.start_ns, default=None)


def _numbered(
    records: Records, workers: int, began: BatchWait
) -> Iterator[tuple[int, int, int, int]]:
    """(batch, worker, start, end) of what workers made since a pass began; they take turns.

    A worker counts its own batches over all passes; one whose first batch of this pass has no
    record is left out.
    """
    by_worker: dict[tuple[int, int], list[BatchMade]] = {}
    for made in records.of(BatchMade):
        if made.loader == began.loader and made.worker is not None:
            by_worker.setdefault((made.worker, made.pid), []).append(made)
    for (worker, _), batches in by_worker.items():
        since = [b for b in batches if b.start_ns >= began.start_ns]
        first = max((b.batch + 1 for b in batches if b.start_ns < began.start_ns), default=0)
        if first not in {b.batch for b in since}:
            continue
        for made in since:
            took_ns = round(1000 * (made.fetch_us + (made.collate_us or 0.0)))
            number = began.batch + (made.batch - first) * workers + worker
            yield number, worker, made.start_ns, made.start_ns + took_ns


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Int64s:
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, columns)
