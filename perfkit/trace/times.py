"""Microseconds as text to integer nanoseconds, exactly."""

from __future__ import annotations

import warnings
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from perfkit.model.trace import Int64s

INVALID = np.iinfo(np.int64).min
"""Stands for a time that is no number."""

_PLAIN = np.zeros(256, dtype=np.bool_)
_PLAIN[list(b"0123456789.-\n")] = True
_NEWLINE, _POINT = b"\n."
# Lengths with the newline that keep nanoseconds inside int64, without and with a fraction.
_LONGEST_WHOLE, _LONGEST_FRACTION = 17, 21
_LATEST_NS = 1 << 62


def nanoseconds(texts: Sequence[bytes | msgspec.Raw]) -> Int64s:
    """Each JSON number of microseconds (or text of one) in nanoseconds; INVALID where it is none.

    Time stamps such as 1712169112123456.789 need 61 bits, so they never pass through a double.
    """
    joined = b"\n".join([*texts, b""])
    shift = _decimals(np.frombuffer(joined, dtype=np.uint8), len(texts))
    if shift is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                digits = np.fromstring(joined.replace(b".", b""), dtype=np.int64, sep="\n")
            except (DeprecationWarning, ValueError):
                digits = np.empty(0, dtype=np.int64)
        if len(digits) == len(texts):
            times = digits if shift == 3 else digits * 1000
            return np.where(np.abs(times) < _LATEST_NS, times, INVALID)
    return np.array([_one(text) for text in joined.split(b"\n")[:-1]], dtype=np.int64)


def _decimals(text: np.ndarray[tuple[int], np.dtype[np.uint8]], count: int) -> int | None:
    """3 or 0 when every number has that many decimals and is short; None for the slow way."""
    if not count or not _PLAIN[text].all():
        return None
    ends = np.flatnonzero(text == _NEWLINE)
    longest = np.diff(ends, prepend=-1).max()
    points = np.flatnonzero(text == _POINT)
    if len(points) == 0 and longest <= _LONGEST_WHOLE:
        return 0
    aligned = len(points) == count and bool((ends - points == 4).all())
    return 3 if aligned and longest <= _LONGEST_FRACTION else None


def _one(text: bytes) -> int:
    try:
        value = Decimal(text.strip(b' "').decode("ascii", "replace")) * 1000
        number = int(value.to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        return INVALID
    return number if abs(number) < _LATEST_NS else INVALID
