"""A block cut into the texts of its events, without looking into them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.trace.digits import words_of
from perfkit.trace.events import EVENT_BOUNDARY, decode_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int64s
    from perfkit.trace.digits import Words
    from perfkit.trace.events import Event

_LEAD = re.compile(rb'\s*,*\s*(\{\s*")')
_LONGEST_BLOCK = 8 << 20  # longer ones have no end of an event in half a megabyte
_BRACE = ord("}")
_WORD = 8


@dataclass
class Segments:
    """Events of a block: each begins with `lead` and ends with a brace, which are left out.

    `start` and `end` are where the rest of them stands in `text`, shape (events,).
    """

    text: bytes
    lead: bytes
    separator: bytes
    start: Int64s
    end: Int64s

    def texts(self, rows: Int64s) -> list[bytes]:
        """The texts of these events."""
        places = zip(self.start[rows].tolist(), self.end[rows].tolist(), strict=True)
        return [self.text[start:end] for start, end in places]

    def decoded(self, rows: Int64s) -> list[Event]:
        """These events; raises one of UNREADABLE where a text is not one sound event."""
        texts = self.texts(rows)
        events = decode_events(b",".join([self.lead + text + b"}" for text in texts]))
        if len(events) != len(rows):
            raise ValueError("two events look like one")
        return events


def cut(text: bytes) -> Segments | None:
    """Cut where the text between the first two events repeats; None where there is none."""
    if not text.endswith(b"}"):
        text = text.strip().strip(b",").strip()
    first, boundary = _LEAD.match(text), EVENT_BOUNDARY.search(text)
    if not first or not boundary or not text.endswith(b"}") or len(text) > _LONGEST_BLOCK:
        return None
    lead = first[1]
    separator = b"}" + boundary[0] + lead
    if text.find(separator, len(text) - len(separator) - _WORD) >= 0:
        return None  # what follows is too short for an event, and for words
    at = _found(separator, text, words_of(text))
    start = np.concatenate(([first.end()], at + len(separator)))
    return Segments(text, lead, separator, start, np.append(at, len(text) - 1))


def _found(separator: bytes, text: bytes, words: Words) -> Int64s:
    """Where the separator stands, which has one brace, its first byte."""
    at = _braces(np.frombuffer(text, dtype=np.uint8))
    at = at[: np.searchsorted(at, len(text) - len(separator) - _WORD)]
    for i in range(0, len(separator), _WORD):
        part = separator[i : i + _WORD]
        shift = np.uint64(8 * (_WORD - len(part)))
        wanted = np.uint64(int.from_bytes(part, "little")) << shift
        at = at[words[at + i] << shift == wanted]
    return at


def _braces(text: NDArray[np.uint8]) -> Int64s:
    """Where they stand, looked for by words first, since most words have none."""
    is_brace = np.zeros(-(-len(text) // _WORD) * _WORD, dtype=np.bool_)
    np.equal(text, _BRACE, out=is_brace[: len(text)])
    words = is_brace.view(np.uint64)
    some = np.flatnonzero(words != 0)
    at = np.flatnonzero(words[some].view(np.bool_))
    return np.asarray((some[at >> 3] << 3) + (at & 7))
