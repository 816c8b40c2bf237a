"""Microseconds as text to integer nanoseconds, exactly."""

from __future__ import annotations

import warnings
from decimal import Context, Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from numpy.typing import NDArray

    from perfkit.model.trace import Int64s

INVALID = np.iinfo(np.int64).min
"""Stands for a time that is no number."""

_PLAIN = np.zeros(256, dtype=np.bool_)
_PLAIN[list(b"0123456789.-\n")] = True
_NEWLINE, _POINT = b"\n."
# Lengths with the newline that keep nanoseconds inside int64, without and with a fraction.
_LONGEST_WHOLE, _LONGEST_FRACTION = 17, 21
_POWERS = 10 ** np.arange(4, dtype=np.int64)
LATEST_NS = 1 << 62
_LONGEST_US = float(1 << 43)
_LATEST_US = Decimal(LATEST_NS) / 1000
_EXACT = Context(prec=1000, traps=[])


def nanoseconds(texts: Sequence[bytes | msgspec.Raw]) -> Int64s:
    """Each JSON number of microseconds (or text of one) in nanoseconds; INVALID where it is none.

    Time stamps such as 1712169112123456.789 need 61 bits, so they never pass through a double.
    """
    joined = b"\n".join([*texts, b""])
    scale = _scale(np.frombuffer(joined, dtype=np.uint8), len(texts))
    if scale is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                digits = np.fromstring(joined.replace(b".", b""), dtype=np.int64, sep="\n")
            except (DeprecationWarning, ValueError):
                digits = np.empty(0, dtype=np.int64)
        if len(digits) == len(texts):
            times = digits * scale
            return np.where(np.abs(times) < LATEST_NS, times, INVALID)
    return np.array([_one(bytes(text)) for text in texts], dtype=np.int64)


def durations(microseconds: Sequence[float]) -> Int64s:
    """Microseconds in nanoseconds; INVALID where there is none or it is absurd.

    Exact for three decimals below 2^43 us (101 days), since the whole part is taken apart first.
    """
    values = np.array(microseconds, dtype=np.float64)
    good = np.abs(values) < _LONGEST_US
    values = np.where(good, values, 0.0)
    whole = np.floor(values)
    exact = whole.astype(np.int64) * 1000 + np.rint((values - whole) * 1000).astype(np.int64)
    return np.where(good, exact, INVALID)


def _scale(text: NDArray[np.uint8], count: int) -> Int64s | int | None:
    """What the digits are to be multiplied with, once points are gone; None for the slow way."""
    if not count or not _PLAIN[text].all():
        return None
    ends = np.flatnonzero(text == _NEWLINE)
    points = np.flatnonzero(text == _POINT)
    if len(ends) != count:
        return None
    if (text[ends - 1] < ord("0")).any():  # a time that is absent, or ends with no digit
        return None
    length = np.diff(ends, prepend=-1)
    if len(points) == count and (ends - points == 4).all():
        return 1 if length.max() <= _LONGEST_FRACTION else None
    return _mixed_scale(ends, points, length)


def _mixed_scale(ends: Int64s, points: Int64s, length: Int64s) -> Int64s | None:
    """For whole numbers and those of up to three decimals, side by side."""
    owner = np.searchsorted(ends, points)
    decimals = np.zeros(len(ends), dtype=np.int64)
    decimals[owner] = ends[owner] - points - 1
    once = len(points) < 2 or bool((np.diff(owner) > 0).all())
    whole = length - decimals - (decimals > 0)
    fits = decimals.max() <= 3 and whole.max() <= _LONGEST_WHOLE
    return _POWERS[3 - decimals] if once and fits else None


def _one(text: bytes) -> int:
    try:
        value = Decimal(text.strip(b' "').decode("ascii", "replace"))
    except (InvalidOperation, ValueError):
        return INVALID
    if not value.is_finite() or value.copy_abs() >= _LATEST_US:
        return INVALID
    return int(_EXACT.to_integral_value(_EXACT.multiply(value, 1000)))
