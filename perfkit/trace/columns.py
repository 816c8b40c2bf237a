"""Typed records to columns, block by block, and blocks to one Trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from perfkit.model.trace import (
    EVENT_COLUMNS,
    Collectives,
    Damage,
    Flows,
    Kind,
    Lane,
    Trace,
    TraceInfo,
)
from perfkit.trace.events import Args, Block, Event, to_int
from perfkit.trace.times import INVALID, durations, nanoseconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int8s, Int32s, Int64s

    Columns = dict[str, NDArray[Any]]

# Each category any writer since 2021 has used; whether an event ran on a GPU follows from it alone.
KIND_OF_CATEGORY = {
    "cpu_op": Kind.OPERATOR,
    "Operator": Kind.OPERATOR,
    "user_annotation": Kind.ANNOTATION,
    "cuda_runtime": Kind.RUNTIME,
    "cuda_driver": Kind.RUNTIME,
    "Runtime": Kind.RUNTIME,
    "xpu_runtime": Kind.RUNTIME,
    "xpu_driver": Kind.RUNTIME,
    "mtia_runtime": Kind.RUNTIME,
    "glow_runtime": Kind.RUNTIME,
    "privateuse1_runtime": Kind.RUNTIME,
    "privateuse1_driver": Kind.RUNTIME,
    "python_function": Kind.PYTHON,
    "overhead": Kind.OVERHEAD,
    "cuda_sync": Kind.SYNC,
    "xpu_sync": Kind.SYNC,
    "gpu_user_annotation": Kind.GPU_ANNOTATION,
    "kernel": Kind.KERNEL,
    "Kernel": Kind.KERNEL,
    "concurrent_kernel": Kind.KERNEL,
    "mtia_ccp_events": Kind.KERNEL,
    "gpu_memcpy": Kind.MEMCPY,
    "Memcpy": Kind.MEMCPY,
    "gpu_memset": Kind.MEMSET,
    "Memset": Kind.MEMSET,
}
# Arrows from a launch to its GPU operation only repeat the correlation id.
_LAUNCH_FLOWS = frozenset(("ac2g", "async_cpu_to_gpu", "async_gpu", "async"))
_ARROWS = frozenset("sft")
_NO_ARGS = Args()
_WEEK_NS = 7 * 86_400 * 10**9  # longer durations are counter wraps of the driver
_SPAN = -1  # the profiler's own life time
_ARGUMENTS = {
    Kind.SYNC: {"corr": "correlation", "wait_stream": "wait_stream", "wait_corr": "wait_corr"},
    Kind.KERNEL: {"bytes": "bytes", "graph": "graph"},
}
_COLLECTIVE_INTS = ("in_elements", "out_elements", "group_size")


class Interner(dict[object, int]):
    """Numbers things in the order they are first met."""

    def __missing__(self, key: object) -> int:
        self[key] = number = len(self)
        return number


@dataclass
class BlockColumns:
    """A block's events, flows and collectives; ids are local to the block's own tables.

    `tail` is as in Block; `text` is kept when no event could be read from it.
    """

    rows: int
    names: list[str]
    lanes: list[Lane]
    events: Columns
    flows: Columns
    collectives: Columns
    damage: Damage
    tail: bytes | None = None
    text: bytes = b""


def columns_of(block: Block) -> BlockColumns:
    """Columns of one block's events; rows count from the block's start."""
    names, lanes = Interner(), Interner()
    phases = [e.ph for e in block.events]
    rows = [i for i, phase in enumerate(phases) if phase == "X"]
    events = [block.events[i] for i in rows]
    arrows = [e for e, phase in zip(block.events, phases, strict=True) if phase in _ARROWS]
    columns = _event_columns(events, names, lanes) | {"row": np.array(rows, dtype=np.int64)}
    good = _good(columns)
    negative = good & (columns["dur"] < 0)
    columns["dur"][negative] = 0
    kept = good & (columns["kind"] != _SPAN)
    return BlockColumns(
        rows=len(block.events),
        flows=_flow_columns(arrows, names, lanes),
        collectives=_collective_columns(rows, events, names),
        names=[str(name) for name in names],
        lanes=_lanes(lanes, events, columns["lane"]),
        events={name: column[kept] for name, column in columns.items()},
        damage=Damage(
            repaired_events=block.repaired,
            unreadable_events=block.unreadable + int((~good).sum()),
            negative_durations=int(negative.sum()),
        ),
        tail=block.tail,
    )


def _event_columns(events: Sequence[Event], names: Interner, lanes: Interner) -> Columns:
    name = _ids(map(attrgetter("name"), events), names)
    category = _ids(map(attrgetter("cat"), events), names)
    kind = np.array([_kind(text) for text in names], dtype=np.int8)[category]
    on_gpu = (kind >= Kind.SYNC).tolist()
    places = zip(
        on_gpu, map(attrgetter("pid"), events), map(attrgetter("tid"), events), strict=True
    )
    return {
        "kind": kind,
        "ts": nanoseconds([e.ts for e in events]),
        "dur": durations([e.dur for e in events]),
        "name": name,
        "category": category,
        "lane": _ids(places, lanes),
        **_argument_columns([e.args or _NO_ARGS for e in events], kind),
    }


def _kind(category: object) -> int:
    return _SPAN if category == "Trace" else KIND_OF_CATEGORY.get(str(category), Kind.OTHER)


def _argument_columns(args: Sequence[Args], kind: Int8s) -> Columns:
    """Each argument where its kind of event can have it, and -1 elsewhere."""
    columns: Columns = {"external_id": _ints(args, "external_id")}
    for first, attributes in _ARGUMENTS.items():
        rows = np.flatnonzero((kind == Kind.RUNTIME) | (kind >= first))
        having = [args[i] for i in rows.tolist()]
        for column, attribute in attributes.items():
            columns[column] = np.full(len(args), -1, dtype=np.int64)
            columns[column][rows] = _ints(having, attribute)
    return columns


def _flow_columns(arrows: Sequence[Event], names: Interner, lanes: Interner) -> Columns:
    arrows = [e for e in arrows if e.cat not in _LAUNCH_FLOWS]
    ids = [to_int(e.id) if isinstance(e.id, int) else _number(e.id) for e in arrows]
    columns: Columns = {
        "id": np.array(ids, dtype=np.int64),
        "ts": nanoseconds([e.ts for e in arrows]),
        "lane": _ids([(False, e.pid, e.tid) for e in arrows], lanes),
        "name": _ids([e.name for e in arrows], names),
        "is_start": np.array([e.ph == "s" for e in arrows], dtype=np.bool_),
    }
    good = columns["ts"] != INVALID
    return {name: column[good] for name, column in columns.items()}


def _collective_columns(rows: Sequence[int], events: Sequence[Event], names: Interner) -> Columns:
    found = [(i, a) for i, e in zip(rows, events, strict=True) if (a := e.args) and a.collective]
    args = [a for _, a in found]
    return {
        "row": np.array([i for i, _ in found], dtype=np.int64),
        "name": _ids([a.collective for a in args], names),
        "dtype": _ids([a.dtype for a in args], names),
        **{n: _ints(args, n) for n in _COLLECTIVE_INTS},
    }


def _lanes(keys: Interner, events: Sequence[Event], lane: Int32s) -> list[Lane]:
    """Each lane with the device and stream that its first event names."""
    first = dict(zip(*(a.tolist() for a in np.unique(lane, return_index=True)), strict=True))
    return [
        _lane(key, events[first[number]] if number in first else None)
        for key, number in keys.items()
    ]


def _lane(key: object, event: Event | None) -> Lane:
    on_gpu, pid, tid = cast("tuple[bool, int | str, int | str]", key)
    if not on_gpu or event is None:
        return Lane(pid=str(pid), tid=str(tid))
    args = event.args or _NO_ARGS
    device, stream = to_int(args.device), to_int(args.stream)
    device = device if device >= 0 else _number(pid)
    stream = stream if stream >= 0 else _number(tid)
    return Lane(str(pid), str(tid), device=_int64(max(device, 0)), stream=_int64(stream))


def _int64(value: int) -> int:
    return value if abs(value) < 1 << 62 else 0


def _number(value: int | str) -> int:
    """The first number in a lane id such as 7 or "stream 7"; -1 without one."""
    digits = re.search(r"\d{1,18}", str(value))
    return int(digits[0]) if digits else -1


def _ids(values: Iterable[object], interner: Interner) -> Int32s:
    return np.fromiter(map(interner.__getitem__, values), dtype=np.int32)


def _ints(items: Sequence[object], attribute: str) -> Int64s:
    values = map(attrgetter(attribute), items)
    try:
        return np.fromiter(values, dtype=np.int64, count=len(items))
    except (OverflowError, ValueError, TypeError):
        clean = (to_int(getattr(item, attribute)) for item in items)
        return np.fromiter(clean, dtype=np.int64, count=len(items))


def _good(columns: Columns) -> NDArray[np.bool_]:
    ts, dur = columns["ts"], columns["dur"]
    return np.asarray((ts != INVALID) & (dur != INVALID) & (dur < _WEEK_NS))


def join(blocks: Sequence[BlockColumns], info: TraceInfo) -> Trace:
    """One Trace of all blocks, of which one at least must be given; events are sorted by start."""
    names, lanes = Interner(), Interner()
    events: list[Columns] = []
    flows: list[Columns] = []
    collectives: list[Columns] = []
    first_row = 0
    for block in blocks:
        name_id = np.array([names[n] for n in block.names], dtype=np.int32)
        lane_id = np.array([lanes[lane] for lane in block.lanes], dtype=np.int32)
        for part, parts in ((block.events, events), (block.flows, flows),
                            (block.collectives, collectives)):  # fmt: skip
            parts.append(_global(part, name_id, lane_id, first_row))
        first_row += block.rows
    columns = _concatenated(events)
    order = np.argsort(columns["ts"], kind="stable")
    return Trace(
        info=info,
        names=tuple(cast("Iterable[str]", names)),
        lanes=tuple(cast("Iterable[Lane]", lanes)),
        flows=Flows(**_concatenated(flows)),
        collectives=Collectives(**_concatenated(collectives)),
        **{name: columns.pop(name)[order] for name in EVENT_COLUMNS},
    )


def _global(
    part: Columns, name_id: NDArray[np.int32], lane_id: NDArray[np.int32], first_row: int
) -> Columns:
    tables = {"name": name_id, "category": name_id, "dtype": name_id, "lane": lane_id}
    moved = {k: tables[k][v] if k in tables else v for k, v in part.items()}
    if "row" in moved:
        moved["row"] = moved["row"] + first_row
    return moved


def _concatenated(parts: list[Columns]) -> dict[str, Any]:
    """Joined columns; empties `parts` one column at a time, which halves the peak memory."""
    return {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}


def total_damage(blocks: Sequence[BlockColumns]) -> Damage:
    """The blocks' damage added up."""
    fields = zip(*(astuple(block.damage) for block in blocks), strict=True)
    return Damage(*(sum(values) for values in fields))
