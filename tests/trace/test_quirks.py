"""What writers since 2021 have put into files beside events as they should be, one test each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from perfkit.errors import PerfkitError
from tests.trace.conftest import UNDAMAGED, Read, kinds, lanes, names
from tests.trace.kineto_text import ORIGIN, document, event, flow, host, kernel, label, many


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


def test_gpu_annotations_are_no_work(read: Read) -> None:
    wide = kernel("ProfilerStep#1", -1, 3003, cat="gpu_user_annotation", args={"External id": 4})
    trace = read(document(wide, kernel("a", 5, 1000), kernel("b", 2000, 1000)))
    assert kinds(trace) == ["GPU_ANNOTATION", "KERNEL", "KERNEL"]
    assert trace.is_gpu_work.tolist() == [False, True, True]
    assert trace.dur.tolist() == [3003, 1000, 1000]


def test_copies_and_markers_that_an_old_rocm_calls_kernels(read: Read) -> None:
    """pytorch/pytorch#97167."""
    listed = ("CopyHostToDevice", "FillBuffer", "Marker", "gemm")
    trace = read(document(*(kernel(name, 2000 * i, 900) for i, name in enumerate(listed))))
    assert kinds(trace) == ["MEMCPY", "MEMSET", "GPU_ANNOTATION", "KERNEL"]
    assert kinds(read(document(host("Marker")))) == ["OPERATOR"]


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


def test_arguments_of_2022(read: Read) -> None:
    args = {"Trace name": "PyTorch Profiler", "Trace iteration": 0, "Profiler Event Index": 3}
    assert names(read(document(host("a", args=args)))) == ["a"]


@pytest.mark.parametrize(
    ("cat", "kind"),
    [
        ("Operator", "OPERATOR"),
        ("Runtime", "RUNTIME"),
        ("hip_runtime", "RUNTIME"),
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


def test_a_device_and_a_process_with_the_same_id(read: Read) -> None:
    trace = read(document(host("a", pid=0, tid=7), kernel("b", 9), host("c", 99, pid=0, tid=7)))
    assert lanes(trace) == [("0", "7", -1, -1), ("0", "7", 0, 7), ("0", "7", -1, -1)]


def test_device_from_the_arguments_before_the_process_id(read: Read) -> None:
    trace = read(document(kernel("k", pid=9, tid=3, args={"device": 1, "stream": 4})))
    assert lanes(trace) == [("9", "3", 1, 4)]


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


def test_columns_have_one_length(read: Read) -> None:
    trace = read(document(*many(30), event("X")))
    for column in (trace.ts, trace.kind, trace.lane, trace.graph, trace.wait_corr):
        assert np.shape(column) == (60,)
