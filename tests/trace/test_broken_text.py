"""Text that is no JSON, as writers that escape nothing leave it: read as what was meant."""

from __future__ import annotations

import json

import pytest

from perfkit.model.trace import Damage
from tests.trace.conftest import UNDAMAGED, Read, names
from tests.trace.kineto_text import Bare, document, host, kernel, label, many


@pytest.mark.parametrize(
    "name",
    [
        'torch/_dynamo <module "x">: forward',
        '"',
        'a "quoted" b',
        'ends with a quote"',
        'lambda: {"key": "value"}',
        'two "a", "b"',
    ],
)
def test_unescaped_quotes_in_a_name(read: Read, name: str) -> None:
    trace = read(document(host("before"), host(Bare(f'"{name}"'), 1), host("after", 2)))
    assert names(trace) == ["before", name, "after"]
    assert trace.info.damage == Damage(repaired_events=1)


def test_unescaped_quotes_cost_only_what_they_break(read: Read) -> None:
    rows = many(50)
    rows[40:40] = [host(Bare('"a "b" c"'), 1), host(Bare('"d "e" f"'), 2)]
    trace = read(document(*rows))
    assert len(trace) == 102
    assert {'a "b" c', 'd "e" f'} <= set(names(trace))
    assert trace.info.damage.repaired_events == 2


@pytest.mark.parametrize("place", ["before", "after"])
def test_unescaped_quotes_in_log_lines(read: Read, place: str) -> None:
    logs = {"INFO": [Bare('"env "A"="B" set"'), "plain"], "baseTimeNanoseconds": 17}
    logs["distributedInfo"] = {"rank": 3, "world_size": 8}
    rows = (host("a"), kernel("b", 2000))
    text = document(*rows, before=logs) if place == "before" else document(*rows, after=logs)
    trace = read(text)
    assert names(trace) == ["a", "b"]
    assert (trace.info.base_ns, trace.info.rank, trace.info.world_size) == (17, 3, 8)
    assert trace.info.damage == UNDAMAGED


def test_unescaped_quotes_in_a_thread_name(read: Read) -> None:
    broken = label("thread_name", 4242, {"name": Bare('"thread "main" (python)"')})
    trace = read(document(host("a"), broken, host("b", 1)))
    assert names(trace) == ["a", "b"]


def test_metadata_is_picked_from_a_header_beyond_repair(read: Read) -> None:
    header = {"baseTimeNanoseconds": 99, "junk": Bare("<<>>"), "distributedInfo": {"rank": 5}}
    trace = read(document(host("a"), before=header))
    assert (trace.info.base_ns, trace.info.rank) == (99, 5)


@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\x1b", b"\n", b"\t", b"\r"])
def test_control_bytes_in_a_name(read: Read, byte: bytes) -> None:
    text = document(host("a"), host("x?y", 1), kernel("b", 2000)).encode()
    trace = read(text.replace(b"x?y", b"x" + byte + b"y"))
    assert names(trace) == ["a", "x y", "b"]


@pytest.mark.parametrize("broken", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe4\xb8"])
def test_bytes_that_are_not_utf8(read: Read, broken: bytes) -> None:
    text = document(host("a"), host("x?y", 1), kernel("b", 2000)).encode()
    trace = read(text.replace(b"x?y", b"x" + broken + b"y"))
    found = names(trace)
    assert (found[0], found[2]) == ("a", "b")
    assert found[1].strip("xy").strip("\N{REPLACEMENT CHARACTER}") == ""


def test_bytes_that_are_not_utf8_in_metadata(read: Read) -> None:
    text = document(host("a"), before={"host_name": "h?st", "baseTimeNanoseconds": 5})
    trace = read(text.encode().replace(b"h?st", b"h\xfcst"))
    assert trace.info.base_ns == 5
    assert trace.info.metadata["host_name"] == "h\N{REPLACEMENT CHARACTER}st"


@pytest.mark.parametrize("escape", [r"\udcff", r"\ud800", r"\ud800\ud800", r"\udc00\ud800"])
def test_lone_surrogates(read: Read, escape: str) -> None:
    trace = read(document(host("a"), host(Bare(f'"x{escape}"'), 1)))
    found = names(trace)
    assert found[1].rstrip("\N{REPLACEMENT CHARACTER}") == "x"
    found[1].encode()


def test_surrogate_pairs_survive_damage_elsewhere(read: Read) -> None:
    trace = read(document(host(Bare(r'"\ud83d\ude00"')), host(Bare('"\x01"'), 1)))
    assert names(trace)[0] == "\U0001f600"


@pytest.mark.parametrize("path", [r"C:\Users\x\model.py(3): forward", r"\d+ \("])
def test_unescaped_backslashes(read: Read, path: str) -> None:
    trace = read(document(host("a"), host(Bare(f'"{path}"'), 1), host("b", 2)))
    assert names(trace) == ["a", path.replace("\\", "/"), "b"]


@pytest.mark.parametrize(
    "word", ["inf", "-inf", "nan", "-nan", "N/A", "NaN", "Infinity", "-Infinity"]
)
def test_values_that_are_not_json(read: Read, word: str) -> None:
    args = {"memory bandwidth (GB/s)": Bare(word), "bytes": 64}
    copy = kernel("copy", 1000, cat="gpu_memcpy", args=args)
    trace = read(document(host("a"), copy))
    assert (names(trace), trace.bytes.tolist()) == (["a", "copy"], [-1, 64])
    assert trace.info.damage == Damage(repaired_events=1)


@pytest.mark.parametrize("grid", ["[NaN, 1, -Infinity]", "[[1.5, NaN], [2, 3]]", "[\n NaN\n]"])
def test_not_a_number_in_a_list(read: Read, grid: str) -> None:
    trace = read(document(kernel("k", args={"grid": Bare(grid)})))
    assert names(trace) == ["k"]


def test_names_that_read_like_broken_numbers_stay(read: Read) -> None:
    odd = ["isfinite: nan, inf", "f(a, NaN, b)", "x: -1.-500", "N/A: N/A"]
    rows = [host(name, i) for i, name in enumerate(odd)]
    trace = read(document(*rows, kernel("k", 9000, args={"x": Bare("inf")})))
    assert names(trace)[:4] == odd


def test_brackets_in_the_trace_name(read: Read) -> None:
    trace = read(document(host("a"), kernel("b", 2000), name='[Strategy]x}], \\"y\\": ].json'))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage == UNDAMAGED
    assert trace.info.metadata["traceName"].startswith("[Strategy]x")


def test_nesting_without_end_costs_only_the_event(read: Read) -> None:
    deep = Bare("[" * 50_000 + "]" * 50_000)
    trace = read(document(host("a"), host("deep", 1, args={"x": deep}), host("b", 2)))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage.unreadable_events == 1


def test_a_run_of_blanks_takes_no_time(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1)).replace("}\n  ],", "}" + " " * 300_000 + "x]"))
    assert len(trace) >= 1


def test_names_in_any_script(read: Read) -> None:
    odd = ["模型", "naïve", "\U0001f600", "a\\b", "tab\there", 'say "hi"', "]}", "},{", ""]
    rows = [host(name, i) for i, name in enumerate(odd)]
    assert names(read(document(*rows))) == odd
    assert names(read(json.dumps(json.loads(document(*rows)), ensure_ascii=False))) == odd
