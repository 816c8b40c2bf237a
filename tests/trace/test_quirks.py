"""What writers since 2021 and dying processes have put into files, one test each."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest

from perfkit.errors import PerfkitError
from perfkit.model.trace import Damage, Kind, Trace
from tests.trace.conftest import Read, names
from tests.trace.kineto_text import (
    ORIGIN,
    Bare,
    document,
    event,
    flow,
    host,
    kernel,
    label,
    many,
)

UNDAMAGED = Damage()


def kinds(trace: Trace) -> list[str]:
    return [Kind(kind).name for kind in trace.kind.tolist()]


def lanes(trace: Trace) -> list[tuple[str, str, int, int]]:
    found = [trace.lanes[i] for i in trace.lane.tolist()]
    return [(lane.pid, lane.tid, lane.device, lane.stream) for lane in found]


def test_an_undamaged_trace_is_read_as_it_is(read: Read) -> None:
    trace = read(document(host("a", 0, 1500), kernel("b", 2000, 3001, args={"bytes": 5})))
    assert names(trace) == ["a", "b"]
    assert trace.ts.tolist() == [ORIGIN * 1000, ORIGIN * 1000 + 2000]
    assert trace.dur.tolist() == [1500, 3001]
    assert trace.corr.tolist() == [-1, 2000]
    assert trace.external_id.tolist() == [1, -1]
    assert trace.bytes.tolist() == [-1, 5]
    assert lanes(trace) == [("4242", "4242", -1, -1), ("0", "7", 0, 7)]
    assert trace.info.damage == UNDAMAGED


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


def test_a_file_cut_in_an_event(read: Read) -> None:
    text = document(*many(20))
    trace = read(text[: text.index("kernel6") + 3])
    assert names(trace)[-1] == "aten::op1"
    assert len(trace) == 13
    assert trace.info.damage == Damage(truncated=True, unreadable_events=1)


def test_a_file_cut_between_events(read: Read) -> None:
    text = document(host("a"), host("b", 1), host("c", 2))
    cut = text[: text.index('"c"')].rindex("},")
    for end in (cut + 1, cut + 2, cut + 3):
        trace = read(text[:end])
        assert names(trace) == ["a", "b"]
        assert trace.info.damage == Damage(truncated=True)


def test_a_file_cut_behind_the_list(read: Read) -> None:
    text = document(host("a"), after={"baseTimeNanoseconds": 12_345})
    whole = read(text).info.damage
    cut = read(text[: text.index("345")])
    assert not whole.truncated
    assert cut.info.damage.truncated
    assert names(cut) == ["a"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_gzip_file_cut_anywhere_is_salvaged(read: Read, share: float) -> None:
    packed = gzip.compress(document(*many(600)).encode())
    trace = read(packed[: int(len(packed) * share)])
    assert 1200 >= len(trace) > 1200 * share * 0.8
    assert trace.info.damage.truncated


def test_a_corrupt_gzip_file_is_salvaged_up_to_the_damage(read: Read) -> None:
    packed = bytearray(gzip.compress(document(*many(600)).encode()))
    packed[len(packed) // 2] ^= 0xFF
    trace = read(bytes(packed))
    assert 1200 >= len(trace) > 480
    assert trace.info.damage.truncated


def test_a_wrong_checksum_is_said(read: Read) -> None:
    packed = bytearray(gzip.compress(document(*many(20)).encode()))
    packed[-6] ^= 0xFF
    trace = read(bytes(packed))
    assert len(trace) >= 38
    assert trace.info.damage.truncated


def test_brackets_in_the_trace_name(read: Read) -> None:
    trace = read(document(host("a"), kernel("b", 2000), name='[Strategy]x}], \\"y\\": ].json'))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage == UNDAMAGED
    assert trace.info.metadata["traceName"].startswith("[Strategy]x")


def test_kernels_at_time_zero_are_left_out(read: Read) -> None:
    rows = [kernel("zero", ts=0, dur=0), host("a"), kernel("b", 2000), kernel("neg", ts=-5)]
    trace = read(document(*rows))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage == Damage(zero_timestamps=2)


def test_time_zero_is_a_time_where_the_clock_starts_there(read: Read) -> None:
    trace = read(document(host("first", ts=0), host("second", ts=5)))
    assert names(trace) == ["first", "second"]
    assert trace.info.damage == UNDAMAGED


def test_negative_durations_become_zero(read: Read) -> None:
    trace = read(document(host("a", dur=Bare("-1.500")), host("b", 5, dur=-3)))
    assert trace.dur.tolist() == [0, 0]
    assert trace.info.damage == Damage(negative_durations=2)


def test_a_negative_time_written_with_two_signs(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1, dur=Bare("-1.-500")), host("c", 2)))
    assert names(trace) == ["a", "c"]
    assert trace.info.damage.unreadable_events == 1


def test_durations_beyond_a_week_are_counter_wraps(read: Read) -> None:
    wrap = Bare("18446744073709551.615")
    trace = read(document(host("a"), kernel("b", 5, dur=wrap), kernel("c", 9, dur=Bare("1e14"))))
    assert names(trace) == ["a"]
    assert trace.info.damage.unreadable_events == 2


def test_durations_that_do_not_fit_the_queue_are_clipped(read: Read) -> None:
    rows = [kernel("long", 0, 10**9), kernel("b", 1000, 500), kernel("c", 2000, 500)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [1000, 500, 500]
    assert trace.info.damage == Damage(clipped_gpu_events=1)


def test_neighbours_may_overlap(read: Read) -> None:
    rows = [kernel("a", 100, 1500), kernel("b", 1100, 1500), kernel("c", 2100, 1500)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [1500, 1500, 1500]
    assert trace.info.damage == UNDAMAGED


def test_nodes_of_one_graph_may_overlap(read: Read) -> None:
    node = {"correlation": 55, "graph id": 3}
    rows = [kernel(f"node{i}", 100 * i, 5000, args=node) for i in range(5)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [5000] * 5
    assert trace.graph.tolist() == [3] * 5
    assert trace.info.damage == UNDAMAGED


def test_streams_and_devices_may_overlap(read: Read) -> None:
    places = [(0, 7), (0, 20), (1, 7), (1, 20)]
    rows = [
        kernel(f"k{i}", 1 + i, 9000, pid=p, tid=t, args={"device": p, "stream": t})
        for i, (p, t) in enumerate(places)
    ]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [9000] * 4
    assert [lane[2:] for lane in lanes(trace)] == places


def test_gpu_annotations_are_no_work(read: Read) -> None:
    wide = kernel("ProfilerStep#1", -1, 3003, cat="gpu_user_annotation", args={"External id": 4})
    trace = read(document(wide, kernel("a", 5, 1000), kernel("b", 2000, 1000)))
    assert kinds(trace) == ["GPU_ANNOTATION", "KERNEL", "KERNEL"]
    assert trace.is_gpu_work.tolist() == [False, True, True]
    assert trace.dur.tolist() == [3003, 1000, 1000]


def test_a_kernel_may_start_before_its_launch(read: Read) -> None:
    launch = host("cudaLaunchKernel", 1000, cat="cuda_runtime", args={"correlation": 9})
    trace = read(document(launch, kernel("early", 900, args={"correlation": 9})))
    assert names(trace) == ["early", "cudaLaunchKernel"]
    assert trace.corr.tolist() == [9, 9]


def test_negative_thread_ids(read: Read) -> None:
    trace = read(document(host("a", tid=-1_234_567), host("b", 1, tid=-1_234_567, pid=-1)))
    assert [lane[:2] for lane in lanes(trace)] == [("4242", "-1234567"), ("-1", "-1234567")]


def test_order_in_the_file_is_not_order_in_time(read: Read) -> None:
    trace = read(document(host("c", 30), host("a", 10), flow("s", "fwdbwd", 1), host("b", 20)))
    assert names(trace) == ["a", "b", "c"]
    assert trace.row.tolist() == [1, 3, 0]


def test_equal_starts_keep_the_order_of_the_file(read: Read) -> None:
    trace = read(document(*(host(f"n{i}", 5) for i in range(40))))
    assert names(trace) == [f"n{i}" for i in range(40)]


def test_repeated_labels(read: Read) -> None:
    rows = [label("process_name", 0, {"name": name}) for name in ("a", "b", "b")]
    assert names(read(document(*rows, host("x"), *rows))) == ["x"]


def test_whole_microseconds_of_old_writers(read: Read) -> None:
    old = 1_617_000_000_123_456
    trace = read(document(host("parent", ts=old, dur=10), host("child", ts=old + 4, dur=7)))
    assert trace.ts.tolist() == [old * 1000, (old + 4) * 1000]
    assert trace.end.tolist() == [(old + 10) * 1000, (old + 11) * 1000]


def test_a_list_at_the_root(read: Read) -> None:
    for text in ("[" + host("a") + ",\n" + kernel("b", 9) + "]", "\n [" + host("a") + "\n]\n"):
        trace = read(text)
        assert names(trace)[0] == "a"
        assert trace.info.damage == UNDAMAGED


def test_a_list_at_the_root_without_its_end(read: Read) -> None:
    trace = read("[" + host("a") + ",\n" + host("b", 1) + ",\n")
    assert names(trace) == ["a", "b"]
    assert trace.info.damage.truncated


def test_times_as_text_on_ascend(read: Read) -> None:
    rows = [host("a", ts="1712169112123456.789"), host("b", ts="1712169112123459")]
    trace = read(document(*rows))
    assert trace.ts.tolist() == [1_712_169_112_123_456_789, 1_712_169_112_123_459_000]
    assert trace.dur.tolist() == [1000, 1000]
    assert trace.info.damage == UNDAMAGED


def test_arguments_of_2022(read: Read) -> None:
    args = {"Trace name": "PyTorch Profiler", "Trace iteration": 0, "Profiler Event Index": 3}
    assert names(read(document(host("a", args=args)))) == ["a"]


@pytest.mark.parametrize(
    ("cat", "kind"),
    [
        ("Operator", "OPERATOR"),
        ("Runtime", "RUNTIME"),
        ("Kernel", "KERNEL"),
        ("Memcpy", "MEMCPY"),
        ("Memset", "MEMSET"),
        ("cuda_driver", "RUNTIME"),
        ("python_function", "PYTHON"),
        ("overhead", "OVERHEAD"),
        ("cuda_sync", "SYNC"),
        ("no such category", "OTHER"),
        ("", "OTHER"),
        (None, "OTHER"),
    ],
)
def test_categories(read: Read, cat: str | None, kind: str) -> None:
    assert kinds(read(document(host("a", cat=cat), host("b", 9)))) == [kind, "OPERATOR"]


def test_the_profilers_own_span_is_no_event(read: Read) -> None:
    span = host("PyTorch Profiler (0)", cat="Trace", pid="Spans", tid="PyTorch Profiler")
    assert names(read(document(host("a"), span))) == ["a"]


def test_a_stream_as_text(read: Read) -> None:
    trace = read(document(kernel("k", cat="Kernel", tid="stream 7", args={"stream": None})))
    assert lanes(trace) == [("0", "stream 7", 0, 7)]


def test_a_device_and_a_process_with_the_same_id(read: Read) -> None:
    trace = read(document(host("a", pid=0, tid=7), kernel("b", 9), host("c", 99, pid=0, tid=7)))
    assert lanes(trace) == [("0", "7", -1, -1), ("0", "7", 0, 7), ("0", "7", -1, -1)]


def test_process_ids_as_text(read: Read) -> None:
    rows = [host("a", pid="4242"), host("b", 1), host("c", 2, pid="CPU functions")]
    trace = read(document(*rows))
    assert trace.lane[0] == trace.lane[1] != trace.lane[2]


def test_device_from_the_arguments_before_the_process_id(read: Read) -> None:
    trace = read(document(kernel("k", pid=9, tid=3, args={"device": 1, "stream": 4})))
    assert lanes(trace) == [("9", "3", 1, 4)]


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


def test_flows_of_gradients_are_kept_and_launch_flows_are_not(read: Read) -> None:
    rows = [
        flow("s", "fwdbwd", 5, 10),
        flow("f", "fwdbwd", 5, 90),
        flow("s", "ac2g", 6),
        flow("f", "async_cpu_to_gpu", 6),
        flow("s", "forward_backward", "7", 20),
        flow("s", "fwdbwd", 2**62 + 1, 30),
    ]
    flows = read(document(host("a"), *rows)).flows
    assert flows.id.tolist() == [5, 5, 7, 2**62 + 1]
    assert flows.is_start.tolist() == [True, False, True, True]
    assert (flows.ts - ORIGIN * 1000).tolist() == [10, 90, 20, 30]


def test_collectives(read: Read) -> None:
    said = {
        "Collective name": "allreduce",
        "In msg nelems": 1024,
        "Out msg nelems": 2048,
        "dtype": "BFloat16",
        "Group size": 8,
        "Process Group Ranks": "[0, 1, ...",
    }
    rows = [host("a"), kernel("ncclDevKernel_AllReduce", 10, args=said), kernel("b", 5000)]
    trace = read(document(*rows))
    found = trace.collectives
    assert [trace.names[i] for i in (found.name[0], found.dtype[0])] == ["allreduce", "BFloat16"]
    numbers = (found.row, found.in_elements, found.out_elements, found.group_size)
    assert [column.tolist() for column in numbers] == [[1], [1024], [2048], [8]]


@pytest.mark.parametrize("key", ["Input Dims", "Input dims"])
def test_operands_of_matrix_operators(read: Read, key: str) -> None:
    said = {key: [[2, 3], [3, 4]], "Input type": ["float", "float"]}
    other = said | {key: [[5, 6], [6, 7]]}
    rows = [host("aten::mm", 10 * i, args=said if i % 2 else other) for i in range(6)]
    trace = read(document(host("aten::add", args=said), *rows, host("aten::mm", 90)))
    assert trace.operands.row.tolist() == [1, 2, 3, 4, 5, 6]
    told = [json.loads(trace.operands.texts[i]) for i in trace.operands.text]
    assert told[1] == [[[2, 3], [3, 4]], ["float", "float"], []]
    assert told[0] == [[[5, 6], [6, 7]], ["float", "float"], []]
    assert len(trace.operands.texts) == 2


def test_cuda_sync_arguments(read: Read) -> None:
    args = {"wait_on_stream": 20, "wait_on_cuda_event_record_corr_id": 11, "correlation": 12}
    trace = read(document(kernel("Stream Wait Event", cat="cuda_sync", args=args), host("b", 9)))
    assert trace.wait_stream.tolist() == [20, -1]
    assert trace.wait_corr.tolist() == [11, -1]
    assert trace.corr.tolist() == [12, -1]


def test_metadata(read: Read) -> None:
    device = {"id": 1, "name": "H100", "totalGlobalMem": 10**10, "computeMajor": 9, "numSms": 132}
    before: dict[str, Any] = {
        "deviceProperties": [{"name": "A100"}, device, "odd"],
        "distributedInfo": {"backend": "nccl", "rank": 2, "world_size": 4},
        "baseTimeNanoseconds": 1_767_225_600_000_000_000,
        "cuda_runtime_version": 12_080,
        "long": "x" * 10_000,
    }
    info = read(document(host("a"), before=before)).info
    assert (info.base_ns, info.rank, info.world_size) == (before["baseTimeNanoseconds"], 2, 4)
    assert info.backend == "nccl"
    assert [(d.id, d.name, d.sm_count) for d in info.devices] == [
        (0, "A100", None),
        (1, "H100", 132),
    ]
    assert info.metadata["cuda_runtime_version"] == 12_080
    assert "long" not in info.metadata


@pytest.mark.parametrize("odd", [Bare("null"), True, 1.5, [1], {"a": 1}, "text", 10**30, -1])
@pytest.mark.parametrize("key", ["baseTimeNanoseconds", "distributedInfo", "deviceProperties"])
def test_metadata_of_any_type(read: Read, key: str, odd: object) -> None:
    inner: dict[str, Any] = {"deviceProperties": [{"id": odd, "name": odd, "numSms": odd}, odd]}
    inner |= {"distributedInfo": {"rank": odd, "backend": odd}}
    for header in ({key: odd}, inner, {"mine": {"deep": odd}}):
        assert names(read(document(host("a"), before=header))) == ["a"]


def test_nesting_without_end_costs_only_the_event(read: Read) -> None:
    deep = Bare("[" * 50_000 + "]" * 50_000)
    trace = read(document(host("a"), host("deep", 1, args={"x": deep}), host("b", 2)))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage.unreadable_events == 1


def test_elements_that_are_no_events(read: Read) -> None:
    rows = [host("a"), "{}", "null", "[]", "5", '"text"', host("b", 1), "{}"]
    trace = read(document(*rows))
    assert names(trace) == ["a", "b"]
    assert not trace.info.damage.truncated


def test_an_empty_object_at_the_end_of_the_list(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1), "{}"))
    assert names(trace) == ["a", "b"]
    assert not trace.info.damage.truncated


def test_a_comma_behind_the_last_event(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1)).replace("}\n  ],", "},\n  ],"))
    assert names(trace) == ["a", "b"]
    assert not trace.info.damage.truncated


@pytest.mark.parametrize("text", ["[]", "[\n ]", '{"traceEvents": []}', document()])
def test_a_list_without_events(read: Read, text: str) -> None:
    with pytest.raises(PerfkitError, match="holds no profiler events: record at least one step"):
        read(text)


def test_a_file_of_flows_and_labels_holds_no_events(read: Read) -> None:
    with pytest.raises(PerfkitError, match="holds no profiler events"):
        read(document(flow("s", "fwdbwd", 1), label("process_name", 0, {"name": "x"})))


def test_a_run_of_blanks_takes_no_time(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1)).replace("}\n  ],", "}" + " " * 300_000 + "x]"))
    assert len(trace) >= 1


def test_names_in_any_script(read: Read) -> None:
    odd = ["模型", "naïve", "\U0001f600", "a\\b", "tab\there", 'say "hi"', "]}", "},{", ""]
    rows = [host(name, i) for i, name in enumerate(odd)]
    assert names(read(document(*rows))) == odd
    assert names(read(json.dumps(json.loads(document(*rows)), ensure_ascii=False))) == odd


def test_columns_have_one_length(read: Read) -> None:
    trace = read(document(*many(30), event("X")))
    for column in (trace.ts, trace.kind, trace.lane, trace.graph, trace.wait_corr):
        assert np.shape(column) == (60,)
