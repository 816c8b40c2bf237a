"""The same events, however their text is laid out and wherever blocks are cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.model.trace import EVENT_COLUMNS, Allocations, Damage, Trace
from perfkit.trace import document as text_of_document
from perfkit.trace import open_trace, source
from tests.trace.conftest import Read, names
from tests.trace.kineto_text import Bare, allocation, document, flow, host, kernel, many

META = {
    "baseTimeNanoseconds": 1_767_225_600_000_000_000,
    "distributedInfo": {"backend": "nccl", "rank": 3, "world_size": 8},
    "deviceProperties": [{"id": 0, "name": "A"}, {"id": 1, "name": "B", "numSms": 132}],
}
ROWS = [
    *many(60),
    host('quote " and \\ and \N{SNOWMAN}', 900_000),
    kernel("last", 990_000, 500, args={"bytes": 12}),
    *(allocation(i * 1000, 512 * (5 - i), 4096 * i, 1 << 21) for i in range(12)),
]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few events."""
    monkeypatch.setattr(text_of_document, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(text_of_document, "_LAST_BYTES", 500)
    monkeypatch.setattr(source, "CHUNK_BYTES", 700)


ALLOCATION_COLUMNS = [field.name for field in fields(Allocations)]


def assert_same(one: Trace, other: Trace) -> None:
    assert len(one) == len(other)
    assert names(one) == names(other)
    for column in set(EVENT_COLUMNS) - {"name", "category", "lane"}:
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), column)
    assert [one.lanes[i] for i in one.lane] == [other.lanes[i] for i in other.lane]
    assert [one.names[i] for i in one.category] == [other.names[i] for i in other.category]
    for part in ("flows", "collectives", "operands"):
        for column in ("id", "ts", "row", "in_elements"):
            mine, theirs = (getattr(getattr(t, part), column, None) for t in (one, other))
            np.testing.assert_array_equal(mine, theirs, column)
    for column in ALLOCATION_COLUMNS:
        mine, theirs = (getattr(t.allocations, column) for t in (one, other))
        np.testing.assert_array_equal(mine, theirs, column)
    assert (one.info.base_ns, one.info.rank) == (other.info.base_ns, other.info.rank)
    assert one.info.devices == other.info.devices


LAYOUTS: dict[str, Callable[[str], str]] = {
    "one line": lambda text: json.dumps(json.loads(text)),
    "no blanks": lambda text: json.dumps(json.loads(text), separators=(",", ":")),
    "indented": lambda text: json.dumps(json.loads(text), indent=4),
    "sorted keys": lambda text: json.dumps(json.loads(text), sort_keys=True),
    "unicode": lambda text: json.dumps(json.loads(text), ensure_ascii=False),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "mark": lambda text: "\N{ZERO WIDTH NO-BREAK SPACE}" + text,
    "mark and blanks": lambda text: "\N{ZERO WIDTH NO-BREAK SPACE}\n\n  " + text,
    "blanks behind": lambda text: text + "\n\n   \r\n",
    "a line each": lambda text: text.replace("\n    ", " ").replace("{ ", "{"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(read: Read, layout: str) -> None:
    text = document(*ROWS, before=META)
    trace = read(LAYOUTS[layout](text))
    assert_same(trace, read(text))
    assert trace.info.base_ns == META["baseTimeNanoseconds"]
    assert trace.info.damage == Damage()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_small_blocks(read: Read, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = document(*ROWS, before=META)
    trace = read(LAYOUTS[layout](text))
    monkeypatch.undo()
    assert_same(trace, read(text))
    assert trace.info.damage == Damage()


@pytest.mark.parametrize("size", [600, 661, 777, 5000])
def test_blocks_may_end_anywhere(read: Read, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    text = document(*ROWS, after=META)
    whole = read(text)
    monkeypatch.setattr(text_of_document, "BLOCK_BYTES", size)
    monkeypatch.setattr(text_of_document, "_LAST_BYTES", size // 3)
    monkeypatch.setattr(source, "CHUNK_BYTES", size // 2)
    cut = read(text)
    assert_same(cut, whole)
    assert cut.info.damage == Damage()


def test_metadata_behind_the_list(read: Read) -> None:
    before, behind = document(*ROWS, before=META), document(*ROWS, after=META)
    assert_same(read(behind), read(before))
    assert read(behind).info.devices[1].name == "B"


@pytest.mark.parametrize("size", [70_000, 700_000, 2_000_000])
@pytest.mark.parametrize("place", ["first", "last"])
def test_large_metadata_behind_the_list(read: Read, size: int, place: str) -> None:
    large = {"mine": [{"name": f"entry {i}", "id": i} for i in range(size // 30)]}
    text = document(*ROWS, after=large | META if place == "first" else META | large)
    trace = read(text)
    assert_same(trace, read(document(*ROWS, after=META)))
    assert trace.info.damage == Damage()


@pytest.mark.usefixtures("small_blocks")
def test_metadata_larger_than_many_blocks(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"mine": [{"name": f"entry {i}", "id": i} for i in range(2000)]}
    for after in (large | META, META | large, {"text": "x" * 20_000} | META):
        trace = read(document(*ROWS, after=after))
        assert (trace.info.base_ns, trace.info.rank) == (META["baseTimeNanoseconds"], 3)
        assert (len(trace), len(trace.info.devices)) == (122, 2)
        assert trace.info.damage == Damage()


def test_a_header_larger_than_a_block(read: Read) -> None:
    trace = read(document(*ROWS, before={"text": "x" * 3_000_000} | META))
    assert (len(trace), trace.info.rank) == (122, 3)


NESTED: dict[str, dict[str, Any]] = {
    "a list of objects": {"stack": [{"name": "f"}, {"name": "g"}, {"name": "h"}]},
    "objects beside a list": {"grid": [1, 2], "x": {"pid": 1}, "y": [{"ts": 3}, {"ts": 4}]},
    "deeper": {"a": [{"id": 1, "b": [{"id": 2}, {"id": 3}]}, {"id": 4}]},
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("damage", ["", '"x "y" z"', "inf", "NaN"])
def test_arguments_that_look_like_events(read: Read, nested: str, damage: str) -> None:
    rows = [host(f"n{i}", i, args=NESTED[nested] | {"last": i}) for i in range(6)]
    if damage:
        rows[3:3] = [host("damaged", 50, args={"x": Bare(damage)})]
    trace = read(document(*rows))
    found = [name for name in names(trace) if name != "damaged"]
    assert found == [f"n{i}" for i in range(6)]
    assert trace.info.damage.unreadable_events == 0


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("nested", NESTED)
def test_no_block_ends_inside_arguments(read: Read, nested: str) -> None:
    rows = [host(f"n{i}", i, args=NESTED[nested]) for i in range(60)]
    trace = read(document(*rows))
    assert names(trace) == [f"n{i}" for i in range(60)]
    assert trace.info.damage == Damage()


STRINGS = [
    '"traceEvents": [',
    '},\n{ "ph": "X"',
    '}, {"name": "x"',
    "}]",
    '}], "x": 1}',
    "\\",
    '\\"',
]


@pytest.mark.parametrize("text", STRINGS)
def test_strings_that_look_like_structure(read: Read, text: str) -> None:
    rows = [host(text, i, args={"note": text}) for i in range(3)]
    trace = read(document(*rows, before={"note": text} | META, after={"more": text}))
    assert names(trace) == [text] * 3
    assert trace.info.rank == 3
    assert trace.info.damage == Damage()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("text", STRINGS)
def test_strings_that_look_like_structure_in_small_blocks(read: Read, text: str) -> None:
    rows = [host(text, i, args={"note": text}) for i in range(40)]
    trace = read(document(*rows, after=META))
    assert names(trace) == [text] * 40
    assert trace.info.rank == 3
    assert trace.info.damage == Damage()


@pytest.mark.parametrize("size", [5000, 600_000, 3_000_000])
def test_an_event_longer_than_a_block(
    read: Read, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    if size < 10_000:
        monkeypatch.setattr(text_of_document, "BLOCK_BYTES", 1000)
        monkeypatch.setattr(text_of_document, "_LAST_BYTES", 300)
        monkeypatch.setattr(source, "CHUNK_BYTES", 500)
    rows = [*many(10), host("long", 500_000, args={"stack": "}" * size}), kernel("k", 600_000)]
    trace = read(document(*rows))
    assert names(trace)[-2:] == ["long", "k"]
    assert len(trace) == 22
    assert trace.info.damage == Damage()


@pytest.mark.usefixtures("small_blocks")
def test_a_block_of_nothing_but_damage(read: Read) -> None:
    rows = [*many(5), *("  {\n    <<>>\n  }" for _ in range(400)), *many(5, 5)]
    trace = read(document(*rows))
    assert len(trace) == 20
    assert trace.info.damage == Damage(unreadable_events=400)


@pytest.mark.usefixtures("small_blocks")
def test_damage_is_counted_over_blocks(read: Read) -> None:
    rows = [host(Bare(f'"a "{i}" b"'), i, dur=-1) for i in range(50)]
    trace = read(document(*rows))
    assert trace.info.damage == Damage(repaired_events=50, negative_durations=50)


@pytest.mark.usefixtures("small_blocks")
def test_a_truncated_file_in_small_blocks(read: Read) -> None:
    text = document(*many(60))
    trace = read(text[: text.index("aten::op0", len(text) * 4 // 5) + 3])
    assert 110 > len(trace) > 90
    assert trace.info.damage == Damage(truncated=True, unreadable_events=1)


def test_rows_count_every_element(read: Read) -> None:
    trace = read(document(flow("s", "fwdbwd", 1), host("a"), flow("f", "fwdbwd", 1), host("b", 1)))
    assert trace.row.tolist() == [1, 3]


def test_progress_reaches_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(document(*many(3000)))
    calls: list[tuple[int, int]] = []
    open_trace(path, lambda done, total: calls.append((done, total)))
    size = path.stat().st_size
    assert len(calls) > 1
    assert calls[-1] == (size, size)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
