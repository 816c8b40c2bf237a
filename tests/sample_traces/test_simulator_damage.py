"""Damage takes away what it says, and nothing else."""

import json
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from sample_traces.simulator import DAMAGES, damage, inject, trace_text

GPU = ("kernel", "gpu_memcpy", "gpu_user_annotation", "cuda_sync")
LOSSES = {
    "drop_kernels": ("kernel", ""),
    "drop_sync_events": ("cuda_sync", ""),
    "drop_launches": ("cuda_runtime", "Launch"),
}
CLOCKS = {"shift_clock_10us": 10, "shift_clock_10ms": 10_000}

Event = dict[str, Any]


@cache
def text() -> str:
    run = inject({"item_per_step": 0.2, "cuda_graph": 0.05}, 1, 4)
    return trace_text(run.scenario, run.recording)


def events(document: str) -> list[Event]:
    read: list[Event] = json.loads(document, parse_float=Decimal)["traceEvents"]
    return read


def kinds(found: list[Event]) -> Counter[str]:
    return Counter(e.get("cat", "none") for e in found if e.get("cat") != "ac2g")


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
def test_records_get_lost(kind: str, share: float) -> None:
    whole = events(text())
    cat, part = LOSSES[kind]
    there = [e for e in whole if e.get("cat") == cat and part in e["name"]]
    left = events(damage(text(), kind, share, 7))
    lost = kinds(whole) - kinds(left)
    assert lost == {cat: round(share * len(there))}
    assert all(e in whole for e in left[:: max(1, len(left) // 50)])


@pytest.mark.parametrize("kind", ["drop_kernels", "drop_launches"])
def test_a_lost_record_takes_its_arrow_along(kind: str) -> None:
    left = events(damage(text(), kind, 0.2, 7))
    end = "f" if kind == "drop_kernels" else "s"
    arrows = Counter(e["id"] for e in left if e.get("cat") == "ac2g" and e["ph"] == end)
    cats = ("kernel", "gpu_memcpy") if end == "f" else ("cuda_runtime",)
    records = Counter(e["args"]["correlation"] for e in left if e.get("cat") in cats)
    assert all(records[ident] >= count for ident, count in arrows.items())


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_clocks_part(kind: str, share: float) -> None:
    before, after = events(text()), events(damage(text(), kind, share, 7))
    pairs = list(zip(before, after, strict=True))
    moved = [(a, b) for a, b in pairs if a != b]
    assert {a["ts"] - b["ts"] for a, b in moved} == {CLOCKS[kind]}
    assert all({**a, "ts": 0} == {**b, "ts": 0} for a, b in moved)
    records = [a for a, _ in moved if a["cat"] != "ac2g"]
    assert {a["cat"] for a in records} <= set(GPU)
    on_gpu = [a for a in before if a.get("cat") in GPU]
    assert len(records) == pytest.approx(share * len(on_gpu), rel=0.02)


def test_a_file_is_cut_short() -> None:
    cut = damage(text(), "truncate", 0.3, 7)
    assert text().startswith(cut)
    assert len(cut) == pytest.approx(0.7 * len(text()), abs=1)
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_of_no_share_is_none_and_damage_repeats(kind: str) -> None:
    assert damage(text(), kind, 0.0, 7) == text()
    once = damage(text(), kind, 0.2, 7)
    assert once == damage(text(), kind, 0.2, 7) != text()


def test_another_seed_loses_other_records() -> None:
    assert damage(text(), "drop_kernels", 0.2, 1) != damage(text(), "drop_kernels", 0.2, 2)


@pytest.mark.parametrize(("kind", "share"), [("melt", 0.1), ("truncate", 1.1), ("truncate", -0.1)])
def test_what_is_no_damage(kind: str, share: float) -> None:
    with pytest.raises(ValueError, match=r"no such damage|a share is between"):
        damage(text(), kind, share, 0)
