"""One host and one GPU: clocks, launch queue, streams and events.

Main and autograd thread never run at the same time, so the host is one clock that changes threads.
Whatever a GPU operation waits for was launched before it, so its start is known at its launch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from .records import LABELS, Bound, GpuOp, Kind, Leaf, Recording, Span, Sync

MAIN = 41872
AUTOGRAD = 42019
QUEUE_DEPTH = 1022  # operations in flight before a launch call blocks, as measured on a V100
LATENCY_US = 6.5  # from the start of a launch call to the start of its kernel on an idle GPU
STREAM_GAP_US = 1.0
EVENT_GAP_US = 1.6
RETURN_US = 6.0  # from the end of the awaited work to the return of the call
CALL_US = 4.8
JITTER = 0.12


class Work(NamedTuple):
    """An operation before it has a place in time; about `us` microseconds long."""

    name: str
    kind: Kind
    stream: int
    us: float
    args: dict[str, Any]


class Machine:
    """The state of host and GPU; `drop` names the waits ("sync", "copy") that do not block."""

    def __init__(self, seed: int, drop: frozenset[str] = frozenset()) -> None:
        self.now = 0
        self.tid = MAIN
        self.step = 0
        self.record = Recording()
        self._drop = drop
        self._random = Random(seed)
        self._ident = 0
        self._labels: list[str] = []
        self._open: list[Span] = []
        self._last: dict[int, GpuOp] = {}
        self._awaited: dict[int, list[GpuOp]] = {}

    def jitter(self, us: float) -> int:
        """A duration near `us` microseconds, in nanoseconds."""
        return round(us * 1000 * self._random.uniform(1 - JITTER, 1 + JITTER))

    def spend(self, us: float) -> None:
        """Let the running thread work for about `us` microseconds."""
        self.wait(self.now + self.jitter(us))

    def wait(self, until: int) -> None:
        """Hold the running thread until the time `until`, in nanoseconds."""
        if until > self.now:
            label = min(self._labels, key=LABELS.index, default="python")
            self.record.leaves.append(Leaf(self.now, until, label))
            self.now = until

    @contextmanager
    def doing(self, label: str) -> Iterator[None]:
        """Label the running thread's time."""
        self._labels.append(label)
        yield
        self._labels.pop()

    @contextmanager
    def span(self, name: str, cat: str, label: str | None = None, **args: Any) -> Iterator[Span]:
        """Open a host event; its time gets `label`."""
        self._ident += 1
        span = Span(name, cat, self.tid, self.now, self._ident, args)
        self.record.spans.append(span)
        self._open.append(span)
        with self.doing(label or "python"):
            yield span
        self._open.pop()
        span.end = self.now

    @contextmanager
    def call(self, name: str, label: str | None = None) -> Iterator[Span]:
        """Open a CUDA runtime call, linked to the innermost operator."""
        owner = next((s.ident for s in reversed(self._open) if s.cat == "cpu_op"), None)
        links = {} if owner is None else {"External id": owner}
        with self.span(name, "cuda_runtime", label, **links) as span:
            yield span

    def ends(self, stream: int | None = None) -> int:
        """When the work submitted so far ends, on one stream or on all."""
        ops = self._last.values() if stream is None else filter(None, [self._last.get(stream)])
        return max((op.end for op in ops), default=0)

    def launch(
        self, name: str, kind: Kind, stream: int, us: float, *, call: str, **args: Any
    ) -> GpuOp:
        """Submit an operation of about `us` microseconds; a full queue blocks the call."""
        with self.call(call, "launch") as span:
            self.wait(self._room())
            arrival = self.now + self.jitter(LATENCY_US)
            op = self._submit(Work(name, kind, stream, us, args), span, arrival)
            self.spend(CALL_US)
        return op

    def blocking_copy(
        self, name: str, stream: int, us: float, staging_us: float, **args: Any
    ) -> GpuOp:
        """Copy from or to pageable memory: staging, then the transfer, both inside the call."""
        free = "copy" in self._drop
        with self.call("cudaMemcpyAsync", "launch" if free else "copy") as span:
            staging, back = self.jitter(staging_us), self.jitter(RETURN_US)
            latency, cost = self.jitter(LATENCY_US), self.jitter(CALL_US)
            if not free:
                self.wait(self.ends(stream))
                self.wait(self.now + staging)
            work = Work(name, "copy", stream, us, args)
            op = self._submit(work, span, self.now + latency)
            self.wait(self.now + cost if free else op.end + back)
        return op

    def synchronize(self, call: str, kind: str, until: int, stream: int) -> None:
        """Wait for work that ends at `until`, unless this run drops such waits."""
        with self.call(call, "sync") as span:
            back = self.jitter(RETURN_US)
            self.record.syncs.append(Sync(kind, span, stream))
            blocks = until > self.now and "sync" not in self._drop
            self.spend(2.0)
            if blocks:
                self.wait(until + back)

    def event_record(self, stream: int) -> tuple[Span, GpuOp | None]:
        """Record an event; returns the call and the work it stands for."""
        with self.call("cudaEventRecord") as span:
            self.spend(1.2)
        return span, self._last.get(stream)

    def event_wait(self, stream: int, source: int) -> None:
        """Hold `stream` until what `source` has now is done."""
        recorded, op = self.event_record(source)
        with self.call("cudaStreamWaitEvent") as span:
            self.spend(1.0)
        self.record.syncs.append(Sync("Stream Wait Event", span, stream, recorded, source))
        if op is not None:
            self._awaited.setdefault(stream, []).append(op)

    def _room(self) -> int:
        ops = self.record.ops
        return ops[-QUEUE_DEPTH].end if len(ops) >= QUEUE_DEPTH else 0

    def _submit(self, work: Work, call: Span, arrival: int) -> GpuOp:
        start, bound = self._earliest(work.stream, arrival)
        op = GpuOp(
            name=work.name,
            kind=work.kind,
            stream=work.stream,
            step=self.step,
            call=call,
            label=min(self._labels, key=LABELS.index),
            start=start,
            end=start + max(1, self.jitter(work.us)),
            bound=bound,
            args=work.args,
            inside=tuple(s for s in self._open if s.cat == "user_annotation"),
        )
        self._last[work.stream] = op
        self.record.ops.append(op)
        return op

    def _earliest(self, stream: int, arrival: int) -> tuple[int, Bound]:
        gap, hop = self.jitter(STREAM_GAP_US), self.jitter(EVENT_GAP_US)
        times: list[tuple[int, Bound]] = [(arrival, "launch")]
        if stream in self._last:
            times.append((self._last[stream].end + gap, "stream"))
        awaited = self._awaited.pop(stream, [])
        times += [(op.end + hop, "event") for op in awaited]
        return max(times, key=lambda time: time[0])
