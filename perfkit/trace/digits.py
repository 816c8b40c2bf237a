"""Digits inside a text, all of them at once: masked, and read as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int32s, Int64s

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint64]

_ZEROS = np.uint64(0x3030303030303030)
_HIGH_BIT = np.uint64(0x8080808080808080)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_BEYOND_NINE = np.uint64(0x7676767676767676)  # carries a value of ten or more into the high bit


class Mask:
    """Masks digits; its buffers serve one text after the other, as fresh memory costs more."""

    def __init__(self) -> None:
        self._buffers = np.empty((4, 0), dtype=np.uint8)

    def __call__(self, text: bytes) -> bytes:
        """`text` with 1 for each digit but the leading zero of a whole part, which is no JSON."""
        source, size = np.frombuffer(text, dtype=np.uint8), len(text)
        if self._buffers.shape[1] < size:
            self._buffers = np.empty((4, size + size // 4), dtype=np.uint8)
        value, leading, digit, other = self._buffers[:, :size]
        is_leading, is_digit, is_other = (b.view(np.bool_) for b in (leading, digit, other))
        # Digits and points are neighbours, beside a slash.
        np.greater_equal(np.subtract(source, ord("."), out=value), 12, out=is_other)
        np.less(np.subtract(source, ord("0"), out=value), 10, out=is_digit)
        np.equal(value, 0, out=is_leading)
        is_leading[1:-1] &= is_digit[2:]
        is_leading[1:-1] &= is_other[:-2]
        is_digit[1:-1] ^= is_leading[1:-1]
        value &= np.negative(digit, out=other)
        np.subtract(source, value, out=value)
        value += digit
        return bytes(value)


def alike(words: Words) -> Words:
    """Words whose digits are all made the same character."""
    value = words ^ _ZEROS
    other = (((value & _LOW_BITS) + _BEYOND_NINE) | value) & _HIGH_BIT
    return words | ((other ^ _HIGH_BIT) >> np.uint64(7)) * np.uint64(15)


def words_of(text: bytes) -> Words:
    """The eight bytes from each position on."""
    return np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))


def numbers(words: Words, end: Int64s, length: Int32s) -> Int64s:
    """The numbers of up to 16 digits that end before `end`; -1 for those of no digit.

    Eight bytes of text must precede each; those of an event's first key are never asked for.
    """
    there = np.flatnonzero(length)
    ends, lengths = end.ravel()[there], length.ravel()[there]
    value = _number(words[ends - 8], np.minimum(lengths, 8))
    long = np.flatnonzero(lengths > 8)
    value[long] += 100_000_000 * _number(words[ends[long] - 16], lengths[long] - 8)
    numbers = np.full(length.size, -1, dtype=np.int64)
    numbers[there] = value
    return numbers.reshape(length.shape)


def _number(word: Words, digits: Int32s) -> Int64s:
    """The last `digits` of eight characters, of which the first is the lowest byte."""
    blank = (64 - 8 * digits).astype(np.uint64)
    word = ((word ^ _ZEROS) >> blank) << blank
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10_000) + (word >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return word.view(np.int64)
