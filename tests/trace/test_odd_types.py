"""Values of types that no reader expects cost at most their event."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trace.conftest import UNDAMAGED, Read, lanes, names
from tests.trace.kineto_text import ORIGIN, Bare, document, host, kernel


def test_text_where_a_number_is_expected(read: Read) -> None:
    args = {"bytes": "nan", "correlation": "12", "graph id": "inf"}
    trace = read(document(kernel("k", args=args)))
    assert (trace.bytes.tolist(), trace.corr.tolist(), trace.graph.tolist()) == ([-1], [12], [-1])


def test_arguments_as_text_on_rocm(read: Read) -> None:
    rows = [kernel("a", 0, args={"bytes": "4096"}), kernel("b", 9000, args={"bytes": 17})]
    rows.append(host("hipLaunchKernel", 9, cat="cuda_runtime", args={"stream": "0x0"}))
    trace = read(document(*rows))
    assert trace.bytes.tolist() == [4096, -1, 17]
    assert trace.info.damage == UNDAMAGED


def test_times_as_text_on_ascend(read: Read) -> None:
    rows = [host("a", ts="1712169112123456.789"), host("b", ts="1712169112123459")]
    trace = read(document(*rows))
    assert trace.ts.tolist() == [1_712_169_112_123_456_789, 1_712_169_112_123_459_000]
    assert trace.dur.tolist() == [1000, 1000]
    assert trace.info.damage == UNDAMAGED


def test_a_stream_as_text(read: Read) -> None:
    trace = read(document(kernel("k", cat="Kernel", tid="stream 7", args={"stream": None})))
    assert lanes(trace) == [("0", "stream 7", 0, 7)]


def test_process_ids_as_text(read: Read) -> None:
    rows = [host("a", pid="4242"), host("b", 1), host("c", 2, pid="CPU functions")]
    trace = read(document(*rows))
    assert trace.lane[0] == trace.lane[1] != trace.lane[2]


@pytest.mark.parametrize("args", [None, Bare("null"), [], [1, 2], "text", 5, {}])
def test_arguments_of_any_type(read: Read, args: object) -> None:
    rows = [host("before"), host("odd", 5, args=args), host("after", 9)]
    assert names(read(document(*rows))) == ["before", "odd", "after"]


ODD = [Bare("null"), True, 1.5, -7, [1, {"a": 2}], {"b": [3]}, "text", "", Bare("1" * 5000)]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["name", "cat", "pid", "tid", "id"])
def test_fields_of_any_type(read: Read, key: str, odd: object) -> None:
    rows = [host("before"), host("odd", 5, **{key: odd}), host("after", 9)]
    trace = read(document(*rows))
    assert len(trace) == 3
    assert trace.ts[1] == ORIGIN * 1000 + 5


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["correlation", "stream", "device", "bytes", "dtype", "graph id"])
def test_arguments_of_odd_types(read: Read, key: str, odd: object) -> None:
    rows = [kernel("before", 1), kernel("odd", 5000, args={key: odd}), kernel("after", 9000)]
    trace = read(document(*rows))
    assert names(trace) == ["before", "odd", "after"]
    assert trace.corr[0] == 1


@pytest.mark.parametrize("odd", [Bare("null"), True, [1, 2], "soon", "", Bare("1e999999"), "1_0x"])
@pytest.mark.parametrize("key", ["ts", "dur"])
def test_times_of_odd_types_cost_the_event(read: Read, key: str, odd: object) -> None:
    trace = read(document(host("before"), host("odd", 5, **{key: odd}), host("after", 9)))
    assert names(trace) == ["before", "after"]
    assert trace.info.damage.unreadable_events == 1


def test_a_time_that_is_a_list_over_two_lines(read: Read) -> None:
    trace = read(document(host("a"), host("odd", 5, ts=Bare("[1,\n2]")), host("b", 9)))
    assert names(trace) == ["a", "b"]


def test_exact_times_beside_odd_fields(read: Read) -> None:
    trace = read(document(host("a", ts=Bare("1712169112123456.789"), pid=1.5)))
    assert trace.ts.tolist() == [1_712_169_112_123_456_789]


@pytest.mark.parametrize("key", ["ts", "dur"])
def test_an_event_without_its_times_is_left_out(read: Read, key: str) -> None:
    trace = read(document(host("a"), host("b", 1, **{key: None})))
    assert names(trace) == ["a"]
    assert trace.info.damage.unreadable_events == 1


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64, 10**30, -(2**63) - 1])
def test_integers_beyond_int64(read: Read, number: int) -> None:
    rows = [
        host("a", 0, pid=number, args={"External id": number}),
        kernel("b", 9000, args={"correlation": number, "bytes": number}),
        kernel("c", 19_000, args={"correlation": 2**53 + 1}),
    ]
    trace = read(document(*rows))
    expected = number if number < 2**63 and number >= -(2**63) else -1
    assert trace.corr.tolist() == [-1, expected, 2**53 + 1]
    assert trace.external_id[0] == trace.bytes[1] == expected


@pytest.mark.parametrize("odd", [Bare("null"), True, 1.5, [1], {"a": 1}, "text", 10**30, -1])
@pytest.mark.parametrize("key", ["baseTimeNanoseconds", "distributedInfo", "deviceProperties"])
def test_metadata_of_any_type(read: Read, key: str, odd: object) -> None:
    inner: dict[str, Any] = {"deviceProperties": [{"id": odd, "name": odd, "numSms": odd}, odd]}
    inner |= {"distributedInfo": {"rank": odd, "backend": odd}}
    for header in ({key: odd}, inner, {"mine": {"deep": odd}}):
        assert names(read(document(host("a"), before=header))) == ["a"]
