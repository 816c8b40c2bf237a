"""Captures on disk, as collectors leave them: a CPU trace made of parts, and records."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from perfkit.model.capture import Manifest, RankFile, Schedule, StepTimes, Window
from perfkit.trace.capture_records import Records
from tests.trace.kineto_text import ORIGIN, document, host

START_NS = ORIGIN * 1000
MS = 1_000_000
TRACE = "window18.pt.trace.json.gz"
Part = tuple[str | None, int]
"""What the training thread does, and for how many nanoseconds; None is Python."""


def cpu_trace(steps: Sequence[Sequence[Part]]) -> str:
    """Text of a trace of one thread; names of ATen are operators, others are annotations."""
    events, at = [], 0
    for number, parts in enumerate(steps):
        began = at
        for name, took in parts:
            if name is not None:
                cat = "cpu_op" if name.startswith("aten::") else "user_annotation"
                events.append(host(name, at, took, cat=cat))
            at += took
        mark = host(f"ProfilerStep#{18 + number}", began, at - began, cat="user_annotation")
        events.append(mark)
    return document(*events)


def operators(ms: float, each_us: int = 200) -> list[Part]:
    """Operators of that length with 5 us of Python before each, `ms` in all."""
    count = round(ms * 1000 / (each_us + 5))
    return [part for _ in range(count) for part in ((None, 5000), ("aten::mm", each_us * 1000))]


HEALTHY = cpu_trace([operators(10)] * 10)


def rank_file(**changes: Any) -> RankFile:
    usual: dict[str, Any] = {
        "perfkit_version": "0.1.0",
        "rank": 0,
        "world_size": 1,
        "host": "node1",
        "pid": 4242,
        "started_ns": START_NS - 10**9,
        "ended_ns": START_NS + 10**9,
        "ended": "finished",
        "step_marker": "step()",
        "schedule": Schedule(wait=15, warmup=3, active=10),
        "windows": [Window(file=TRACE, first_step=18, steps=10)],
    }
    return RankFile(**(usual | changes))


def write_rank(
    capture: Path,
    facts: RankFile | None,
    records: Iterable[msgspec.Struct] = (),
    traces: dict[str, str] | None = None,
    rank: int | None = None,
) -> Path:
    """One rank's folder; `facts` None leaves rank.json out."""
    number = rank if rank is not None else facts.rank if facts else 0
    folder = capture / f"rank{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ({TRACE: HEALTHY} if traces is None else traces).items():
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
    if facts is not None:
        (folder / "rank.json").write_bytes(msgspec.json.encode(facts))
    lines = [msgspec.json.encode(record) + b"\n" for record in records]
    if lines:
        (folder / "records.jsonl").write_bytes(b"".join(lines))
    return folder


def write_capture(
    capture: Path,
    records: Iterable[msgspec.Struct] = (),
    trace: str = HEALTHY,
    **facts: Any,
) -> Path:
    """A Capture of one rank."""
    capture.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(perfkit_version="0.1.0", started_ns=START_NS, script="train.py")
    (capture / "capture.json").write_bytes(msgspec.json.encode(manifest))
    write_rank(capture, rank_file(**facts), records, {TRACE: trace})
    return capture


def step_times(
    wall_us: Sequence[float], data_us: Sequence[float] | float = 0.0, **more: Any
) -> StepTimes:
    """A block of steps from 0 on."""
    waits = [data_us] * len(wall_us) if isinstance(data_us, float) else list(data_us)
    usual = {"first": 0, "start_ns": START_NS - 10**9}
    return StepTimes(wall_us=list(wall_us), data_us=waits, **(usual | more))


def as_read(*found: msgspec.Struct) -> Records:
    """Records as the reader of a Capture gives them."""
    made = Records()
    for record in found:
        made.by_type.setdefault(type(record), []).append(record)
    return made
