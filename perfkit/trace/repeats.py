"""Events of known shapes, found without masking: a guess from a few words, then a proof."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perfkit.trace.digits import alike, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int64s
    from perfkit.trace.segments import Segments

_SLOT_BITS = 17
# Where names mostly stand, in bytes, and the last of the arguments, in eighths of the text.
_BYTES = np.array([20, 44, 60, 76, 100])[:, None]
_EIGHTHS = np.array([6, 7, 8])[:, None]
# Odd, and their bits look random.
_FACTORS = np.full(9, 0x9E3779B97F4A7C15, dtype=np.uint64).cumprod()
_SHIFT = np.uint64(64 - _SLOT_BITS)
# Of several digits the first is no zero: it becomes a control byte, which JSON has not.
_FIRST_DIGIT = re.compile(rb"(?<![./0-9])1(?=1)")
_LOWEST = bytes.maketrans(b"1\x01", b"01")
_SPANS = bytes({ord("1"): 9, 1: 8}.get(byte, 0) for byte in range(256))


class Repeats:
    """What the shapes so far look like; number 0 is no shape."""

    def __init__(self) -> None:
        self._slots = np.zeros(1 << _SLOT_BITS, dtype=np.int32)
        self._length = np.zeros(256, dtype=np.int64)
        self._lowest: NDArray[np.object_] = np.full(256, b"", dtype=np.object_)
        self._span = self._lowest.copy()

    def add(self, number: int, masked: bytes) -> None:
        """Add a shape by the lowest bytes its text can have, and how much higher they can be."""
        while number >= len(self._length):
            self._grow()
        marked = _FIRST_DIGIT.sub(b"\x01", masked)
        self._length[number] = len(masked)
        self._lowest[number], self._span[number] = (
            marked.translate(_LOWEST),
            marked.translate(_SPANS),
        )

    def _grow(self) -> None:
        self._length = np.concatenate((self._length, np.zeros_like(self._length)))
        empty = np.full(len(self._span), b"", dtype=np.object_)
        self._lowest = np.concatenate((self._lowest, empty))
        self._span = np.concatenate((self._span, empty))

    def slots(self, segments: Segments) -> Int64s:
        """A number for each event that is the same for the same shape, and rarely for others."""
        length = segments.end - segments.start
        last = np.maximum(length - 8, 0)
        at = segments.start + np.concatenate((np.minimum(last, _BYTES), last * _EIGHTHS >> 3))
        words = words_of(segments.text)[np.ascontiguousarray(at.T)]  # one event after the other
        slot = alike(words) @ _FACTORS[:-1] + length.astype(np.uint64) * _FACTORS[-1]
        return np.asarray(slot >> _SHIFT).astype(np.int64)

    def shapes(self, segments: Segments, slots: Int64s) -> Int64s:
        """The shape of each event, 0 where the one last seen in its slot is another."""
        shape = self._slots[slots].astype(np.int64)
        shape[self._length[shape] != segments.end - segments.start] = 0
        if shape.any():
            shape[self._wrong(segments, shape)] = 0
        return shape

    def remember(self, slots: Int64s, shape: Int64s) -> None:
        """Note what was seen in these slots."""
        self._slots[slots] = shape

    def _wrong(self, segments: Segments, shape: Int64s) -> Int64s:
        """Events in which a byte is not what the shape allows."""
        lowest, span = self._lowest[shape], self._span[shape]
        unknown = np.flatnonzero(shape == 0)
        for row, text in zip(unknown.tolist(), segments.texts(unknown), strict=True):
            lowest[row], span[row] = text, bytes(len(text))
        separator, first = segments.separator, segments.start[0]
        source = np.frombuffer(segments.text, dtype=np.uint8)[first : segments.end[-1]]
        above = source - _bytes(separator.join(lowest.tolist()))
        wrong = above > _bytes(bytes(len(separator)).join(span.tolist()))
        if not wrong.any():
            return unknown
        at = np.flatnonzero(wrong) + first
        return np.asarray(np.searchsorted(segments.start, at, side="right") - 1)


def _bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
