"""Blocks to columns: events of known shapes all at once, and the odd ones one by one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.trace import Kind
from perfkit.trace.columns import BlockColumns, Interner, Regular, columns_of
from perfkit.trace.digits import Mask, numbers, words_of
from perfkit.trace.events import UNREADABLE, Block, read_block
from perfkit.trace.segments import cut
from perfkit.trace.shapes import (
    ARROW,
    CATEGORY,
    DIGIT,
    DIGIT_AT,
    ENDS,
    IS_START,
    KIND,
    LENGTHS,
    MEMORY,
    MEMORY_PLACES,
    MET,
    NAME,
    ODD,
    PLACES,
    SIGN,
    Shapes,
)
from perfkit.trace.times import INVALID, LATEST_NS

if TYPE_CHECKING:
    from perfkit.model.trace import Bools, Int32s, Int64s
    from perfkit.trace.columns import Columns
    from perfkit.trace.segments import Segments

_MOST_PAUSE = 64
_POWERS = 10 ** np.arange(4, dtype=np.int64)


def read_columns(text: bytes) -> BlockColumns:
    """Columns of a block of whole events, or of the end of the list."""
    return _READER.read(text) or columns_of(read_block(text))


def forget() -> None:
    """Drop what this thread has learned of a file."""
    _READER.__init__()  # type: ignore[misc]


class _Part:
    """Some events of a block and what the table of shapes says of them, shape (rows, ...)."""

    def __init__(self, segments: Segments, table: Int32s, rows: Int64s) -> None:
        self.segments, self.table, self.rows = segments, table, rows
        self._end = self.table[:, ENDS] + segments.start[rows, None]
        self._length = self.table[:, LENGTHS]
        found = numbers(words_of(segments.text), self._end[:, :-1], self._length[:, :-1])
        self._numbers = np.ascontiguousarray(found.T)

    def __getitem__(self, key: str) -> Int64s:
        """The numbers with this key, -1 where there is none."""
        return np.asarray(self._numbers[PLACES.index(key)])

    @property
    def tid(self) -> Int64s:
        """Threads, of which some writers have negative numbers."""
        return np.asarray(self["tid"] * self.table[:, SIGN])

    def place(self, key: str) -> tuple[Int64s, Int32s]:
        """End and length of this place in the block's text."""
        i = PLACES.index(key)
        return self._end[:, i], self._length[:, i]

    def nanoseconds(self, key: str) -> Int64s:
        """A time in microseconds with up to three decimals."""
        decimals = self.place(key + ".")[1]
        fraction = np.maximum(self[key + "."], 0) * _POWERS[3 - decimals]
        exact = self[key] * 1000 + fraction
        return np.where((self[key] <= LATEST_NS // 1000) & (exact < LATEST_NS), exact, INVALID)


class _Reader(threading.local):
    """What a thread knows of the file it reads."""

    def __init__(self) -> None:
        self._shapes = Shapes(b"")
        self._mask = Mask()
        self._failures = self._waiting = 0

    def read(self, text: bytes) -> BlockColumns | None:
        """Columns of a block; None where too little is regular, and for some blocks after it."""
        if self._waiting:
            self._waiting -= 1
            return None
        columns = self._read(text)
        self._failures = self._failures + 1 if columns is None else 0
        self._waiting = min(1 << self._failures, _MOST_PAUSE) if self._failures > 1 else 0
        return columns

    def _read(self, text: bytes) -> BlockColumns | None:
        segments = cut(text)
        if segments is None:
            return None
        shape = self._shape_of(segments)
        odd = np.flatnonzero(shape == ODD)
        if 2 * len(odd) > len(shape):
            return None
        try:
            events = segments.decoded(odd)
        except UNREADABLE:
            return None
        return columns_of(Block(events), self._regular(segments, shape, odd))

    def _shape_of(self, segments: Segments) -> Int64s:
        """Number of each event's shape."""
        if segments.lead != self._shapes.lead or self._shapes.is_full:
            self._shapes = Shapes(segments.lead)
        slots = self._shapes.repeats.slots(segments)
        shape = self._shapes.repeats.shapes(segments, slots)
        new = np.flatnonzero(shape == ODD)
        shape[new] = self._looked_up(segments, new)
        self._shapes.repeats.remember(slots[new], shape[new])
        shape[self._other_categories(segments, shape)] = ODD
        return shape

    def _looked_up(self, segments: Segments, rows: Int64s) -> Int64s:
        """Number of each shape by its masked text."""
        texts = segments.texts(rows)
        lead, separator = segments.lead, segments.separator
        masked = self._mask(lead + separator.join(texts) + b"}")[len(lead) : -1].split(separator)
        known = self._shapes.known
        shape = np.fromiter(map(known.__getitem__, masked), dtype=np.int64, count=len(rows))
        met = np.flatnonzero(shape == MET).tolist()
        for text, i in {masked[i]: i for i in met}.items():
            self._shapes.learn(text, texts[i])
        shape[met] = [known[masked[i]] for i in met]
        return shape

    def _other_categories(self, segments: Segments, shape: Int64s) -> Bools:
        """Events whose category has another digit than their shape's."""
        expected, at = (self._shapes.table[:, i][shape] for i in (DIGIT, DIGIT_AT))
        found = np.frombuffer(segments.text, dtype=np.uint8)[segments.start + at]
        return np.asarray((expected > 0) & (found != expected))

    def _regular(self, segments: Segments, shape: Int64s, odd: Int64s) -> Regular:
        names, lanes = Interner(), Interner()
        kind = self._shapes.table[:, KIND][shape]
        rows, arrows = np.flatnonzero(kind >= 0), np.flatnonzero(kind == ARROW)
        memory = np.flatnonzero(kind == MEMORY)
        return Regular(
            rows=len(shape),
            odd=odd,
            columns=self._events(self._part(segments, shape, rows), names, lanes),
            flows=self._flows(self._part(segments, shape, arrows), names, lanes),
            allocations=_allocations(self._part(segments, shape, memory)),
            names=names,
            lanes=lanes,
            event=lambda row: segments.decoded(np.array([row]))[0],
        )

    def _part(self, segments: Segments, shape: Int64s, rows: Int64s) -> _Part:
        return _Part(segments, self._shapes.table.take(shape[rows], axis=0), rows)

    def _events(self, part: _Part, names: Interner, lanes: Interner) -> Columns:
        kind = part.table[:, KIND]
        return {
            "kind": kind.astype(np.int8),
            "ts": part.nanoseconds("ts"),
            "dur": part.nanoseconds("dur"),
            "name": self._names(part, names),
            "category": self._local(part.table[:, CATEGORY], names),
            "lane": _lane_ids(kind >= Kind.SYNC, part["pid"], part.tid, lanes),
            "external_id": part["External id"],
            "corr": part["correlation"],
            "wait_stream": np.full(len(kind), -1, dtype=np.int64),
            "wait_corr": np.full(len(kind), -1, dtype=np.int64),
            "bytes": part["bytes"],
            "graph": part["graph id"],
            "row": part.rows,
        }

    def _flows(self, part: _Part, names: Interner, lanes: Interner) -> Columns:
        ts = part.nanoseconds("ts")
        columns: Columns = {
            "id": part["id"],
            "ts": ts,
            "lane": _lane_ids(np.zeros(len(ts), dtype=np.bool_), part["pid"], part.tid, lanes),
            "name": self._local(part.table[:, NAME], names),
            "is_start": part.table[:, IS_START].astype(np.bool_),
            "row": part.rows,
        }
        good = ts != INVALID
        return {key: column[good] for key, column in columns.items()}

    def _names(self, part: _Part, names: Interner) -> Int32s:
        """Names that are constant, and those that hold digits from the text."""
        end, length = part.place("name")
        ids = np.empty(len(length), dtype=np.int32)
        constant, varying = length == 0, np.flatnonzero(length)
        ids[constant] = self._local(part.table[:, NAME][constant], names)
        places = zip((end - length)[varying].tolist(), end[varying].tolist(), strict=True)
        texts = [part.segments.text[start:stop] for start, stop in places]
        known = {text: names[text.decode()] for text in dict.fromkeys(texts)}
        ids[varying] = [known[text] for text in texts]
        return ids

    def _local(self, texts: Int32s, names: Interner) -> Int32s:
        """Ids in a block's own table for positions in the table of all texts."""
        used = np.flatnonzero(np.bincount(texts))
        local = np.zeros(len(self._shapes.texts), dtype=np.int32)
        local[used] = [names[self._shapes.texts[i]] for i in used.tolist()]
        return local[texts]


def _allocations(part: _Part) -> Columns:
    """What allocators said; a size has the sign of its shape."""
    numbers = {key: part[place] for key, place in MEMORY_PLACES.items()}
    columns: Columns = {
        "ts": part.nanoseconds("ts"),
        "size": numbers["Bytes"] * part.table[:, SIGN],
        "allocated": numbers["Total Allocated"],
        "reserved": numbers["Total Reserved"],
        "device": numbers["Device Id"],
        "device_type": numbers["Device Type"],
        "failed": part.table[:, IS_START].astype(np.bool_),
        "row": part.rows,
    }
    good = columns["ts"] != INVALID
    return {key: column[good] for key, column in columns.items()}


def _lane_ids(on_gpu: Bools, pid: Int64s, tid: Int64s, lanes: Interner) -> Int32s:
    """Ids of (on a GPU, pid, tid), looked for in the first event of each run of the same lane."""
    if not len(pid):
        return np.empty(0, dtype=np.int32)
    differs = (on_gpu[1:] != on_gpu[:-1]) | (pid[1:] != pid[:-1]) | (tid[1:] != tid[:-1])
    first = np.concatenate(([0], np.flatnonzero(differs) + 1))
    ids = _few_lane_ids(on_gpu[first], pid[first], tid[first], lanes)
    return np.repeat(ids, np.diff(first, append=len(pid)))


def _few_lane_ids(on_gpu: Bools, pid: Int64s, tid: Int64s, lanes: Interner) -> Int32s:
    """The same, one lane after the other, as a block has few."""
    ids = np.full(len(pid), -1, dtype=np.int32)
    left = np.arange(len(pid))
    while len(left):
        key = (bool(on_gpu[left[0]]), int(pid[left[0]]), int(tid[left[0]]))
        same = (on_gpu[left] == key[0]) & (pid[left] == key[1]) & (tid[left] == key[2])
        ids[left[same]] = lanes[key]
        left = left[~same]
    return ids


_READER = _Reader()
