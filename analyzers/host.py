"""What each host thread was doing at any time, as the Cause an idle GPU would be charged to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from perfkit.analyzers.first_use import first_uses
from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import Intervals, ends, spans, union
from perfkit.analyzers.launches import LAUNCH_CALL, Launches
from perfkit.analyzers.names import LONGEST, matching, used
from perfkit.analyzers.rows import present
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Bools, Int8s, Int32s, Int64s, Kind, Trace

NONE = -1

_ANNOTATED = (
    (Cause.GC, re.compile(r"^Python GC")),
    (Cause.CHECKPOINT, re.compile(
        r"^(perfkit::)?checkpoint$|torch\.save|save_(checkpoint|model|state)|dcp\.(async_)?save"
    )),
    (Cause.DATALOADER, re.compile(
        r"enumerate\(Data(Loader|Pipe)\)#|\.(train|val)_dataloader_next|\bfetch_next_batch\b"
        r"|^perfkit::data$"
        # As programs call such a range of their own, and torchrec ("## next_batch ##").
        r"|^(## )?(?i:data[ _]?(load(ing|er)?|fetch(ing)?)"
        r"|(load|fetch|get|next)_(next_)?(data|batch))( ##)?$"
    )),
    (Cause.COMPILE, re.compile(r"_compile\.compile_inner|compile_fx|CachingAutotuner")),
)  # fmt: skip
# Python functions stand as "file.py(line): name": only these say more than "Python ran".
_FUNCTIONS = (
    (Cause.GC, re.compile(r"^Python GC")),
    (Cause.CHECKPOINT, re.compile(
        r"torch/serialization\.py\(\d+\): save$|torch/distributed/checkpoint/\S+: (async_)?save$"
    )),
    (Cause.DATALOADER, re.compile(r"torch/utils/data/dataloader\.py\(\d+\): __next__$")),
    (Cause.COMPILE, re.compile(
        r"torch/_dynamo/convert_frame\.py\(\d+\): _compile|torch/_inductor/\S+: compile_fx_inner$"
    )),
)  # fmt: skip
# What wraps a whole phase, Python included, says nothing of its own.
_CONTAINER = re.compile(
    r"ProfilerStep|(Distributed)?DataParallel\.forward|FullyShardedDataParallel\.forward"
    r"|perfkit::(forward|backward|optimizer)$"
)
_FRAMEWORK = re.compile(
    r"Optimizer\.|autograd::|FullyShardedDataParallel\.|FSDP::|torch\.distributed|nccl:|gloo:|c10d::"
    r"|Torch-Compiled Region|## Call CompiledFxGraph|TorchDynamo|CompiledFunction|triton_"
)
_CALLS = (
    (Cause.ALLOCATOR, re.compile(
        r"(cuda|hip)(Malloc|Free|HostAlloc|HostMalloc|HostFree|HostRegister|HostUnregister)"
        r"|(cu|hip)Mem(Create|Map|Unmap|Release|Address|SetAccess|Alloc|Free|Host)"
        r"|^urUSM(Device|Host|Shared)Alloc|^urUSMFree|^zeMem(Alloc|Free)"
    )),
    (Cause.COPY, re.compile(r"(cudaMemcpy|hipMemcpy|hipMemcpyWithStream|cudaMemcpy2D)$")),
    (Cause.SYNC, re.compile(
        r"(cuda|hip|cu|syn)(Device|Stream|Event|Ctx)Synchronize"
        r"|^ur(QueueFinish|EventWait)|^ze\w{1,20}Synchronize"
    )),
    (Cause.COMPILE, re.compile(
        r"cuModuleLoad|cuLibraryLoad|hipModuleLoad|nvrtc|hiprtc|(cuda|hip)GraphInstantiate"
        r"|(cuda|hip)Stream(Begin|End)Capture|^urProgram(Build|Compile|Link|Create)|^zeModuleCreate"
    )),
    (Cause.LAUNCH, LAUNCH_CALL),
)  # fmt: skip
_OVERHEADS = (
    (Cause.COMPILE, re.compile(r"Loading|Compil")),
    (Cause.PROFILER, re.compile(r"Activity Buffer|Buffer Flush|Instrumentation|Resource")),
)
_BACKWARD = re.compile(r"autograd::engine::evaluate_function|Backward\d*$")
_PAGEABLE = re.compile(r"Pageable")
_TO_HOST = re.compile(r"DtoH|D2M|CopyDeviceToHost|Device -> (Pageable|Host|Pinned)")
_LONG_CALL_NS = 100_000  # an asynchronous copy returns well before
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
    _timelines: dict[int, Timeline] = field(default_factory=dict, init=False)
    _of_thread: dict[int, Int64s] = field(default_factory=dict, init=False)

    def on(self, thread: int, *causes: Cause) -> Int64s:
        """Trace rows of a thread's events of these causes."""
        mine = self._events(thread)
        return self.rows[mine[np.isin(self.cause[mine], [CODE[cause] for cause in causes])]]

    def timeline(self, thread: int) -> Timeline:
        """The most specific Cause among a thread's events open at each time (order of Cause)."""
        if thread not in self._timelines:
            mine = self._events(thread)
            self._timelines[thread] = _timeline(self.trace, self.rows[mine], self.cause[mine])
        return self._timelines[thread]

    def _events(self, thread: int) -> Int64s:
        """Positions of a thread's events."""
        if thread not in self._of_thread:
            self._of_thread[thread] = np.flatnonzero(self.thread == thread)
        return self._of_thread[thread]

    def of_kind(self, thread: int, kind: Kind) -> Int64s:
        """Trace rows of a thread's events of this kind."""
        rows = self.rows[self._events(thread)]
        return np.asarray(rows[self.trace.kind[rows] == kind])

    @cached_property
    def counts(self) -> Int64s:
        """How many events each thread has; shape (lanes,)."""
        return np.bincount(self.thread, minlength=len(self.trace.lanes))

    @cached_property
    def autograd_threads(self) -> list[int]:
        """Threads that ran a backward pass."""
        return present(self.thread[matching(self.trace, _BACKWARD)[self.trace.name[self.rows]]])


def host_events(trace: Trace, work: GpuWork, calls: Launches, by_name: Int8s) -> Host:
    """Every host event that says something about why its thread launches nothing.

    `by_name` is what `causes_by_name` says of them.
    """
    code = by_name.copy()
    _mark_blocking_copies(code, trace, work, calls)
    code[first_uses(code, trace, work, calls)] = CODE[Cause.COMPILE]
    code[calls.captured] = CODE[Cause.COMPILE]
    rows = np.flatnonzero(code != NONE)
    return Host(trace, rows, code[rows], _threads(trace)[trace.lane[rows]])


def causes_by_name(trace: Trace) -> Int8s:
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
    if kind is Kind.PYTHON:
        return _first(_FUNCTIONS, name, NONE)
    if _CONTAINER.match(name):
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
    """Copies that held the launching thread until done: charged to what the thread waited for."""
    copies = np.flatnonzero((trace.kind[work.rows] == Kind.MEMCPY) & (calls.call >= 0))
    rows, call = work.rows[copies], calls.call[copies]
    held = matching(trace, _PAGEABLE)[trace.name[rows]] | _outlasted(trace, rows, call)
    held &= code[call] == CODE[Cause.LAUNCH]
    code[call[held]] = CODE[Cause.COPY]
    value = _is_value(trace, work, rows, call) & (code[call] == CODE[Cause.COPY])
    code[call[value]] = CODE[Cause.SYNC]


def _outlasted(trace: Trace, rows: Int64s, call: Int64s) -> Bools:
    """Copies that began and ended inside of their call."""
    inside = (trace.ts[call] <= trace.ts[rows]) & (ends(trace, rows) <= ends(trace, call))
    return np.asarray(inside & (trace.dur[call] >= _LONG_CALL_NS), dtype=np.bool_)


def _is_value(trace: Trace, work: GpuWork, rows: Int64s, call: Int64s) -> Bools:
    """Copies to the host that waited for kernels longer than they moved data, or moved little."""
    waited = work.kernels.covered(trace.ts[call], ends(trace, call)) > trace.dur[rows]
    small = (trace.bytes[rows] >= 0) & (trace.bytes[rows] <= _A_VALUE_BYTES)
    return (waited | small) & matching(trace, _TO_HOST)[trace.name[rows]]


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


def _timeline(trace: Trace, rows: Int64s, cause: Int8s) -> Timeline:
    parts = [
        (code, union(*spans(trace, r)))
        for code in present(cause)[::-1]
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
    part = np.repeat(np.arange(len(parts), dtype=np.int8), [2 * len(i) for _, i in parts])
    order = np.argsort(times, kind="stable")
    times, opens, part = times[order], opens[order], part[order]
    cause = np.full(len(times), CODE[Cause.PYTHON], dtype=np.int8)
    for position, (code, _) in enumerate(parts):
        is_open = np.cumsum(opens * (part == position), dtype=np.int8) > 0
        cause[is_open] = code
    last = np.append(times[1:] != times[:-1], True) if len(times) else np.empty(0, np.bool_)
    return Timeline(times[last], cause[last])
