"""Communication kernels of the counted steps, one entry each: size, exposure, part of the step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import Intervals, ends, spans, split, union
from perfkit.analyzers.names import LONGEST, used
from perfkit.analyzers.rows import among
from perfkit.analyzers.steps import step_of
from perfkit.model.communication_facts import Family, Phase
from perfkit.model.trace import Bools, Int32s, Int64s, Kind, Trace

# Scalar types of c10 by the names that process groups record.
_DTYPE_BYTES = {
    "double": 8, "long": 8, "float": 4, "int": 4, "half": 2, "bfloat16": 2, "short": 2, "char": 1,
    "byte": 1, "bool": 1, "float8e4m3fn": 1, "float8e5m2": 1, "complexfloat": 8,
}  # fmt: skip
_FAMILIES: tuple[tuple[Family, re.Pattern[str]], ...] = tuple(
    (cast("Family", family), re.compile(pattern, re.IGNORECASE))
    for family, pattern in (
        ("barrier", r"barrier"),
        ("all_reduce", r"all_?reduce|cross_device_reduce|quickreduce"),
        ("all_gather", r"all_?gather"),
        ("reduce_scatter", r"reduce_?scatter"),
        ("all_to_all", r"all_?to_?all"),
        ("broadcast", r"broadcast"),
        ("send_recv", r"send_?recv|\b(send|recv)\b"),
        ("reduce", r"^(nccl(Dev)?Kernel_)?reduce"),
        ("gather", r"gather"),
        ("scatter", r"scatter"),
    )
)
PHASES: tuple[Phase, ...] = get_args(Phase)
_PHASE_OF: dict[str, Phase] = {
    "forward": "forward", "backward": "backward", "gradient": "backward", "optimizer": "optimizer",
}  # fmt: skip
# What host events say of the launches in them; the first that matches decides.
_MARKS = (
    ("copies", re.compile(r"ddp\.reducer::copy_bucket_to_grad$")),
    ("search", re.compile(r"ddp\.reducer::search_unused_parameters$")),
    ("launch", re.compile(r"^(c10d::|nccl:|record_param_comms$|_c10d_functional::)")),
    ("optimizer", re.compile(r"^Optimizer\.step#|^## optimizer ##|^perfkit::optimizer$")),
    ("gradient", re.compile(r"autograd::engine::evaluate_function|Backward\d*$")),
    ("backward", re.compile(r"^## backward ##|^perfkit::backward$|^FSDP::(pre|post)_backward")),
    ("forward", re.compile(
        r"(DistributedDataParallel|FullyShardedDataParallel|(^|[^a-zA-Z])DataParallel)\.forward"
        r"|^## forward ##|^perfkit::forward$|^FSDP::(pre|post)_forward"
    )),
)  # fmt: skip


def dtype_bytes(name: str | None) -> int | None:
    """Bytes of an element of a type as process groups name it; None for one that is not known."""
    return _DTYPE_BYTES.get(re.sub(r"[^a-z0-9]", "", (name or "").lower()))


def family_of(name: str) -> Family:
    """The family of a collective or of a communication kernel."""
    found = (family for family, pattern in _FAMILIES if pattern.search(name[:LONGEST]))
    return next(found, "unknown")


def told_by(facts: Facts, rows: Int64s) -> Int64s:
    """Position in `Trace.collectives` of what each communication kernel (trace rows) is, or -1.

    Kernels tell it themselves, or the operator does in which they were launched.
    """
    trace = facts.trace
    own = _entries(trace, trace.row[rows])
    silent = np.flatnonzero(own < 0)
    call = facts.calls.call[np.searchsorted(facts.work.rows, rows[silent])]
    own[silent] = np.where(call >= 0, _of_operators(trace, call), -1)
    return own


def _entries(trace: Trace, file_rows: Int64s) -> Int64s:
    table = trace.collectives.row
    order = np.argsort(table, kind="stable")
    at = np.searchsorted(table[order], file_rows)
    entry = np.append(order, -1)[np.minimum(at, len(order))]
    return np.where(np.append(table, -1)[entry] == file_rows, entry, -1)


def _of_operators(trace: Trace, call: Int64s) -> Int64s:
    """The entry of the operator that is open at each call on its thread, or -1."""
    at = np.flatnonzero((trace.kind == Kind.OPERATOR) & among(trace.row, trace.collectives.row))
    found = np.full(len(call), -1, dtype=np.int64)
    for lane in np.unique(trace.lane[at]).tolist():
        ops, mine = at[trace.lane[at] == lane], np.flatnonzero(trace.lane[call] == lane)
        before = ops[np.searchsorted(ops, call[mine]) - 1]
        inside = (before < call[mine]) & (ends(trace, before) >= ends(trace, call[mine]))
        found[mine[inside]] = _entries(trace, trace.row[before[inside]])
    return found


@dataclass(frozen=True)
class Marks:
    """Host events that say where in the step their thread is, by start; shapes (events,)."""

    trace: Trace
    rows: Int64s
    mark: Int64s
    """Positions in `_MARKS`."""

    def of(self, mark: str) -> Int64s:
        """Trace rows of the events of this mark."""
        code = [name for name, _ in _MARKS].index(mark)
        return np.asarray(self.rows[self.mark == code])

    def lanes(self, mark: str) -> list[int]:
        """Threads that have events of this mark."""
        return np.flatnonzero(np.bincount(self.trace.lane[self.of(mark)])).tolist()

    def on(self, mark: str, lane: int) -> Intervals:
        """When events of this mark are open on a thread."""
        rows = self.of(mark)
        return union(*spans(self.trace, rows[self.trace.lane[rows] == lane]))

    def holding(self, mark: str, times: Int64s, lanes: Int32s) -> Bools:
        """Whether each time of a thread lies in an event of this mark."""
        found = np.zeros(len(times), dtype=np.bool_)
        for lane in self.lanes(mark):
            mine = np.flatnonzero(lanes == lane)
            found[mine] = self.on(mark, lane).covered(times[mine], times[mine] + 1) > 0
        return found


def marks(trace: Trace) -> Marks:
    """The operators and annotations that `_MARKS` names."""
    rows = np.flatnonzero(trace.kind <= Kind.ANNOTATION)
    table = np.full(len(trace.names), -1, dtype=np.int64)
    for name in used(trace, rows):
        text = trace.names[name][:LONGEST]
        table[name] = next((i for i, (_, p) in enumerate(_MARKS) if p.search(text)), -1)
    mark = table[trace.name[rows]]
    return Marks(trace, rows[mark >= 0], mark[mark >= 0])


@dataclass(frozen=True)
class CollectiveCalls:
    """Communication kernels of the counted steps by start; all arrays have shape (calls,)."""

    facts: Facts
    rows: Int64s
    """Positions in the trace."""
    call: Int64s
    """Trace rows of their launches, -1 without one."""
    entry: Int64s
    """Positions in `Trace.collectives`, -1 where nothing tells."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def step(self) -> Int64s:
        """The step that launched each, -1 where that is not known."""
        at = np.where(self.call >= 0, self.facts.trace.ts[self.call], -1)
        return step_of(at, self.facts.windows)

    @cached_property
    def exposed(self) -> Int64s:
        """Nanoseconds that no computation covers; time that two share is the earlier one's."""
        start, end = self._own_spans
        return (end - start) - self.facts.work.compute.covered(start, end)

    def exposed_since(self, times: Int64s) -> Int64s:
        """The same, from these times on."""
        start, end = self._own_spans
        start = np.minimum(np.maximum(start, times), end)
        return (end - start) - self.facts.work.compute.covered(start, end)

    @cached_property
    def _own_spans(self) -> tuple[Int64s, Int64s]:
        start, end = spans(self.facts.trace, self.rows)
        reach = np.concatenate(([0], np.maximum.accumulate(end)[:-1])) if len(end) else end
        return np.minimum(np.maximum(start, reach), end), end

    @cached_property
    def family(self) -> NDArray[np.str_]:
        """What is done."""
        trace = self.facts.trace
        told = np.append(trace.collectives.name, -1)[self.entry]
        name = np.where(self.entry >= 0, told, trace.name[self.rows])
        ids, inverse = np.unique(name, return_inverse=True)
        return np.array([family_of(trace.names[i]) for i in ids.tolist()], dtype="U16")[inverse]

    @cached_property
    def dtype(self) -> Int64s:
        """Name ids of the element type, -1 where it is not told."""
        return np.append(self.facts.trace.collectives.dtype, -1)[self.entry].astype(np.int64)

    @cached_property
    def group_size(self) -> Int64s:
        """Ranks that take part, -1 where it is not told."""
        return np.append(self.facts.trace.collectives.group_size, -1)[self.entry]

    @cached_property
    def bytes(self) -> Int64s:
        """What the larger side of a rank holds, -1 where it is not told."""
        table, names = self.facts.trace.collectives, self.facts.trace.names
        elements = np.append(np.maximum(table.in_elements, table.out_elements), -1)[self.entry]
        ids, inverse = np.unique(self.dtype, return_inverse=True)
        width = np.array([dtype_bytes(names[i]) or -1 if i >= 0 else -1 for i in ids.tolist()])
        width = width.astype(np.int64)[inverse]
        return np.where((elements >= 0) & (width > 0), elements * width, -1)

    @cached_property
    def phase(self) -> Int64s:
        """Positions in PHASES."""
        code = np.full(len(self), PHASES.index("other"), dtype=np.int64)
        launched = np.flatnonzero(self.call >= 0)
        code[launched] = self._phases(self.call[launched])
        return code

    def _phases(self, call: Int64s) -> Int64s:
        """By the launching thread, by what the launch lies in, else by when the backward is."""
        times, lanes = self.facts.trace.ts[call], self.facts.trace.lane[call]
        code = _by_time(self.facts, self.marks.of("gradient"), times)
        for mark, phase in _PHASE_OF.items():
            code[self.marks.holding(mark, times, lanes)] = PHASES.index(phase)
        code[np.isin(lanes, self.backward_threads)] = PHASES.index("backward")
        return code

    @cached_property
    def marks(self) -> Marks:
        """Where in the step the host was."""
        return marks(self.facts.trace)

    @cached_property
    def backward_threads(self) -> list[int]:
        """Lanes of threads that autograd has for itself."""
        found, events = self.marks.lanes("gradient"), np.bincount(self.facts.host.thread)
        others = np.setdiff1d(np.flatnonzero(events), found)
        return found if len(others) else [t for t in found if t != int(np.argmax(events))]

    @cached_property
    def exposures(self) -> Intervals:
        """When nothing but communication ran, in any step."""
        work = self.facts.work
        cuts = np.stack((work.compute.start, work.compute.end), axis=1).ravel()
        start, end, _ = split(work.communication.start, work.communication.end, cuts)
        return union(*(times[work.compute.covered(start, end) == 0] for times in (start, end)))


def collective_calls(facts: Facts) -> CollectiveCalls:
    """The communication kernels of the counted steps."""
    mine = np.flatnonzero(facts.work.is_communication)
    mine = mine[facts.in_counted(facts.work.start[mine])]
    rows = facts.work.rows[mine]
    return CollectiveCalls(facts, rows, facts.calls.call[mine], told_by(facts, rows))


def _by_time(facts: Facts, rows: Int64s, times: Int64s) -> Int64s:
    """By a step's first and last backward operator (trace rows); "other" where it has none."""
    count = len(facts.windows)
    first, last = np.full(count + 1, np.iinfo(np.int64).max), np.full(count + 1, -1)
    step = step_of(facts.trace.ts[rows], facts.windows)
    np.minimum.at(first, step, facts.trace.ts[rows])
    np.maximum.at(last, step, ends(facts.trace, rows))
    at = step_of(times, facts.windows)
    known = (at >= 0) & (last[at] >= 0)
    code = np.where(times < first[at], PHASES.index("forward"), PHASES.index("backward"))
    code = np.where(times >= last[at], PHASES.index("after backward"), code)
    return np.where(known, code, PHASES.index("other"))
