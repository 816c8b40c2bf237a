"""Shapes of events: writers repeat the same text with other numbers, so each is understood once.

A shape is the text of an event with its digits masked. What is learned of one, from an event that
msgspec has decoded, is where the numbers that perfkit reads stand; it holds for every event of
the shape, because nothing but digits can differ.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perfkit.trace.columns import Interner
from perfkit.trace.events import UNREADABLE, Args, Event, decode_events
from perfkit.trace.kinds import (
    OUT_OF_MEMORY,
    SPAN,
    has_argument,
    has_operands,
    is_dropped,
    is_memory,
    kind_of,
)
from perfkit.trace.repeats import Repeats

if TYPE_CHECKING:
    from perfkit.model.trace import Int32s

    Place = tuple[int, int]

ODD, MET = 0, 1
"""Numbers of no shape: the event has to be decoded; its text was met once."""
DROPPED, ARROW, MEMORY = -2, -3, -4
"""Kinds of events that perfkit leaves out (labels, arrows from launches), of other arrows, and of
what allocators say."""

PLACES = ("ts", "dur", "ts.", "dur.", "pid", "tid", "External id", "correlation", "bytes",
          "graph id", "id", "name")  # fmt: skip
"""What differs inside a shape, in the order of the table's columns; "ts." is a fraction."""
_COUNT = len(PLACES)
ENDS, LENGTHS = slice(0, _COUNT), slice(_COUNT, 2 * _COUNT)
KIND, NAME, CATEGORY, SIGN, IS_START, DIGIT_AT, DIGIT = range(2 * _COUNT, 2 * _COUNT + 7)
MEMORY_PLACES = {
    "Total Allocated": "External id", "Total Reserved": "correlation", "Bytes": "bytes",
    "Device Id": "graph id", "Device Type": "id",
}  # fmt: skip
"""Numbers of an event of MEMORY, and the places they have in the table, which are free there."""

_MOST_BYTES = 16 << 20
_LONGEST = 4096  # longer text, such as a call stack, hardly repeats
# As many as two words hold; a duration has as many as a double holds exactly.
_MOST_DIGITS = {"dur": 12, "name": _LONGEST}  # of all others 16
_ATTRIBUTES = {"correlation": "correlation", "bytes": "bytes", "graph id": "graph"}
_NUMBER = re.compile(
    rb'"(ts|dur|pid|tid|External id|correlation|bytes|graph id|id)":\s*'
    rb"(-?)(1+)(?:\.(1{1,3}))?(?=\s*(?:[,}]|\Z))"
)
_MEMORY_NUMBER = re.compile(
    rb'"(ts|Total Allocated|Total Reserved|Bytes|Device Id|Device Type)":\s*'
    rb"(-?)(1+)(?:\.(1{1,3}))?(?=\s*(?:[,}]|\Z))"
)
_NAME = re.compile(rb'"name":\s*"([^"]*)"')
_CATEGORY = re.compile(rb'"cat":\s*"([^"]*)"')
# The digits decide what an escape stands for, and whether such numbers are in range.
_ESCAPE, _LONG, _EXPONENT = b"\\", b"1" * 19, re.compile(rb"1[eE][-+]?1")
_DIGIT = re.compile(rb"\d")


class _Known(dict[bytes, int]):
    """Numbers of shapes by masked text; the first event of each is odd."""

    size = 0

    def __missing__(self, masked: bytes) -> int:
        if len(masked) <= _LONGEST:
            self.size += len(masked)
            self[masked] = MET
        return ODD


class Shapes:
    """The shapes of events that begin with `lead` and end with a brace, which shapes leave out.

    `table` has a row for each: where its places end, how long they are (0: absent), its kind, its
    name and category (positions in `texts`; a name with digits stands in its place), the sign of
    its thread or size, whether an arrow starts or an allocation failed here, and place and value
    of the digit of its category.
    """

    def __init__(self, lead: bytes) -> None:
        self.lead = lead
        self.known = _Known()
        self.table: Int32s = np.zeros((256, DIGIT + 1), dtype=np.int32)
        self.table[ODD, KIND] = DROPPED
        self.texts: list[str] = []
        self._text_ids = Interner()
        self.repeats = Repeats()
        self._count = MET + 1

    @property
    def is_full(self) -> bool:
        """Whether to begin anew."""
        return self.known.size > _MOST_BYTES

    def learn(self, masked: bytes, text: bytes) -> None:
        """Understand the shape of `text`, which was met before."""
        row = None if _digits_decide(masked) else self._row(masked, text)
        self.known[masked] = ODD if row is None else self._add(row, masked)

    def _add(self, row: list[int], masked: bytes) -> int:
        if self._count == len(self.table):
            self.table = np.concatenate((self.table, np.zeros_like(self.table)))
        self.table[self._count] = row
        self.repeats.add(self._count, masked)
        self._count += 1
        return self._count - 1

    def _row(self, masked: bytes, text: bytes) -> list[int] | None:
        """None where the table cannot hold what the event says."""
        event = self._decoded(text)
        digit = _digit(event, text) if event else None
        if event is None or digit is None or has_operands(event):
            return None
        if is_dropped(event):
            return [0] * KIND + [DROPPED, 0, 0, 0, 0, *digit]
        kind = _kind(event)
        places = self._places(masked, kind)
        if places is None or (kind == ARROW and "name" in places):
            return None
        sign = -1 if _is_negative(masked, places.get("Bytes" if kind == MEMORY else "tid")) else 1
        places = {MEMORY_PLACES.get(key, key): place for key, place in places.items()}
        ends, lengths = zip(*(places.get(key, (0, 0)) for key in PLACES), strict=True)
        name = self._text("" if "name" in places else event.name)
        constant = (kind, name, self._text(event.cat), sign, int(_begins(event)))
        return [*ends, *lengths, *constant, *digit]

    def _text(self, text: str) -> int:
        number = self._text_ids[text]
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def _decoded(self, text: bytes) -> Event | None:
        try:
            events = decode_events(self.lead + text + b"}")
        except UNREADABLE:
            return None
        return events[0] if len(events) == 1 else None

    def _places(self, masked: bytes, kind: int) -> dict[str, Place] | None:
        """(end, length) of what is read, proven: other digits there change just that."""
        found = _found(masked, kind)
        changed = bytearray(masked)
        for end, length in found.values():
            changed[end - length : end] = changed[end - length : end].replace(b"1", b"2")
        event = self._decoded(bytes(changed))
        if event is None or kind == SPAN or not _says(event, kind, found, bytes(changed)):
            return None
        if any(length > _MOST_DIGITS.get(key, 16) for key, (_, length) in found.items()):
            return None
        return {key: place for key, place in found.items() if _differs(key, place, kind, masked)}


def _digits_decide(masked: bytes) -> bool:
    return _ESCAPE in masked or _LONG in masked or _EXPONENT.search(masked) is not None


def _digit(event: Event, text: bytes) -> Place | None:
    """Place and value of the digit in the category, (0, 0) without one; None when it has more."""
    digits = _DIGIT.findall(event.cat.encode())
    found = list(_CATEGORY.finditer(text))
    if not digits:
        return 0, 0
    if len(digits) > 1 or len(found) != 1 or found[0][1] != event.cat.encode():
        return None
    return text.index(digits[0], found[0].start(1)), digits[0][0]


def _kind(event: Event) -> int:
    if event.ph == "X":
        return kind_of(event.cat)
    return MEMORY if is_memory(event) else ARROW


def _begins(event: Event) -> bool:
    """Whether an arrow starts here, or an allocation failed."""
    return event.ph == "s" or (is_memory(event) and event.name == OUT_OF_MEMORY)


def _found(masked: bytes, kind: int) -> dict[str, Place]:
    """(end, length) of what looks like a name and like numbers of plain keys."""
    found: dict[str, Place] = {}
    for match in _NAME.finditer(masked):
        found["name"] = match.end(1), len(match[1])
    for match in (_MEMORY_NUMBER if kind == MEMORY else _NUMBER).finditer(masked):
        key = match[1].decode()
        if not match[2] or key in ("tid", "Bytes"):
            found[key] = match.end(3), len(match[3])
        if match[4]:
            found[key + "."] = match.end(4), len(match[4])
    return found


def _is_negative(text: bytes, place: Place | None) -> bool:
    return place is not None and text[: place[0] - place[1]].endswith(b"-")


def _says(event: Event, kind: int, found: dict[str, Place], text: bytes) -> bool:
    """Whether what is read of the event is just what stands at these places."""

    def part(key: str) -> bytes:
        end, length = found.get(key, (0, 0))
        return text[end - length : end]

    def number(key: str) -> bytes:
        sign = b"-" if _is_negative(text, found.get(key)) else b""
        return sign + part(key) + (b"." + part(key + ".") if key + "." in found else b"")

    texts = bytes(event.ts) == number("ts") and event.name.encode() == part("name")
    wanted = _whole_numbers(event, kind)
    same = wanted == {key: int(number(key) or -1) for key in wanted}
    if "ts" not in found or not texts or not same:
        return False
    if kind in (ARROW, MEMORY):
        return True
    args = event.args or Args()
    nothing_else = (args.wait_stream, args.wait_corr, args.collective) == (-1, -1, "")
    return event.dur == float(number("dur") or "nan") and nothing_else


def _whole_numbers(event: Event, kind: int) -> dict[str, int | str]:
    if kind == ARROW:
        return {"pid": event.pid, "tid": event.tid, "id": event.id}
    args = event.args or Args()
    if kind == MEMORY:
        return {
            "Total Allocated": args.allocated,
            "Total Reserved": args.reserved,
            "Bytes": args.size,
            "Device Id": args.memory_device,
            "Device Type": args.memory_kind,
        }
    return {
        "pid": event.pid,
        "tid": event.tid,
        "External id": args.external_id,
        "correlation": args.correlation,
        "bytes": args.bytes,
        "graph id": args.graph,
    }


def _differs(key: str, place: Place, kind: int, masked: bytes) -> bool:
    """Whether this has to be read from each event of the shape."""
    if key == "name":
        return b"1" in masked[place[0] - place[1] : place[0]]
    if kind == ARROW:
        return key in ("ts", "ts.", "pid", "tid", "id")
    if kind == MEMORY:
        return True
    return key != "id" and (key not in _ATTRIBUTES or has_argument(kind, _ATTRIBUTES[key]))
