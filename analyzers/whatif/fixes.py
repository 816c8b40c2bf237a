"""The fixes that can be asked for, each as a change of the dependency graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analyzers.blockers import autograd_threads, main_thread
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.graph.model import Edge, Point
from perfkit.analyzers.kernel_names import kind_of
from perfkit.analyzers.rows import present
from perfkit.analyzers.whatif.edit import Edit
from perfkit.errors import PerfkitError, closest
from perfkit.model.cause import CODE, Cause
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Bools, Kind

Grade = Literal["A", "B", "C"]
_STREAM_WAIT = re.compile(r"(cuda|hip|cu)StreamSynchronize")
Change = Callable[[Edit, float, str], None]

_HOST = (Cause.LAUNCH, Cause.DISPATCH, Cause.PYTHON)
_REPLAYED_HOST_SHARE = 0.1
"""What a CUDA graph leaves of the host's work in it: one launch, inputs to be copied in."""
_INSIDE_NS = 1_000_000
"""What takes the host longer between launches is other work than launching: it stays."""
_JOINED_NS = 10_000  # a copy that blocks calls the wait for its stream 1 to 3 us after it
_GRAPH_GAP_NS = 1_000
_PINNED_BYTES_PER_NS = {8: 24.0, 9: 50.0}
"""From pinned memory by compute capability: PCIe 4 and 5 x16; before that, PCIe 3 with 12."""
_FIRST_BUCKET = 0.15
"""Of what could be hidden: the first gradients have to be there, and the last come at the end."""
_BACKWARD = 0.6
"""Share of computation that a backward pass is, where no thread of its own shows it."""
_INTERFERENCE = 0.05


@dataclass(frozen=True)
class Fix:
    """A fix as it was asked for: `kernels:gemm=2` is name, what and factor."""

    name: str
    factor: float = 1.0
    what: str = ""

    @property
    def spelled(self) -> str:
        """As `--fix` takes it."""
        what = f":{self.what}" if self.what else ""
        return f"{self.name}{what}={self.factor:g}" if CATALOGUE[self.name].scales else self.name

    @property
    def text(self) -> str:
        """The fix in words."""
        return CATALOGUE[self.name].text.format(k=f"{self.factor:g}", what=self.what or "all")

    @property
    def grade(self) -> Grade:
        """What it rests on: A records, B inference, C an assumption about the code to come."""
        return CATALOGUE[self.name].grade

    def apply(self, edit: Edit) -> None:
        """Change the graph."""
        CATALOGUE[self.name].change(edit, self.factor, self.what)


@dataclass(frozen=True)
class _Entry:
    text: str
    grade: Grade
    change: Change
    scales: bool = False


def parse(names: Sequence[str]) -> list[Fix]:
    """Fixes from their names; PerfkitError for what is none."""
    return [_parsed(name) for name in names]


def _parsed(text: str) -> Fix:
    head, given, factor = text.partition("=")
    name, _, what = head.partition(":")
    if name not in CATALOGUE:
        near = closest(name, CATALOGUE)
        hint = f"did you mean {near}? " if near else ""
        raise PerfkitError(f"There is no fix {name!r}: {hint}`perfkit whatif --list` lists them.")
    if what and (name != "kernels" or what not in set(KernelKind)):
        raise PerfkitError(f"{text!r} names no class of kernels: use {', '.join(KernelKind)}.")
    if not CATALOGUE[name].scales:
        if given:
            raise PerfkitError(f"The fix {name} takes no factor: write --fix {name}.")
        return Fix(name)
    return Fix(name, _factor(text, factor), what)


def _factor(text: str, factor: str) -> float:
    try:
        value = float(factor)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise PerfkitError(f"{text!r} needs a factor above 0: write for example --fix kernels=2.")
    return value


def _dataloader(edit: Edit, _: float, __: str) -> None:
    edit.shorten([Cause.DATALOADER], 0)
    edit.release([Edge.DATA])


def _copies(edit: Edit, _: float, __: str) -> None:
    """Pinned and not blocking, on a stream of its own: what needs the copy still waits for it."""
    edit.release([Edge.COPY], [Cause.COPY])
    edit.shorten([Cause.COPY], 0)
    part = edit.part
    edit.release_ends(_waits_of_copies(edit))
    held = part.caller[part.operation] == CODE[Cause.COPY]
    points = part.operation[held]
    rows = part.facts.work.rows[part.work[held]]
    size, dur = part.facts.trace.bytes[rows], part.facts.trace.dur[rows]
    pinned = np.where(size > 0, size / _pinned_bytes_per_ns(part.facts), dur).astype(np.int64)
    edit.dur[points] = 0
    if not edit.optimistic:
        edit.launch_later(points, np.minimum(dur, pinned))


def _waits_of_copies(edit: Edit) -> Bools:
    """Ends of the waits for a stream that belong to the blocking copy right before them."""
    part, graph = edit.part, edit.part.graph
    ends = np.flatnonzero((part.caller == CODE[Cause.SYNC]) & (graph.kind == Point.END))
    ends = ends[(graph.row[ends] >= 0) & (graph.prev[ends] >= 0)]
    begin = graph.prev[ends]
    before = graph.prev[begin]
    joined = (before >= 0) & (part.caller[before] == CODE[Cause.COPY])
    joined &= graph.time[begin] - graph.time[before] <= _JOINED_NS
    trace, found = part.facts.trace, np.zeros(len(graph), dtype=np.bool_)
    names = trace.name[graph.row[ends[joined]]]
    of_stream = {i for i in np.unique(names).tolist() if _STREAM_WAIT.match(trace.names[i])}
    found[ends[joined][np.isin(names, list(of_stream))]] = True
    return found


def _pinned_bytes_per_ns(facts: Facts) -> float:
    devices = {device.id: device.compute_major for device in facts.trace.info.devices}
    major = devices.get(facts.work.device) or 0
    return max((rate for since, rate in _PINNED_BYTES_PER_NS.items() if since <= major), default=12)


def _sync(edit: Edit, _: float, __: str) -> None:
    edit.release([Edge.SYNC])
    edit.release([Edge.COPY], [Cause.SYNC])
    edit.shorten([Cause.SYNC], 0)


def _allocator(edit: Edit, _: float, __: str) -> None:
    edit.release([Edge.ALLOCATOR])
    edit.shorten([Cause.ALLOCATOR], 0)


def _gc(edit: Edit, _: float, __: str) -> None:
    edit.shorten([Cause.GC], 0)


def _checkpoint(edit: Edit, _: float, __: str) -> None:
    edit.shorten([Cause.CHECKPOINT], 0)


def _host(edit: Edit, factor: float, _: str) -> None:
    edit.shorten(_HOST, 1 / factor)


def _cuda_graphs(edit: Edit, _: float, __: str) -> None:
    """What is launched from inside of operators becomes part of one launch."""
    keep = 0.0 if edit.optimistic else _REPLAYED_HOST_SHARE
    for cause in _HOST:
        edit.shorten([cause], keep, None if edit.optimistic else _is_short(edit, cause))
    points = edit.part.operation
    gap = 0 if edit.optimistic else _GRAPH_GAP_NS
    edit.lag[points] = np.minimum(edit.lag[points], gap)


def _is_short(edit: Edit, cause: Cause) -> Bools:
    return np.asarray(edit.part.spent[CODE[cause]] < _INSIDE_NS)


def _fusion(edit: Edit, _: float, __: str) -> None:
    """An element-wise kernel behind another one needs no launch, and at best no time."""
    part = edit.part
    fused = _kinds(edit, KernelKind.ELEMENTWISE)
    previous = part.graph.prev[part.operation]
    is_fused = np.zeros(len(part.graph) + 1, dtype=np.bool_)
    is_fused[part.operation[fused]] = True
    follows = fused & is_fused[previous]
    calls = np.zeros(len(part.graph), dtype=np.bool_)
    launches = part.graph.edges.kind == Edge.LAUNCH
    targets = np.zeros(len(part.graph), dtype=np.bool_)
    targets[part.operation[follows]] = True
    calls[part.graph.edges.source[launches & targets[part.graph.edges.target]]] = True
    for cause in (Cause.LAUNCH, Cause.DISPATCH):
        edit.shorten([cause], 0, calls & _is_short(edit, cause))
    edit.lag[part.operation[follows]] = 0
    if edit.optimistic:
        edit.scale(follows, 0)


def _kernels(edit: Edit, factor: float, what: str) -> None:
    kind = KernelKind(what) if what else None
    edit.scale(_compute(edit) if kind is None else _kinds(edit, kind), 1 / factor)


def _communication(edit: Edit, factor: float, _: str) -> None:
    edit.scale(_is_communication(edit), 1 / factor)


def _overlap(edit: Edit, _: float, __: str) -> None:
    """As much of the communication as the backward pass can hide no longer shows."""
    part, talks = edit.part, _is_communication(edit)
    if edit.optimistic:
        edit.scale(talks, 0)
        return
    computes, took = _compute(edit), part.graph.dur[part.operation]
    room = float(took[computes & _in_backward(edit)].sum()) or _BACKWARD * took[computes].sum()
    total = float(took[talks].sum())
    shown = max(1 - room / total, 0.0) if total else 1.0
    shown += (1 - shown) * _FIRST_BUCKET
    edit.scale(talks, shown)
    hidden = (1 - shown) * total
    edit.scale(computes, 1 + _INTERFERENCE * hidden / max(float(took[computes].sum()), 1.0))


def _in_backward(edit: Edit) -> Bools:
    """Operations that an autograd thread launched."""
    facts, mine = edit.part.facts, edit.part.work
    call = facts.calls.call[mine]
    threads = present(facts.host.thread)
    main = main_thread(facts.host, threads)
    others = [t for t in autograd_threads(facts.host, threads) if t != main]
    return np.asarray((call >= 0) & np.isin(facts.trace.lane[call], others))


def _is_communication(edit: Edit) -> Bools:
    return np.asarray(edit.part.facts.work.is_communication[edit.part.work])


def _compute(edit: Edit) -> Bools:
    work, mine = edit.part.facts.work, edit.part.work
    return np.asarray(~work.is_copy[mine] & ~work.is_communication[mine])


def _kinds(edit: Edit, kind: KernelKind) -> Bools:
    trace, work = edit.part.facts.trace, edit.part.facts.work
    rows = work.rows[edit.part.work]
    names = np.unique(trace.name[rows])
    known = np.zeros(len(trace.names), dtype=np.bool_)
    known[names] = [kind_of(trace.names[i]) is kind for i in names.tolist()]
    return np.asarray(known[trace.name[rows]] & (trace.kind[rows] == Kind.KERNEL))


CATALOGUE: dict[str, _Entry] = {
    "dataloader": _Entry("batches are ready when they are asked for", "A", _dataloader),
    "copies": _Entry("copies from pinned memory that do not block", "A", _copies),
    "sync": _Entry("the host no longer waits for the GPU", "A", _sync),
    "cuda-graphs": _Entry("kernels replayed as one CUDA graph", "C", _cuda_graphs),
    "fusion": _Entry("neighbouring element-wise kernels fused, the optimizer's too", "C", _fusion),
    "overlap": _Entry("communication hidden behind the backward pass", "B", _overlap),
    "communication": _Entry("communication {k} times as fast", "B", _communication, True),
    "kernels": _Entry("{what} kernels {k} times as fast", "A", _kernels, True),
    "allocator": _Entry("no memory returned to the driver in a step", "B", _allocator),
    "gc": _Entry("no garbage collection in a step", "A", _gc),
    "checkpoint": _Entry("checkpoints written beside the training", "A", _checkpoint),
    "host": _Entry("host {k} times as fast between launches", "A", _host, True),
}
_ON_CPU = ("dataloader", "gc", "checkpoint")
_ON_GPU = (
    "dataloader", "copies", "sync", "cuda-graphs", "fusion", "overlap", "allocator", "gc",
    "checkpoint",
)  # fmt: skip
STANDARD: dict[str, tuple[str, ...]] = {"gpu": _ON_GPU, "cpu": _ON_CPU, "none": ()}
"""Those that are tried where nothing is asked for, by the kind of device."""

REMOVED: dict[Cause, Change] = {
    Cause.DATALOADER: _dataloader,
    Cause.COPY: _copies,
    Cause.SYNC: _sync,
    Cause.ALLOCATOR: _allocator,
}
"""How a cause goes away where it is more than time on the host."""


def remove(cause: Cause, edit: Edit) -> None:
    """Take all time of a cause out of the graph."""
    if cause in REMOVED:
        REMOVED[cause](edit, 1.0, "")
    elif cause is Cause.KERNEL_GAP:
        edit.lag[edit.part.operation] = 0
    else:
        edit.shorten([cause], 0)
