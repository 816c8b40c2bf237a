"""One host and one GPU: clocks, launch queue, streams and events.

Main and autograd thread never run at the same time, so the host is one clock that changes threads.
Whatever a GPU operation waits for was launched before it, so its start is known at its launch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Any, NamedTuple

from .program import USUAL, Pace
from .records import GENERIC, LABELS, Bound, GpuOp, Kind, Leaf, Recording, Span, Sync, Work

MAIN = 41872
AUTOGRAD = 42019
DEFAULT_STREAM = 7
QUEUE_DEPTH = 1022  # launches in flight before a launch call blocks, as measured on a V100
LATENCY_US = 6.5  # from the start of a launch call to the start of its kernel on an idle GPU
STREAM_GAP_US = 1.0
EVENT_GAP_US = 1.6
RETURN_US = 6.0  # from the end of the awaited work to the return of the call
CALL_US = 4.8
GRAPH_CALL_US = 12.0
JITTER = 0.12
_RANK = {label: rank for rank, label in enumerate(LABELS)}
_PYTHON = _RANK["python"]


class Inside(NamedTuple):
    """What the running thread is inside of."""

    rank: int
    """The most specific label's place in LABELS."""
    links: dict[str, Any]
    """To the innermost operator, for a CUDA call's arguments."""
    annotations: tuple[Span, ...]


class Machine:
    """Host and GPU. Waits named in `drop` do not block: "sync", "copy", "allocator".

    Streams in `blocking` and the default stream wait for what the other was given before.
    """

    def __init__(
        self,
        seed: int,
        drop: frozenset[str] = frozenset(),
        pace: Pace = USUAL,
        blocking: frozenset[int] = frozenset(),
    ) -> None:
        self.now = 0
        self.tid = MAIN
        self.step = 0
        self.record = Recording()
        self.inside = [Inside(_PYTHON, {}, ())]
        self._drop = drop
        self._pace = pace
        self._blocking = blocking
        self._seed = seed
        self._random = Random(seed)
        self._ident = 0
        self._in_flight: list[int] = []
        self._last: dict[int, GpuOp] = {}
        self._awaited: dict[int, list[GpuOp]] = {}

    @contextmanager
    def aside(self, part: str) -> Iterator[None]:
        """Draw the jitter of this step's `part` from a stream of its own.

        Whether and how such a part runs leaves the jitter of all the rest as it is.
        """
        usual = self._random
        self._random = Random(f"{self._seed}/{self.step}/{part}")
        yield
        self._random = usual

    def jitter(self, us: float) -> int:
        """A duration near `us` microseconds, in nanoseconds."""
        return round(us * 1000 * (1 - JITTER + 2 * JITTER * self._random.random()))

    def spend(self, us: float) -> None:
        """Let the running thread work for about `us` microseconds, at the pace of the host."""
        length = self.jitter(us)
        if self._pace.host != 1.0 and LABELS[self.inside[-1].rank] in GENERIC:
            length = round(length / self._pace.host)
        self.wait(self.now + length)

    def wait(self, until: int) -> None:
        """Hold the running thread until the time `until`, in nanoseconds."""
        if until > self.now:
            self.record.leaves.append(Leaf(self.now, until, LABELS[self.inside[-1].rank]))
            self.now = until

    def span(self, name: str, cat: str, label: str | None = None, **args: Any) -> Open:
        """Open a host event; its time gets `label`."""
        return self._open(name, cat, label, args)

    def call(self, name: str, label: str | None = None) -> Open:
        """Open a CUDA runtime call, linked to the innermost operator."""
        return self._open(name, "cuda_runtime", label, dict(self.inside[-1].links))

    def _open(self, name: str, cat: str, label: str | None, args: dict[str, Any]) -> Open:
        self._ident += 1
        span = Span(name, cat, self.tid, self.now, self._ident, args)
        self.record.spans.append(span)
        return Open(self, span, _PYTHON if label is None else _RANK[label])

    def ends(self, stream: int | None = None) -> int:
        """When the work submitted so far ends, on one stream or on all."""
        ops = self._last.values() if stream is None else filter(None, [self._last.get(stream)])
        return max((op.end for op in ops), default=0)

    def launch(
        self,
        name: str,
        kind: Kind,
        stream: int,
        us: float,
        *,
        call: str,
        meets: int = 0,
        **args: Any,
    ) -> GpuOp:
        """Submit an operation of about `us` microseconds; a full queue blocks the call."""
        return self._launch([Work(name, kind, stream, us, args, meets)], call, CALL_US)

    def launch_graph(self, works: Sequence[Work]) -> GpuOp:
        """Submit a CUDA graph of operations, one after the other, with one call."""
        return self._launch(works, "cudaGraphLaunch", GRAPH_CALL_US)

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
            op = self._submit(Work(name, "copy", stream, us, args), span, self.now + latency)
            self._in_flight.append(op.end)
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

    def drain(self) -> None:
        """Wait for all work submitted so far, as calls of the allocator do."""
        if "allocator" not in self._drop:
            self.wait(self.ends())

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

    def _launch(self, works: Sequence[Work], call: str, call_us: float) -> GpuOp:
        with self.call(call, "launch") as span:
            self.wait(self._room())
            arrival = self.now + self.jitter(LATENCY_US)
            for work in works:
                op = self._submit(work, span, arrival)
            self._in_flight.append(op.end)
            self.spend(call_us)
        return op

    def _room(self) -> int:
        ends = self._in_flight
        return ends[-QUEUE_DEPTH] if len(ends) >= QUEUE_DEPTH else 0

    def _submit(self, work: Work, call: Span, arrival: int) -> GpuOp:
        start, bound = self._earliest(work.stream, arrival)
        op = GpuOp(
            name=work.name,
            kind=work.kind,
            stream=work.stream,
            step=self.step,
            call=call,
            label=LABELS[self.inside[-1].rank],
            start=start,
            end=max(start, work.meets) + max(1, self._length(work)),
            bound=bound,
            args=work.args,
            inside=self.inside[-1].annotations,
        )
        self._last[work.stream] = op
        self.record.ops.append(op)
        return op

    def _length(self, work: Work) -> int:
        length, pace = self.jitter(work.us), self._pace
        if work.kind == "communication":
            return round(length / pace.communication)
        if work.kind == "compute":
            faster = pace.kernels * (pace.gemm if "gemm" in work.name else 1.0)
            return round(length / faster)
        return length

    def _earliest(self, stream: int, arrival: int) -> tuple[int, Bound]:
        gap, hop = self.jitter(STREAM_GAP_US), self.jitter(EVENT_GAP_US)
        bound: Bound
        start, bound = arrival, "launch"
        if stream in self._last and (after := self._last[stream].end + gap) > start:
            start, bound = after, "stream"
        for op in [*self._awaited.pop(stream, []), *self._in_step(stream)]:
            if op.end + hop > start:
                start, bound = op.end + hop, "event"
        return start, bound

    def _in_step(self, stream: int) -> Iterator[GpuOp]:
        """What a stream waits for because it is, or is not, the default stream."""
        if stream == DEFAULT_STREAM:
            yield from (op for other, op in self._last.items() if other in self._blocking)
        elif stream in self._blocking and DEFAULT_STREAM in self._last:
            yield self._last[DEFAULT_STREAM]


class Open:
    """A host event while it is open; `with` gives its Span."""

    __slots__ = ("_machine", "_rank", "_span")

    def __init__(self, machine: Machine, span: Span, rank: int) -> None:
        self._machine = machine
        self._span = span
        self._rank = rank

    def __enter__(self) -> Span:
        span, (rank, links, annotations) = self._span, self._machine.inside[-1]
        if span.cat == "cpu_op":
            links = {"External id": span.ident}
        elif span.cat == "user_annotation":
            annotations = (*annotations, span)
        self._machine.inside.append(Inside(min(rank, self._rank), links, annotations))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._machine.inside.pop()
        self._span.end = self._machine.now
