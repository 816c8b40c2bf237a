"""Public traces, event for event what Python's own JSON reader finds in them."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from perfkit.model.trace import Kind
from perfkit.trace import open_trace
from perfkit.trace.kinds import KIND_OF_CATEGORY
from tests.traces import PUBLIC, kineto_files, needs_public

pytestmark = needs_public


def elements(path: str) -> list[dict[str, Any]]:
    raw = (PUBLIC / path).read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    root = json.loads(text, parse_float=Decimal, strict=False)
    found: list[dict[str, Any]] = root if isinstance(root, list) else root["traceEvents"]
    return found


ALLOCATIONS = {"size": "Bytes", "allocated": "Total Allocated", "reserved": "Total Reserved",
               "device": "Device Id", "device_type": "Device Type"}  # fmt: skip


@pytest.mark.parametrize("path", kineto_files())
def test_every_event_with_its_exact_times(path: str) -> None:
    listed = elements(path)
    rows = [(i, e) for i, e in enumerate(listed) if e.get("ph") == "X" and e.get("cat") != "Trace"]
    trace = open_trace(PUBLIC / path)
    damage = trace.info.damage
    assert (damage.truncated, damage.unreadable_events, damage.repaired_events) == (False, 0, 0)
    assert len(trace) == len(rows) - damage.zero_timestamps
    order = np.argsort(trace.row)
    position = {row: i for i, row in enumerate(trace.row[order].tolist())}
    kept = [(i, e) for i, e in rows if i in position]
    assert [i for i, _ in kept] == trace.row[order].tolist()
    assert trace.ts[order].tolist() == [int(Decimal(e["ts"]) * 1000) for _, e in kept]
    assert [trace.names[n] for n in trace.name[order]] == [e["name"] for _, e in kept]
    told = [e for e in listed if e.get("name") == "[memory]"]
    assert trace.allocations.ts.tolist() == [int(Decimal(e["ts"]) * 1000) for e in told]
    for column, key in ALLOCATIONS.items():
        assert getattr(trace.allocations, column).tolist() == [e["args"].get(key, -1) for e in told]
    clipped = trace.dur[order] != np.array([int(Decimal(e["dur"]) * 1000) for _, e in kept])
    assert int(clipped.sum()) == damage.clipped_gpu_events + damage.negative_durations


@pytest.mark.parametrize("path", kineto_files())
def test_kinds_follow_the_categories(path: str) -> None:
    trace = open_trace(PUBLIC / path)
    for kind, category in {*zip(trace.kind.tolist(), trace.category.tolist(), strict=True)}:
        assert Kind(kind) == KIND_OF_CATEGORY.get(trace.names[category], Kind.OTHER)
