"""One rank's events as columns: what every reader makes and every analyzer reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
Int8s = NDArray[np.int8]
Bools = NDArray[np.bool_]


class Kind(IntEnum):
    """What an event is, decided by its category and never by its process id."""

    OPERATOR = 0
    ANNOTATION = 1
    RUNTIME = 2
    PYTHON = 3
    OVERHEAD = 4
    OTHER = 5
    SYNC = 6
    GPU_ANNOTATION = 7
    KERNEL = 8
    MEMCPY = 9
    MEMSET = 10


FIRST_GPU_WORK = Kind.KERNEL


@dataclass(frozen=True, slots=True)
class Lane:
    """A thread of a process, or a stream of a device.

    `pid` and `tid` are as the file has them; `device` and `stream` are -1 on a thread.
    """

    pid: str
    tid: str
    device: int = -1
    stream: int = -1

    @property
    def is_gpu(self) -> bool:
        """True for a stream."""
        return self.device >= 0

    @property
    def label(self) -> str:
        """The lane as a reader meets it."""
        return f"GPU {self.device} stream {self.stream}" if self.is_gpu else f"thread {self.tid}"


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator as the writer described it; an absent property is None."""

    id: int
    name: str
    memory_bytes: int | None = None
    compute_major: int | None = None
    compute_minor: int | None = None
    sm_count: int | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """What the reader met and mended or left out, in events unless said otherwise."""

    truncated: bool = False
    unreadable_events: int = 0
    repaired_events: int = 0
    negative_durations: int = 0
    zero_timestamps: int = 0
    clipped_gpu_events: int = 0


@dataclass(frozen=True, slots=True)
class WorkerBatches:
    """Batches of the one loader that a recorded run used, and when its workers made them.

    Batches are numbered as the training takes them, times are nanoseconds as in `Trace.ts`. Batch
    `batch` was made from `start` to `end` by `worker`, shapes (batches,); `asked_batch` was asked
    for at `asked_at`, shapes (asked,). `workers` take turns, each with `prefetch` batches to make.
    """

    batch: Int64s
    worker: Int64s
    start: Int64s
    end: Int64s
    asked_batch: Int64s
    asked_at: Int64s
    workers: int
    prefetch: int


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What the file says of itself."""

    source: str
    base_ns: int = 0
    rank: int | None = None
    world_size: int | None = None
    backend: str | None = None
    devices: tuple[Device, ...] = ()
    has_no_device: bool = False
    """The file lists the GPUs of its machine, and the list is empty."""
    metadata: dict[str, Any] = field(default_factory=dict)
    damage: Damage = field(default_factory=Damage)
    batches: WorkerBatches | None = None
    """None where no records tell, or not of every batch and of one loader alone."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Arrows between events, e.g. forward operator to backward operator; all of shape (flows,)."""

    id: Int64s
    ts: Int64s
    lane: Int32s
    name: Int32s
    is_start: Bools


@dataclass(frozen=True, slots=True)
class Collectives:
    """What communication kernels say of themselves; all of shape (collectives,).

    `row` is the event's position in the file (compare `Trace.row`); `name` and `dtype` index
    `Trace.names`; element counts are per rank, -1 where absent.
    """

    row: Int64s
    name: Int32s
    dtype: Int32s
    in_elements: Int64s
    out_elements: Int64s
    group_size: Int64s


@dataclass(frozen=True, slots=True)
class Operands:
    """What matrix operators say of their arguments, where shapes were recorded.

    `row` is the event's position in the file (compare `Trace.row`), `text` an index into `texts`;
    both of shape (operators,). Each text is the JSON of three lists, one entry an argument: its
    dimensions, its type, and its value (where it is no tensor); a list that is absent is empty.
    `sequence` is how many operators autograd had recorded on the thread by then, -1 where it was
    off.
    """

    row: Int64s
    text: Int32s
    sequence: Int64s
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allocations:
    """What allocators said in a recording with `profile_memory`, in the file's order.

    All of shape (allocations,): `ts` nanoseconds as in `Trace.ts`; `size` bytes, negative where
    memory is given back; `allocated` and `reserved` are the device's totals in bytes after it, -1
    where an old writer gives none; `device` its number, -1 for the host's; `device_type` as torch
    counts them (0 is the CPU); `failed` where there was no memory for `size`.
    """

    ts: Int64s
    size: Int64s
    allocated: Int64s
    reserved: Int64s
    device: Int64s
    device_type: Int64s
    failed: Bools
    row: Int64s


@dataclass(frozen=True, slots=True)
class Trace:
    """Events of one rank, ordered by start; every column has shape (events,).

    `ts` and `dur` are nanoseconds, `ts` from `info.base_ns`; `name` and `category` index `names`;
    `lane` indexes `lanes`; `corr`, `external_id`, `bytes`, `wait_stream`, `wait_corr` are -1 where
    the file has none; `graph` is the CUDA graph a GPU operation belongs to, or -1; `row` is the
    event's position in the file.
    """

    info: TraceInfo
    names: tuple[str, ...]
    lanes: tuple[Lane, ...]
    kind: Int8s
    ts: Int64s
    dur: Int64s
    name: Int32s
    category: Int32s
    lane: Int32s
    corr: Int64s
    external_id: Int64s
    bytes: Int64s
    wait_stream: Int64s
    wait_corr: Int64s
    graph: Int64s
    row: Int64s
    flows: Flows
    collectives: Collectives
    operands: Operands
    allocations: Allocations

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def end(self) -> Int64s:
        """Nanoseconds, shape (events,)."""
        return self.ts + self.dur

    @property
    def is_gpu_work(self) -> Bools:
        """Kernels, copies and memsets, shape (events,)."""
        return self.kind >= FIRST_GPU_WORK

    def take(self, rows: Bools | Int64s) -> Trace:
        """The same trace with only these events (a mask or positions, in rising order)."""
        return replace(self, **{c: getattr(self, c)[rows] for c in EVENT_COLUMNS})

    def to_pandas(self) -> pd.DataFrame:
        """Events as a DataFrame, one row each, times in nanoseconds.

        Names, categories and lanes are categorical, so that the frame stays small.
        """
        import pandas as pd

        def categories(codes: Any, values: list[str]) -> Any:
            return pd.Categorical.from_codes(codes, pd.Index(values, dtype=object))

        columns: dict[str, Any] = {c: getattr(self, c) for c in _PLAIN_COLUMNS}
        columns["kind"] = categories(self.kind, [kind.name.lower() for kind in Kind])
        for column in ("name", "category"):
            columns[column] = categories(getattr(self, column), list(self.names))
        codes, unique = pd.factorize(np.array([lane.label for lane in self.lanes], dtype=object))
        columns["lane"] = categories(codes[self.lane], list(unique))
        return pd.DataFrame(columns)


_PLAIN_COLUMNS = (
    "ts",
    "dur",
    "corr",
    "external_id",
    "bytes",
    "wait_stream",
    "wait_corr",
    "graph",
    "row",
)
EVENT_COLUMNS = ("kind", "name", "category", "lane", *_PLAIN_COLUMNS)
