"""What records know and a trace may not: garbage collections and checkpoints, as its own events.

Torch before 2.9 records no garbage collection, and no torch marks `torch.save`. Without them an
analyzer takes such time for Python. Nor does a trace see the workers of a loader.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from perfkit.model.capture import CheckpointWrite, Collection
from perfkit.model.trace import EVENT_COLUMNS, Int64s, Kind, Trace
from perfkit.trace.capture_batches import worker_batches
from perfkit.trace.capture_records import Records

CHECKPOINT = "perfkit::checkpoint"
COLLECTION = "Python GC"
_STEP = "ProfilerStep#"


def with_spans(trace: Trace, records: Records) -> Trace:
    """The trace with the collections and checkpoints that fall into it, unless it has its own.

    And with the batches that loader workers made.
    """
    collections = [(c.start_ns, c.dur_us) for c in records.of(Collection)]
    written = [(c.start_ns, min(c.blocking_us, c.dur_us)) for c in records.of(CheckpointWrite)]
    for name, spans in ((COLLECTION, collections), (CHECKPOINT, written)):
        if not any(known.startswith(name) for known in trace.names):
            trace = _with(trace, name, *_inside(trace, spans))
    return replace(trace, info=replace(trace.info, batches=worker_batches(trace, records)))


def _inside(trace: Trace, spans: list[tuple[int, float]]) -> tuple[Int64s, Int64s]:
    """Starts and durations in the trace's nanoseconds of the spans that lie in it."""
    first, last = int(trace.ts.min()), int(trace.end.max())
    found = [(begin - trace.info.base_ns, round(us * 1000)) for begin, us in spans]
    found = [(start, dur) for start, dur in found if first <= start < start + dur <= last]
    table = np.array(found, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _with(trace: Trace, name: str, start: Int64s, dur: Int64s) -> Trace:
    lane = _training_thread(trace)
    if not len(start) or lane is None:
        return trace
    names = (*trace.names, name, "perfkit_record")
    new = {"kind": int(Kind.ANNOTATION), "name": len(names) - 2, "category": len(names) - 1,
           "lane": lane}  # fmt: skip
    count = len(start)
    columns: dict[str, Any] = {c: np.full(count, new.get(c, -1)) for c in EVENT_COLUMNS} | {
        "ts": start,
        "dur": dur,
    }
    columns["row"] = np.arange(count) + int(trace.row.max()) + 1
    joined = {c: np.concatenate((getattr(trace, c), columns[c])) for c in EVENT_COLUMNS}
    order = np.argsort(joined["ts"], kind="stable")
    typed: dict[str, Any] = {c: v[order].astype(getattr(trace, c).dtype) for c, v in joined.items()}
    return replace(trace, names=names, **typed)


def _training_thread(trace: Trace) -> int | None:
    """The lane of the step marks, else of most operators."""
    marks = np.array([name.startswith(_STEP) for name in trace.names], dtype=np.bool_)
    rows = np.flatnonzero(marks[trace.name] & (trace.kind != Kind.GPU_ANNOTATION))
    rows = rows if len(rows) else np.flatnonzero(trace.kind == Kind.OPERATOR)
    return int(np.bincount(trace.lane[rows]).argmax()) if len(rows) else None
