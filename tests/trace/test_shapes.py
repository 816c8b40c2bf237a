"""Events read by their shape are what decoding them one by one gives, whatever their text."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from perfkit.model.trace import EVENT_COLUMNS, Trace, TraceInfo
from perfkit.trace import regular, segments, shapes
from perfkit.trace.columns import BlockColumns, columns_of
from perfkit.trace.digits import numbers, words_of
from perfkit.trace.events import Event, decode_events, read_block
from perfkit.trace.join import join, total_damage
from tests.trace.kineto_text import Bare, allocation, event, flow, host, kernel, label, many
from tests.trace.test_layouts import assert_same

CALL = {"cat": "cuda_runtime", "tid": Bare("-1234567")}


@pytest.fixture(autouse=True)
def new_file() -> None:
    regular.forget()


def block(*events: str, between: str = ",\n") -> bytes:
    return between.join(events).encode()


def rows(start: int = 0) -> list[str]:
    """What a writer writes most, with other numbers for each `start`."""
    call = {"args": {"External id": start + 5, "cbid": 211, "correlation": start + 7}}
    return [
        *many(12, start),
        host("cudaEventQuery", start * 10_000 + 100, 20, **CALL | call),
        host(f"ProfilerStep#{start}", start * 10_000, 90, cat="user_annotation"),
        kernel("Memset", start * 10_000, cat="gpu_memset", args={"bytes": 40, "graph id": start}),
        flow("s", "ac2g", start, start * 10_000),
        allocation(start * 10_000 + 50, start * 3 - 2 * start * (start % 20), start * 7, start * 9),
        flow("f", "fwdbwd", start + 8, start * 10_000),
    ]


def trace(*blocks: BlockColumns) -> Trace:
    return join(blocks, TraceInfo(source="made by a test"))


def assert_alike(texts: list[bytes]) -> None:
    """Both ways give the same events, flows and damage, also where ends of blocks differ."""
    one, other = ([how(text) for text in texts] for how in (regular.read_columns, plain))
    assert [b.rows for b in one] == [b.rows for b in other]
    assert total_damage(one) == total_damage(other)
    assert [b.tail for b in one] == [b.tail for b in other]
    assert_same(trace(*one), trace(*other))
    assert trace(*one).names == trace(*other).names  # reports break ties by position
    assert trace(*one).lanes == trace(*other).lanes
    for column in EVENT_COLUMNS:
        kinds = [getattr(trace(*blocks), column).dtype for blocks in (one, other)]
        assert kinds[0] == kinds[1], column
    flows = [flows_of(trace(*blocks)) for blocks in (one, other)]
    assert flows[0] == flows[1]
    assert operands_of(trace(*one)) == operands_of(trace(*other))


def plain(text: bytes) -> BlockColumns:
    return columns_of(read_block(text))


def operands_of(made: Trace) -> list[str]:
    return [made.operands.texts[i] for i in made.operands.text.tolist()]


def flows_of(made: Trace) -> list[tuple[Any, ...]]:
    flows = made.flows
    columns = (flows.id, flows.ts, flows.lane, flows.name, flows.is_start)
    listed = zip(*(column.tolist() for column in columns), strict=True)
    return [(i, ts, made.lanes[lane], made.names[name], on) for i, ts, lane, name, on in listed]


def test_what_repeats_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [block(*rows(start)) for start in range(100_000, 100_600, 20)]
    decoded: list[Event] = []

    def counted(text: bytes) -> list[Event]:
        events = decode_events(text)
        decoded.extend(events)
        return events

    monkeypatch.setattr(segments, "decode_events", counted)
    monkeypatch.setattr(shapes, "decode_events", counted)
    assert_alike(texts)
    assert len(decoded) < len(texts) * len(rows()) / 4
    assert all(regular._READER.read(text) for text in texts)


ODDITIES: dict[str, Any] = {
    "digits in names": lambda i: kernel(f"gemm_{i}x{i % 10}", i * 1000),
    "leading zeros in names": lambda i: host(f"step_{i % 100:03d}", i * 1000),
    "leading zeros": lambda i: host(args={"External id": Bare(f"0{i}")}),
    "leading zeros unread": lambda i: host(args={"External id": i, "Ev Idx": Bare(f"0{i}")}),
    "leading zeros of times": lambda i: host(ts=Bare(f"0{i}.123")),
    "whole times": lambda i: host(ts=i, dur=i % 7),
    "few decimals": lambda i: host(ts=Bare(f"{i}.5"), dur=Bare(f"{i}.25")),
    "many decimals": lambda i: host(ts=Bare(f"{i}.12345"), dur=Bare(f"{i}.98765")),
    "exponents": lambda i: host(ts=Bare(f"{i}e3"), dur=Bare(f"{i}e1")),
    "exponents out of range": lambda i: host(dur=Bare(f"1e{i}")),
    "times as text": lambda i: host(ts=str(i)),
    "times without decimals behind the point": lambda i: host(ts=Bare(f"{i}.")),
    "negative times": lambda i: host(ts=Bare(f"-{i}.123"), dur=Bare(f"-{i}.5")),
    "late times": lambda i: host(ts=Bare(f"4611686018{i:06d}.904")),
    "times beyond": lambda i: host(ts=Bare(f"99999999{i:06d}99.904")),
    "long times": lambda i: host(ts=Bare(f"11{i:06d}1111111111111.904")),
    "long durations": lambda i: host(dur=Bare(f"879609{i:06d}.500")),
    "weeks": lambda i: host(dur=Bare(f"604{i:06d}999.5")),
    "no time": lambda i: host("gone", ts=None, args={"External id": i}),
    "no duration": lambda i: host("gone", dur=None, args={"External id": i}),
    "no name": lambda i: host(None, args={"External id": i}),
    "no arguments": lambda i: host("bare", i * 1000, args=None),
    "no category": lambda i: host("bare", i * 1000, cat=None),
    "large ids": lambda i: host(args={"External id": Bare(f"18446744073709{i:06d}")}),
    "negative ids": lambda i: host(args={"External id": Bare(f"-{i}")}),
    "ids as text": lambda i: host(args={"External id": str(i)}),
    "ids as lists": lambda i: host(args={"External id": [i]}),
    "ids inside": lambda i: host(args={"more": {"External id": i, "ts": i}}),
    "ids outside": lambda i: host(**{"External id": i, "correlation": i}),
    "ids twice": lambda i: host(args={"External id": Bare(f'{i}, "External id": {i + 1}')}),
    "ids twice, inside last": lambda i: host(
        args={"External id": i, "more": {"External id": i + 1}}
    ),
    "names twice": lambda i: host(args={"name": f"other {i}"}),
    "names twice at the top": lambda i: host(Bare(f'"one {i}", "name": "two {i}"')),
    "named threads": lambda i: kernel("k", i * 1000, tid=f"stream {i % 3}", pid="GPU"),
    "negative threads": lambda i: host("k", i * 1000, tid=Bare(f"-{i % 3 + 10}")),
    "other streams": lambda i: kernel("k", i * 1000, args={"stream": i % 3, "device": 1}),
    "streams as text": lambda i: kernel("k", i * 1000, args={"stream": str(i % 3), "device": "1"}),
    "categories with digits": lambda i: host(cat=f"privateuse{i % 3}_runtime"),
    "categories with more digits": lambda i: host(cat=f"a{i % 3}b{i % 2}"),
    "frees": lambda i: allocation(i * 1000, -1024 - i, i * 512, i * 2048),
    "the host's memory": lambda i: allocation(i, i, i, 0, args={"Device Id": -1, "Device Type": 0}),
    "memory without totals": lambda i: allocation(
        i, i, i, i, args={"Total Allocated": None, "Total Reserved": None}
    ),
    "no memory": lambda i: allocation(i, i << 20, i << 30, i << 31, name="[OutOfMemory]"),
    "memory as text": lambda i: allocation(i, str(i), str(i), i),
    "memory as fractions": lambda i: allocation(i, Bare(f"{i}.0"), i, i),
    "memory twice": lambda i: allocation(i, Bare(f'{i}, "Bytes": {i + 1}'), i, i),
    "memory that is long": lambda i: allocation(i, Bare(f"56294995{i:06d}421312"), i, i),
    "arrows with other digits": lambda i: flow("s", f"ac{i % 4}g", i),
    "arrows with names": lambda i: flow("f", "fwdbwd", f"0x{i}"),
    "arrows without ids": lambda i: flow("t", "fwdbwd", None, i * 1000),
    "arrows at no time": lambda i: flow("s", "fwdbwd", i).replace('"ts": 4', '"ts": "x", "y": 4'),
    "arrows at times beyond": lambda i: event(
        "s", id=i, pid=1, tid=2, ts=Bare(f"99999999{i:06d}99.904"), cat="fwdbwd", name="a"
    ),
    "collectives": lambda i: kernel(
        "nccl", i * 1000, args={"Collective name": "allreduce", "In msg nelems": i}
    ),
    "matrix operators": lambda i: host(
        "aten::mm", i, args={"External id": i, "Input Dims": [[i, 8], [8, i % 3]]}
    ),
    "waits": lambda i: host("w", i, cat="cuda_sync", args={"wait_on_stream": i}),
    "calls with sizes": lambda i: host("c", i, cat="cuda_runtime", args={"bytes": i}),
    "operators with sizes": lambda i: host("c", i, args={"bytes": i, "correlation": i}),
    "escapes": lambda i: host(Bare(f'"a \\u00{i % 90 + 10} b"'), i * 1000),
    "half of a pair": lambda i: host(Bare(f'"a \\ud{i % 10}00 b"'), i * 1000),
    "quotes": lambda i: host(Bare(f'"say "{i}" twice"'), i * 1000),
    "bare words": lambda i: host("n", i * 1000, args={"External id": i, "x": Bare("nan")}),
    "lists of objects": lambda i: host("n", i * 1000, args={"x": [{"a": i}, {"b": i}, {"ts": 1}]}),
    "lists of events": lambda i: host(
        "n", i * 1000, args={"x": Bare("[" + ",\n".join(map(host, "abc")) + "]")}
    ),
    "life times": lambda i: host("PyTorch Profiler (0)", i * 1000, cat="Trace", tid=i % 2),
    "labels": lambda i: label("process_name", i % 3, {"name": f"python {i}"}),
    "instants": lambda i: event("i", name=f"Record Window End {i}", ts=i, pid="", tid="", s="g"),
    "broken": lambda i: host("n", i * 1000)[: -(i % 5) - 1],
    "long": lambda i: host("n", i * 1000, args={"External id": i, "stack": "f" * 5000}),
    "snowmen": lambda i: host(Bare(f'"\N{SNOWMAN} {i}"'), i * 1000),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_oddities(oddity: str) -> None:
    made = ODDITIES[oddity]
    numbers = (100, 101, 219, 999, 123_456, 900_000)
    texts = [
        block(*rows(start), *(made(i + start % 9) for i in numbers), *rows(start + 20))
        for start in (0, 2000, 100_000, 100_100, 100_200, 100_300)
    ]
    assert_alike(texts)


@pytest.mark.parametrize("layout", ["sorted", "one line", "tight", "name first", "windows"])
def test_layouts(layout: str) -> None:
    def laid_out(text: str) -> str:
        if layout == "windows":
            return text.replace("\n", "\r\n")
        if layout == "name first":
            return text.replace('"ph": "X", ', "").replace("\n  }", ',\n    "ph": "X"\n  }')
        separators = (",", ":") if layout == "tight" else None
        return json.dumps(json.loads(text), sort_keys=layout == "sorted", separators=separators)

    between = "," if layout == "tight" else ", "
    texts = [
        block(*map(laid_out, rows(start)), between=between) for start in range(100_000, 100_200, 20)
    ]
    assert_alike(texts)


@pytest.mark.parametrize("first", ["id", "ts", "dur", "tid", "pid"])
def test_numbers_at_the_start_of_a_block(first: str) -> None:
    def laid_out(i: int) -> str:
        members = {"ph": "X", "cat": "k", "name": "n", "pid": 1, "tid": 2, "ts": 50 + i, "dur": 1}
        return json.dumps({"s": 1, first: i} | members | {first: i}, separators=(",", ":"))

    starts = (1, 1, 2, 310, 320, 330, 10**8, 10**8 + 20, 10**8 + 40, 10**8 + 60)
    texts = [block(*map(laid_out, range(start, start + 8)), between=",") for start in starts]
    assert_alike(texts)
    assert sum(regular._READER.read(text) is not None for text in texts) > 4


DAMAGE = (b"", b"0", b"7", b'"', b"\\", b"{", b"}", b",", b"-", b"e", b"\xff")


@pytest.mark.parametrize("seed", range(40))
def test_damage(seed: int) -> None:
    """Any bytes replaced, removed or repeated."""
    chance = random.Random(seed)
    texts = []
    for start in range(100_000, 100_240, 20):
        text = bytearray(block(*rows(start)))
        for _ in range(chance.choice((0, 0, 1, 3))):
            at, size = chance.randrange(len(text)), chance.choice((0, 1, 1, 2, 30))
            text[at : at + size] = chance.choice(DAMAGE)
        texts.append(bytes(text))
    assert_alike(texts)


def test_the_end_of_the_list() -> None:
    texts = [block(*rows(start)) for start in (100_000, 100_020)]
    assert_alike([*texts, block(*rows(100_040)) + b'\n  ],\n  "traceName": "x"\n}\n'])
    assert_alike([*texts, block(*rows(100_040)) + b"\n  ]\n}"])
    assert_alike([*texts, b"\n]}", b""])


def test_shapes_are_forgotten_before_they_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "_MOST_BYTES", 20_000)
    assert_alike([block(*rows(start)) for start in range(100_000, 100_600, 20)])
    assert 0 < regular._READER._shapes.known.size < 40_000


def test_many_shapes() -> None:
    """More than the table begins with."""
    names = ["n" * (i + 1) for i in range(600)]
    texts = [block(*(host(n, i * 1000 + k) for i, n in enumerate(names))) for k in range(4)]
    assert_alike(texts)
    assert len(regular._READER._shapes.table) > 600


def test_text_that_never_repeats_is_left_alone_for_a_while() -> None:
    texts = [
        block(*(host("".join(chr(97 + int(c)) for c in str(k * 100 + i))) for i in range(100)))
        for k in range(20, 60)
    ]
    assert_alike(texts)
    assert len(regular._READER._shapes.known) < 100 * len(texts) / 2


@pytest.mark.parametrize("digits", range(1, 17))
def test_numbers_of_any_length(digits: int) -> None:
    text = b'{"number": ' + b"1234567890123456"[:digits] + b"}       "
    end = np.array([[text.index(b"}")]])
    found = numbers(words_of(text), end, np.array([[digits]]))
    assert found.tolist() == [[int(b"1234567890123456"[:digits])]]
