"""What a simulated run leaves behind. All times are integer nanoseconds from the run's start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["compute", "communication", "copy"]
Bound = Literal["launch", "stream", "event"]

# From the most specific to the least: of all a thread is inside, the first of these counts.
LABELS = (
    "gc",
    "checkpoint",
    "dataloader",
    "allocator",
    "copy",
    "sync",
    "compile",
    "launch",
    "dispatch",
    "python",
)
GENERIC = ("launch", "dispatch", "python")


@dataclass(eq=False)
class Span:
    """A host event: an operator, an annotation or a CUDA call on thread `tid`."""

    name: str
    cat: str
    tid: int
    start: int
    ident: int
    args: dict[str, Any] = field(default_factory=dict)
    end: int = -1


@dataclass(frozen=True)
class Leaf:
    """What the one running host thread was doing in [start, end)."""

    start: int
    end: int
    label: str


class Work(NamedTuple):
    """An operation before it has a place in time; about `us` microseconds long."""

    name: str
    kind: Kind
    stream: int
    us: float
    args: dict[str, Any]
    meets: int = 0
    """When others take part in it: it lasts its length from then on."""


@dataclass(eq=False)
class GpuOp:
    """A kernel or a copy, with the constraint that set its start.

    `label` is the cause of idle time between the start of `call` and the start of the operation;
    `step` is the training step that launched it.
    """

    name: str
    kind: Kind
    stream: int
    step: int
    call: Span
    label: str
    start: int
    end: int
    bound: Bound
    args: dict[str, Any]
    inside: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Sync:
    """A wait that CUDA would report: the host's, or one stream's for an event of another."""

    kind: str
    call: Span
    stream: int
    recorded: Span | None = None
    source_stream: int = -1


@dataclass(frozen=True)
class Batch:
    """A batch, made by a worker from `start` to `end`, for which the training asked at `asked`.

    It had been read at `read` and was handed over at `taken`. What was made before the run has
    times below 0.
    """

    index: int
    worker: int
    start: int
    read: int
    end: int
    asked: int
    taken: int


@dataclass
class Recording:
    """Everything a run did, in the order in which the host did it."""

    spans: list[Span] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    ops: list[GpuOp] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    marks: list[Span] = field(default_factory=list)
    gradients: list[tuple[Span, Span]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    """Those of worker processes."""
