"""Typed records to columns, block by block."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from perfkit.model.trace import Damage, Kind, Lane
from perfkit.trace.events import Args, Block, Event, to_int
from perfkit.trace.kinds import (
    ARGUMENTS,
    ARROWS,
    LAUNCH_FLOWS,
    OUT_OF_MEMORY,
    SPAN,
    has_operands,
    is_memory,
    kind_of,
)
from perfkit.trace.times import INVALID, durations, nanoseconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int8s, Int32s, Int64s

    Columns = dict[str, NDArray[Any]]
    _Numbered = tuple[int, Event]

_NO_ARGS = Args()
_WEEK_NS = 7 * 86_400 * 10**9  # longer durations are counter wraps of the driver
_COLLECTIVE_INTS = ("in_elements", "out_elements", "group_size")
SPARSE = ("external_id", *(column for columns in ARGUMENTS.values() for column in columns))
_ALLOCATION_INTS = {"size": "size", "allocated": "allocated", "reserved": "reserved",
                    "device": "memory_device", "device_type": "memory_kind"}  # fmt: skip


_Thing = TypeVar("_Thing")


class Interner(dict[object, int]):
    """Numbers things in the order they are first met."""

    def __missing__(self, key: object) -> int:
        self[key] = number = len(self)
        return number


@dataclass
class BlockColumns:
    """A block's events and what else it tells; ids are of the block's own tables.

    Of `events`, columns of arguments that none of them has are left out: the joined one has -1.
    `tail` is as in Block; `text` is kept when no event could be read from it.
    """

    rows: int
    names: list[str]
    lanes: list[Lane]
    events: Columns
    flows: Columns
    collectives: Columns
    operands: Columns
    allocations: Columns
    texts: list[str]
    damage: Damage
    tail: bytes | None = None
    text: bytes = b""


@dataclass
class Regular:
    """Events of a block that are columns already; ids are into `names` and `lanes`.

    `rows` counts all events of the block, of which `odd` are the rows of those still to be made
    columns; `event` decodes the one of a row.
    """

    rows: int
    odd: Int64s
    columns: Columns
    flows: Columns
    allocations: Columns
    names: Interner
    lanes: Interner
    event: Callable[[int], Event]


def columns_of(block: Block, regular: Regular | None = None) -> BlockColumns:
    """Columns of one block's events; rows count from the block's start.

    Where there are `regular` events, the block has only the odd ones.
    """
    made = _Made.of(block, regular)
    good = _good(made.events)
    negative = good & (made.events["dur"] < 0)
    made.events["dur"][negative] = 0
    kept = good & (made.events["kind"] != SPAN)
    return BlockColumns(
        rows=regular.rows if regular else len(block.events),
        names=made.names,
        lanes=made.lanes,
        events=_told(made.events if kept.all() else {k: c[kept] for k, c in made.events.items()}),
        flows=made.flows,
        collectives=made.collectives,
        operands=made.operands,
        allocations=made.allocations,
        texts=made.texts,
        damage=Damage(
            repaired_events=block.repaired,
            unreadable_events=block.unreadable + int((~good).sum()),
            negative_durations=int(negative.sum()),
        ),
        tail=block.tail,
    )


def _told(events: Columns) -> Columns:
    """Without the arguments that no event has: most of them are rare."""
    return {k: c for k, c in events.items() if k not in SPARSE or (c != -1).any()}


@dataclass
class _Made:
    """The tables of a block and the columns whose ids point into them."""

    names: list[str]
    lanes: list[Lane]
    events: Columns
    flows: Columns
    collectives: Columns
    operands: Columns
    allocations: Columns
    texts: list[str]

    @classmethod
    def of(cls, block: Block, regular: Regular | None) -> _Made:
        """All events of a block."""
        names, lanes = (regular.names, regular.lanes) if regular else (Interner(), Interner())
        at = regular.odd.tolist() if regular else range(len(block.events))
        spans = [(row, e) for row, e in zip(at, block.events, strict=True) if e.ph == "X"]
        arrows = [(row, e) for row, e in zip(at, block.events, strict=True) if e.ph in ARROWS]
        if regular:
            events, flows = regular.columns, regular.flows
            if spans:
                events = _merged(_event_columns(spans, names, lanes), events)
            if arrows:
                flows = _merged(_flow_columns(arrows, names, lanes), flows)
        else:
            events = _event_columns(spans, names, lanes)
            flows = _flow_columns(arrows, names, lanes)
        del flows["row"]
        allocations = _allocations(at, block.events, regular)
        collectives = _collective_columns(spans, names)
        operands, texts = _operand_columns(spans)
        found = _lanes(lanes, events, lambda row: _event_at(row, spans, regular))
        named = [str(name) for name in names]
        made = cls(named, found, events, flows, collectives, operands, allocations, texts)
        return made._by_first_use() if regular else made

    def _by_first_use(self) -> _Made:
        """In the order that events decoded one by one would give."""
        used = [(self.events, "name"), (self.events, "category"), (self.flows, "name")]
        used += [(self.collectives, "name"), (self.collectives, "dtype")]
        self.names = _by_first_use(self.names, used)
        self.lanes = _by_first_use(self.lanes, [(self.events, "lane"), (self.flows, "lane")])
        return self


def _merged(odd: Columns, regular: Columns) -> Columns:
    """All rows in the order of the file."""
    if not len(odd["row"]):
        return regular
    rows = np.concatenate((odd["row"], regular["row"]))
    order = np.argsort(rows, kind="stable")  # which merges what is sorted already
    return {key: np.concatenate((odd[key], regular[key])).take(order) for key in odd}


def _by_first_use(table: list[_Thing], uses: Sequence[tuple[Columns, str]]) -> list[_Thing]:
    """The table in the order in which its ids are used, as the columns' ids are then, too."""
    ids = np.concatenate([columns[key] for columns, key in uses])
    first = np.full(len(table), len(ids), dtype=np.int64)
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    for columns, key in uses:
        columns[key] = rank[columns[key]]
    return [table[i] for i in order.tolist()]


def _event_at(row: int, spans: Sequence[_Numbered], regular: Regular | None) -> Event:
    i = bisect_left(spans, row, key=itemgetter(0))
    if regular and (i == len(spans) or spans[i][0] != row):
        return regular.event(row)
    return spans[i][1]


def _event_columns(spans: Sequence[_Numbered], names: Interner, lanes: Interner) -> Columns:
    events = [e for _, e in spans]
    name = _ids(map(attrgetter("name"), events), names)
    category = _ids(map(attrgetter("cat"), events), names)
    kinds = {text: kind_of(text) for text in {e.cat for e in events}}
    kind = np.array([kinds[e.cat] for e in events], dtype=np.int8)
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
        "row": np.array([row for row, _ in spans], dtype=np.int64),
    }


def _argument_columns(args: Sequence[Args], kind: Int8s) -> Columns:
    """Each argument where its kind of event can have it, and -1 elsewhere."""
    columns: Columns = {"external_id": _ints(args, "external_id")}
    for first, attributes in ARGUMENTS.items():
        rows = np.flatnonzero((kind == Kind.RUNTIME) | (kind >= first))
        having = [args[i] for i in rows.tolist()]
        for column, attribute in attributes.items():
            columns[column] = np.full(len(args), -1, dtype=np.int64)
            columns[column][rows] = _ints(having, attribute)
    return columns


def _flow_columns(arrows: Sequence[_Numbered], names: Interner, lanes: Interner) -> Columns:
    arrows = [(row, e) for row, e in arrows if e.cat not in LAUNCH_FLOWS]
    events = [e for _, e in arrows]
    ids = [to_int(e.id) if isinstance(e.id, int) else _number(e.id) for e in events]
    columns: Columns = {
        "id": np.array(ids, dtype=np.int64),
        "ts": nanoseconds([e.ts for e in events]),
        "lane": _ids([(False, e.pid, e.tid) for e in events], lanes),
        "name": _ids([e.name for e in events], names),
        "is_start": np.array([e.ph == "s" for e in events], dtype=np.bool_),
        "row": np.array([row for row, _ in arrows], dtype=np.int64),
    }
    good = columns["ts"] != INVALID
    return {name: column[good] for name, column in columns.items()}


def _allocations(at: Iterable[int], events: Sequence[Event], regular: Regular | None) -> Columns:
    """What allocators said, in the file's order."""
    odd = [(row, e) for row, e in zip(at, events, strict=True) if e.ph == "i" and is_memory(e)]
    columns = _allocation_columns(odd)
    return _merged(columns, regular.allocations) if regular else columns


def _allocation_columns(found: Sequence[_Numbered]) -> Columns:
    args = [e.args or _NO_ARGS for _, e in found]
    columns: Columns = {
        "ts": nanoseconds([e.ts for _, e in found]),
        **{key: _ints(args, attribute) for key, attribute in _ALLOCATION_INTS.items()},
        "failed": np.array([e.name == OUT_OF_MEMORY for _, e in found], dtype=np.bool_),
        "row": np.array([row for row, _ in found], dtype=np.int64),
    }
    good = columns["ts"] != INVALID
    return {name: column[good] for name, column in columns.items()}


def _collective_columns(spans: Sequence[_Numbered], names: Interner) -> Columns:
    found = [(row, a) for row, e in spans if (a := e.args) and a.collective]
    args = [a for _, a in found]
    return {
        "row": np.array([i for i, _ in found], dtype=np.int64),
        "name": _ids([a.collective for a in args], names),
        "dtype": _ids([a.dtype for a in args], names),
        **{n: _ints(args, n) for n in _COLLECTIVE_INTS},
    }


def _operand_columns(spans: Sequence[_Numbered]) -> tuple[Columns, list[str]]:
    """Rows of matrix operators and ids of what they say of their arguments, and those texts."""
    texts = Interner()
    found = [(row, e.args) for row, e in spans if has_operands(e) and e.args]
    columns: Columns = {
        "row": np.array([row for row, _ in found], dtype=np.int64),
        "text": _ids([_operands(args) for _, args in found], texts),
        "sequence": _ints([args for _, args in found], "sequence"),
    }
    return columns, [str(text) for text in texts]


def _operands(args: Args) -> str:
    """JSON of the dimensions, types and values of all arguments."""
    parts = (bytes(args.dims) or bytes(args.dims_2021), bytes(args.types), bytes(args.concrete))
    return "[" + ",".join(part.decode(errors="replace") or "[]" for part in parts) + "]"


def _lanes(keys: Interner, columns: Columns, event_at: Callable[[int], Event]) -> list[Lane]:
    """Each lane with the device and stream that its first event names."""
    row = np.full(len(keys), -1, dtype=np.int64)
    row[columns["lane"][::-1]] = columns["row"][::-1]  # the last one assigned is the first event
    return [
        _lane(key, event_at(at) if at >= 0 else None)
        for key, at in zip(keys, row.tolist(), strict=True)
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
