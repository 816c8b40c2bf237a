"""What each host thread was doing at any time, as the Cause an idle GPU would be charged to."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import Intervals, union_and_first
from perfkit.analyzers.launches import LAUNCH_CALL, Launches
from perfkit.analyzers.names import LONGEST, matching, used
from perfkit.model.cause import Cause
from perfkit.model.trace import Int8s, Int32s, Int64s, Kind, Trace

CAUSES = tuple(Cause)
CODE = {cause: code for code, cause in enumerate(CAUSES)}
NONE = -1

_STEP = re.compile(r"ProfilerStep")
DATALOADER = re.compile(
    r"enumerate\(Data(Loader|Pipe)\)#|torch/utils/data/dataloader\.py\(\d+\): __next__"
    r"|\.(train|val)_dataloader_next|\bfetch_next_batch\b"
)
_ANNOTATED = (
    (Cause.GC, re.compile(r"Python GC")),
    (Cause.CHECKPOINT, re.compile(
        r"^checkpoint$|torch\.save|save_(checkpoint|model|state)|dcp\.(async_)?save"
        r"|torch/serialization\.py\(\d+\): save"
        r"|torch/distributed/checkpoint/\S+: (async_)?save"
    )),
    (Cause.DATALOADER, DATALOADER),
    (Cause.COMPILE, re.compile(r"(_compile|compile_inner|compile_fx|CachingAutotuner)\b")),
)  # fmt: skip
_FRAMEWORK = re.compile(
    r"Optimizer\.|autograd::|DistributedDataParallel|DataParallel\.|FullyShardedDataParallel|FSDP::"
    r"|torch\.distributed|nccl:|gloo:|c10d::|Torch-Compiled Region|## Call CompiledFxGraph"
    r"|TorchDynamo|CompiledFunction|triton_|DeepSpeed"
)
_CALLS = (
    (Cause.ALLOCATOR, re.compile(
        r"(cuda|hip)(Malloc|Free|HostAlloc|HostMalloc|HostFree|HostRegister|HostUnregister)"
        r"|(cu|hip)Mem(Create|Map|Unmap|Release|Address|SetAccess|Alloc|Free|Host)"
    )),
    (Cause.COPY, re.compile(r"(cudaMemcpy|hipMemcpy|hipMemcpyWithStream|cudaMemcpy2D)$")),
    (Cause.SYNC, re.compile(r"(cuda|hip|cu)(Device|Stream|Event|Ctx)Synchronize")),
    (Cause.COMPILE, re.compile(
        r"cuModuleLoad|cuLibraryLoad|hipModuleLoad|nvrtc|hiprtc|(cuda|hip)GraphInstantiate"
        r"|(cuda|hip)Stream(Begin|End)Capture"
    )),
    (Cause.LAUNCH, LAUNCH_CALL),
)  # fmt: skip
_OVERHEADS = (
    (Cause.COMPILE, re.compile(r"Loading|Compil")),
    (Cause.PROFILER, re.compile(r"Activity Buffer|Buffer Flush|Instrumentation|Resource")),
)
_PAGEABLE = re.compile(r"Pageable")
_TO_HOST = re.compile(r"DtoH|Device -> (Pageable|Host|Pinned)")
_FIRST_USE_NS = 1_000_000
"""A driver call this long that waits for nothing loads code or starts the driver."""
_A_VALUE_BYTES = 1024
"""A copy to the host this small is a value the host waits for, such as a loss."""


@dataclass(frozen=True)
class Host:
    """Host events with their Cause; `rows` and `cause` have shape (events,), ordered by start."""

    trace: Trace
    rows: Int64s
    cause: Int8s
    """Codes into CAUSES."""
    thread: Int32s
    """Lane of each event; profiler overhead counts on the thread it held up."""

    def on(self, thread: int, *causes: Cause) -> Int64s:
        """Trace rows of a thread's events of these causes."""
        codes = [CODE[cause] for cause in causes]
        mine = (self.thread == thread) & np.isin(self.cause, codes)
        return np.asarray(self.rows[mine])


def host_events(trace: Trace, work: GpuWork, calls: Launches) -> Host:
    """Every host event that says something about why its thread launches nothing."""
    code = _codes_by_name(trace)
    _mark_blocking_copies(code, trace, work, calls)
    quick = np.isin(code, (CODE[Cause.LAUNCH], CODE[Cause.DISPATCH]))
    first_use = quick & (trace.kind == Kind.RUNTIME) & (trace.dur >= _FIRST_USE_NS)
    code[first_use] = CODE[Cause.COMPILE]
    rows = np.flatnonzero(code != NONE)
    return Host(trace, rows, code[rows], _threads(trace)[trace.lane[rows]])


def _codes_by_name(trace: Trace) -> Int8s:
    """The Cause code each event has by kind and name alone, NONE without one; shape (events,)."""
    code = np.full(len(trace), NONE, dtype=np.int8)
    for kind in (Kind.OPERATOR, Kind.ANNOTATION, Kind.PYTHON, Kind.RUNTIME, Kind.OVERHEAD):
        rows = np.flatnonzero(trace.kind == kind)
        table = np.full(len(trace.names), NONE, dtype=np.int8)
        for i in used(trace, rows):
            table[i] = _code(kind, trace.names[i][:LONGEST])
        code[rows] = table[trace.name[rows]]
    return code


def _code(kind: Kind, name: str) -> int:
    if kind is Kind.RUNTIME:
        return _first(_CALLS, name, CODE[Cause.DISPATCH])
    if kind is Kind.OVERHEAD:
        return _first(_OVERHEADS, name, NONE)
    if _STEP.match(name):
        return NONE
    found = _first(_ANNOTATED, name, NONE)
    if found == NONE and (kind is Kind.OPERATOR or _is_framework(kind, name)):
        return CODE[Cause.DISPATCH]
    return found


def _is_framework(kind: Kind, name: str) -> bool:
    return kind is Kind.ANNOTATION and bool(_FRAMEWORK.match(name))


def _first(table: tuple[tuple[Cause, re.Pattern[str]], ...], name: str, default: int) -> int:
    return next((CODE[cause] for cause, pattern in table if pattern.search(name)), default)


def _mark_blocking_copies(code: Int8s, trace: Trace, work: GpuWork, calls: Launches) -> None:
    """Copies between pageable memory and the device hold the launching thread until done."""
    copies = np.flatnonzero((trace.kind[work.rows] == Kind.MEMCPY) & (calls.call >= 0))
    rows, call = work.rows[copies], calls.call[copies]
    pageable = matching(trace, _PAGEABLE)[trace.name[rows]] & (code[call] == CODE[Cause.LAUNCH])
    code[call[pageable]] = CODE[Cause.COPY]
    small = (trace.bytes[rows] >= 0) & (trace.bytes[rows] <= _A_VALUE_BYTES)
    value = small & matching(trace, _TO_HOST)[trace.name[rows]] & (code[call] == CODE[Cause.COPY])
    code[call[value]] = CODE[Cause.SYNC]


def _threads(trace: Trace) -> Int32s:
    """Lane of each lane's thread: overhead stands in a process of its own with the same tid."""
    by_tid = {
        lane.tid: i
        for i, lane in reversed(list(enumerate(trace.lanes)))
        if not lane.is_gpu and not lane.pid.startswith("-")
    }
    own = [by_tid.get(x.tid, i) if x.pid.startswith("-") else i for i, x in enumerate(trace.lanes)]
    return np.array(own, dtype=np.int32)


@dataclass(frozen=True)
class Timeline:
    """One thread's time cut into segments; `cause` holds from `start` to the next segment's.

    Shapes (segments,). Where nothing is open, the cause is Python.
    """

    start: Int64s
    cause: Int8s

    def at(self, times: Int64s) -> Int8s:
        """Cause codes at each time."""
        found = np.searchsorted(self.start, times, side="right") - 1
        return np.append(self.cause, np.int8(CODE[Cause.PYTHON]))[
            found
        ]  # -1, before all, is the last


def timeline(host: Host, thread: int) -> Timeline:
    """The most specific Cause among the events open at each time (the order of Cause)."""
    mine = host.thread == thread
    rows, cause = host.rows[mine], host.cause[mine]
    parts = [
        (code, union_and_first(host.trace.ts[r], host.trace.end[r])[0])
        for code in np.unique(cause)[::-1].tolist()
        for r in (rows[cause == code],)
    ]
    return _painted(parts)


def _painted(parts: list[tuple[int, Intervals]]) -> Timeline:
    """Later parts paint over earlier ones."""
    times = np.concatenate(
        [np.empty(0, np.int64)] + [t for _, i in parts for t in (i.start, i.end)]
    )
    opens = np.concatenate([np.empty(0, np.int8)] + [
        np.repeat(np.array((1, -1), np.int8), len(i)) for _, i in parts
    ])  # fmt: skip
    part = np.repeat(np.arange(len(parts)), [2 * len(i) for _, i in parts])
    order = np.argsort(times, kind="stable")
    times, opens, part = times[order], opens[order], part[order]
    cause = np.full(len(times), CODE[Cause.PYTHON], dtype=np.int8)
    for position, (code, _) in enumerate(parts):
        cause[np.cumsum(np.where(part == position, opens, 0)) > 0] = code
    last = np.append(times[1:] != times[:-1], True) if len(times) else np.empty(0, np.bool_)
    return Timeline(times[last], cause[last])
