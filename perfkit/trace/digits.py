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
_LETTER = np.uint64(0x4040404040404040)  # the bit that letters have, and digits have not
_SIX = np.uint64(6)
_LOW_HALF = np.uint64(15)
_HIGH_HALVES = np.uint64(0xF0F0F0F0F0F0F0F0)


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
    """Words whose digits are all made the same character, and other marks few."""
    return words & (((words & _LETTER) >> _SIX) * _LOW_HALF | _HIGH_HALVES)


def words_of(text: bytes) -> Words:
    """The eight bytes from each position on."""
    return np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))


def numbers(words: Words, end: Int64s, length: Int32s) -> Int64s:
    """The numbers of up to 16 digits that end before `end`; -1 for those of no digit.

    Eight bytes of text must precede each; those of an event's first key are never asked for.
    """
    there = np.flatnonzero(length != 0)  # faster than of integers
    ends, lengths = end.ravel()[there], length.ravel()[there]
    value = _number(words[ends - 8], np.minimum(lengths, 8))
    long = np.flatnonzero(lengths > 8)
    value[long] += 100_000_000 * _mostly_one(words[ends[long] - 16], lengths[long] - 8)
    numbers = np.full(length.size, -1, dtype=np.int64)
    numbers[there] = value
    return numbers.reshape(length.shape)


def _mostly_one(word: Words, digits: Int32s) -> Int64s:
    """The same of words of which most are the first one: the high digits of times hardly change."""
    other = np.flatnonzero((word != word[:1]) | (digits != digits[:1]))
    value = np.repeat(_number(word[:1], digits[:1]), len(word))
    value[other] = _number(word[other], digits[other])
    return value


def _number(word: Words, digits: Int32s) -> Int64s:
    """The last `digits` of eight characters, of which the first is the lowest byte."""
    blank = (64 - 8 * digits).astype(np.uint64)
    word = ((word ^ _ZEROS) >> blank) << blank
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10_000) + (word >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return word.view(np.int64)
