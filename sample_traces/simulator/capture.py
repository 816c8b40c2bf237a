"""A run as the Capture that `perfkit run` leaves: the trace, and what each loader worker did."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .kineto import BASE_NS, ORIGIN_NS, PID, trace_text
from .loader import PREFETCH, WORKERS
from .records import Batch
from .run import Simulated

_TRACE = "window0.pt.trace.json.gz"
_BEGAN_NS = -(10**9)
"""The pass over the data began a second before the trace."""
_VERSION = "0.1.0"


def write_capture(simulated: Simulated, folder: Path) -> Path:
    """Write the folder of a Capture of one rank; returns its path."""
    rank = folder / "rank0"
    rank.mkdir(parents=True, exist_ok=True)
    manifest = {"schema": "perfkit.capture/1", "perfkit_version": _VERSION, "started_ns": _at(0)}
    (folder / "capture.json").write_text(json.dumps(manifest), "utf-8")
    (rank / "rank.json").write_text(json.dumps(_rank(simulated, manifest)), "utf-8")
    text = trace_text(simulated.scenario, simulated.recording)
    (rank / _TRACE).write_bytes(gzip.compress(text.encode(), 6, mtime=0))
    lines = [json.dumps(record) + "\n" for record in _records(simulated.recording.batches)]
    (rank / "records.jsonl").write_text("".join(lines), "utf-8")
    return folder


def _at(ns: int) -> int:
    """The time of the run as nanoseconds since the epoch."""
    return BASE_NS + ORIGIN_NS + ns


def _rank(simulated: Simulated, manifest: dict[str, Any]) -> dict[str, Any]:
    steps = len(simulated.recording.marks)
    return {
        **manifest,
        "rank": 0,
        "host": "simulated",
        "pid": PID,
        "schedule": {"wait": 0, "warmup": 0, "active": steps, "repeat": 1},
        "windows": [{"file": _TRACE, "first_step": 0, "steps": steps}],
    }


def _records(batches: list[Batch]) -> Iterator[dict[str, Any]]:
    """The loader, the begin of its pass, and of each batch its making and the wait for it."""
    if not batches:
        return
    about = {"type": "loader", "loader": 0, "kind": "map", "dataset": "simulated.Dataset"}
    yield {**about, "num_workers": WORKERS, "prefetch_factor": PREFETCH, "in_order": True}
    earliest = min([_BEGAN_NS, *(batch.start for batch in batches)])
    begin = {"type": "wait", "loader": 0, "batch": 0, "part": "start"}
    yield {**begin, "start_ns": _at(earliest - 1000), "wait_us": 1.0}
    for batch in batches:
        yield _made(batch)
        yield _wait(batch)


def _made(batch: Batch) -> dict[str, Any]:
    return {
        "type": "batch",
        "loader": 0,
        "batch": batch.index // WORKERS,
        "start_ns": _at(batch.start),
        "fetch_us": (batch.read - batch.start) / 1000,
        "collate_us": (batch.end - batch.read) / 1000,
        "worker": batch.worker,
        "pid": PID + 1 + batch.worker,
    }


def _wait(batch: Batch) -> dict[str, Any]:
    return {
        "type": "wait",
        "loader": 0,
        "batch": batch.index,
        "start_ns": _at(batch.asked),
        "wait_us": (batch.taken - batch.asked) / 1000,
        "worker": batch.worker,
    }
