"""A run as a Kineto trace, in the layout of PyTorch's own writer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .framework import WORLD_SIZE
from .machine import AUTOGRAD, MAIN
from .program import Scenario
from .records import GpuOp, Recording, Span, Sync

BASE_NS = 1_767_225_600_000_000_000
ORIGIN_NS = 4_458_676_388_068_751
PID = MAIN
_DEVICES: dict[str, dict[str, object]] = {
    "A100": {"name": "NVIDIA A100-SXM4-80GB", "mem": 85_097_971_712, "cc": 8, "sms": 108},
    "H100": {"name": "NVIDIA H100 80GB HBM3", "mem": 85_045_477_376, "cc": 9, "sms": 132},
}
_CBID = {
    "cudaMalloc": 20,
    "cudaFree": 22,
    "cudaMemcpyAsync": 41,
    "cudaStreamSynchronize": 131,
    "cudaEventRecord": 135,
    "cudaEventSynchronize": 137,
    "cudaStreamWaitEvent": 147,
    "cudaDeviceSynchronize": 165,
    "cudaLaunchKernel": 211,
    "cudaGraphLaunch": 311,
    "cudaLaunchKernelExC": 430,
}
_DEVICE = """
    {{
      "id": 0, "name": "{name}", "totalGlobalMem": {mem},
      "computeMajor": {cc}, "computeMinor": 0,
      "maxThreadsPerBlock": 1024, "maxThreadsPerMultiprocessor": 2048,
      "regsPerBlock": 65536, "warpSize": 32,
      "sharedMemPerBlock": 49152, "numSms": {sms}
    , "regsPerMultiprocessor": 65536, "sharedMemPerBlockOptin": 166912, \
"sharedMemPerMultiprocessor": 167936
    }}"""
_EVENT = """
  {{
    "ph": "X", "cat": "{cat}", "name": {name}, "pid": {pid}, "tid": {tid},
    "ts": {ts}, "dur": {dur},
    "args": {{
      {args}
    }}
  }}"""
_FLOW = """
  {{
    "ph": "{ph}", "id": {id}, "pid": {pid}, "tid": {tid}, "ts": {ts},
    "cat": "{cat}", "name": "{cat}"{tail}
  }}"""
_META = """
  {{
    "name": "{name}", "ph": "M", "ts": {ts}, "pid": {pid}, "tid": {tid},
    "args": {{
      "{key}": {value}
    }}
  }}"""
_END = """
  {{
    "ph": "X", "cat": "Trace", "ts": {start}, "dur": {dur},
    "pid": "Spans", "tid": "PyTorch Profiler",
    "name": "PyTorch Profiler (0)",
    "args": {{
      "Op count": 0
    }}
  }},
  {{
    "name": "Iteration Start: PyTorch Profiler", "ph": "i", "s": "g",
    "pid": "Traces", "tid": "Trace PyTorch Profiler", "ts": {start}
  }},
  {{
    "name": "Record Window End", "ph": "i", "s": "g",
    "pid": "", "tid": "", "ts": {end}
  }}"""


def trace_text(scenario: Scenario, run: Recording) -> str:
    """The whole JSON document."""
    events = ",".join(_events(scenario, run))
    return (
        f'{{\n  "schemaVersion": 1,\n  "deviceProperties": ['
        f"{_DEVICE.format(**_DEVICES[scenario.device])}\n  ],\n"
        f'  "cupti_version": 26,\n  "cuda_runtime_version": 12080,\n'
        f'  "cuda_driver_version": 12080,\n{_distributed(scenario)}'
        f'  "perfkit_simulated": "{scenario.name}",\n  "displayTimeUnit": "ms",\n'
        f'  "baseTimeNanoseconds": {BASE_NS},\n  "traceEvents": [{events}\n  ],\n'
        f'  "traceName": "{scenario.name}.pt.trace.json"\n}}\n'
    )


def _distributed(scenario: Scenario) -> str:
    if scenario.communication == "none":
        return ""
    ranks = list(range(WORLD_SIZE))
    group = {"pg_name": "0", "pg_desc": "default_pg", "backend_config": "cuda:nccl"}
    info = {
        "backend": "nccl",
        "rank": 0,
        "world_size": WORLD_SIZE,
        "pg_count": 1,
        "pg_config": [{**group, "pg_size": WORLD_SIZE, "ranks": ranks}],
        "nccl_version": "2.26.2",
    }
    return f'  "distributedInfo": {json.dumps(info)},\n'


def _events(scenario: Scenario, run: Recording) -> Iterator[str]:
    launched: dict[Span, list[GpuOp]] = {}
    for op in run.ops:
        launched.setdefault(op.call, []).append(op)
    for index, span in enumerate(s for s in run.spans if s.cat != "cuda_runtime"):
        yield _host(span, {"External id": span.ident, **span.args, "Ev Idx": index})
    for ident, (forward, backward) in enumerate(run.gradients, 1):
        yield _flow("s", "fwdbwd", ident, (PID, forward.tid), forward.start)
        yield _flow("f", "fwdbwd", ident, (PID, backward.tid), backward.start)
    for call in (s for s in run.spans if s.cat == "cuda_runtime"):
        yield _host(call, {**call.args, "cbid": _CBID[call.name], "correlation": call.ident})
        if call in launched:
            yield from _gpu(launched[call])
    if scenario.cuda_sync:
        yield from (_sync(sync) for sync in run.syncs)
    yield from _annotations(run)
    yield from _metadata(run)
    first, last = run.marks[0].start, max(run.marks[-1].end, run.ops[-1].end)
    yield _END.format(start=_us(ORIGIN_NS + first), dur=_us(last - first), end=_at(last + 1000))


def _us(ns: int) -> str:
    return f"{ns // 1000}.{ns % 1000:03d}"


def _at(ns: int) -> str:
    return _us(ORIGIN_NS + ns)


def _event(cat: str, name: str, place: tuple[int, int], time: tuple[int, int], args: str) -> str:
    return _EVENT.format(
        cat=cat,
        name=json.dumps(name),
        pid=place[0],
        tid=place[1],
        ts=_at(time[0]),
        dur=_us(time[1] - time[0]),
        args=args,
    )


def _args(args: dict[str, Any]) -> str:
    return ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in args.items())


def _host(span: Span, args: dict[str, Any]) -> str:
    return _event(span.cat, span.name, (PID, span.tid), (span.start, span.end), _args(args))


def _flow(ph: str, cat: str, ident: int, place: tuple[int, int], ns: int) -> str:
    pid, tid = place
    tail = ', "bp": "e"' if ph == "f" else ""
    return _FLOW.format(ph=ph, cat=cat, id=ident, pid=pid, tid=tid, ts=_at(ns), tail=tail)


def _gpu(ops: list[GpuOp]) -> Iterator[str]:
    call = ops[0].call
    yield _flow("s", "ac2g", call.ident, (PID, call.tid), call.start)
    links = {k: v for k, v in call.args.items() if k == "External id"}
    for op in ops:
        cat = "gpu_memcpy" if op.kind == "copy" else "kernel"
        device = {"device": 0, "context": 1, "stream": op.stream, "correlation": call.ident}
        args = {**links, **device, **_shape(op), **op.args}
        yield _event(cat, op.name, (0, op.stream), (op.start, op.end), _args(args))
        yield _flow("f", "ac2g", call.ident, (0, op.stream), op.start)


def _shape(op: GpuOp) -> dict[str, Any]:
    if op.kind == "copy":
        return {"memory bandwidth (GB/s)": op.args["bytes"] / (op.end - op.start)}
    blocks, threads = (24, 640) if op.kind == "communication" else (2048, 256)
    return {
        "queued": 0,
        "registers per thread": 96,
        "shared memory": 49152,
        "blocks per SM": round(blocks / 132, 6),
        "warps per SM": round(blocks * threads / 32 / 132, 6),
        "grid": [blocks, 1, 1],
        "block": [threads, 1, 1],
        "est. achieved occupancy %": 50 if op.kind == "compute" else 0,
    }


def _sync(sync: Sync) -> str:
    args = {
        "cuda_sync_kind": sync.kind,
        "stream": sync.stream,
        "correlation": sync.call.ident,
        "device": 0,
        "context": 1,
    }
    if sync.recorded is not None:
        args["wait_on_stream"] = sync.source_stream
        args["wait_on_cuda_event_record_corr_id"] = sync.recorded.ident
        args["wait_on_cuda_event_id"] = 17
    time = (sync.call.start, sync.call.end)
    return _event("cuda_sync", sync.kind, (0, sync.stream), time, _args(args))


def _annotations(run: Recording) -> Iterator[str]:
    groups: dict[tuple[int, int], list[GpuOp]] = {}
    names: dict[int, Span] = {}
    for op in run.ops:
        for span in op.inside:
            names[span.ident] = span
            groups.setdefault((span.ident, op.stream), []).append(op)
    for (ident, stream), ops in groups.items():
        # Kineto widens the projection so that viewers nest the kernels in it.
        time = (ops[0].start - 1, ops[-1].end + 2)
        args = _args({"External id": ident})
        yield _event("gpu_user_annotation", names[ident].name, (0, stream), time, args)


def _metadata(run: Recording) -> Iterator[str]:
    rows: list[tuple[str, int, int, str, object]] = [
        ("process_name", PID, 0, "name", "python"),
        ("process_labels", PID, 0, "labels", "CPU"),
        ("process_sort_index", PID, 0, "sort_index", PID),
        ("process_name", 0, 0, "name", "python"),
        ("process_labels", 0, 0, "labels", "GPU 0"),
        ("process_sort_index", 0, 0, "sort_index", 16_777_216),
    ]
    streams = sorted({op.stream for op in run.ops})
    rows += [("thread_name", 0, stream, "name", f"stream {stream} ") for stream in streams]
    rows.append(("thread_name", PID, MAIN, "name", f"thread {MAIN} (python)"))
    rows.append(("thread_name", PID, AUTOGRAD, "name", f"thread {AUTOGRAD} (pt_autograd_0)"))
    for name, pid, tid, key, value in rows:
        text = json.dumps(value)
        yield _META.format(name=name, pid=pid, tid=tid, ts=_at(0), key=key, value=text)
