"""Times are exact: none passes through a double."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace.times import INVALID, durations, nanoseconds

EXACT = Context(prec=2000)


def expected(text: str) -> int:
    value = EXACT.multiply(Decimal(text), 1000).to_integral_value(ROUND_HALF_EVEN, EXACT)
    return int(value) if abs(value) < 1 << 62 else INVALID


def whole() -> st.SearchStrategy[str]:
    return st.integers(-(10**20), 10**20).map(str)


def with_decimals(places: int) -> st.SearchStrategy[str]:
    """Numbers of exactly so many decimals, as writers print them."""

    def text(number: int) -> str:
        digits = f"{abs(number):0{places + 1}d}"
        return f"{'-' * (number < 0)}{digits[:-places]}.{digits[-places:]}"

    return st.integers(-(10**21), 10**21).map(text)


LISTS = st.one_of(
    st.lists(whole(), min_size=1, max_size=20),
    *(st.lists(with_decimals(n), min_size=1, max_size=20) for n in (1, 2, 3, 6)),
    st.lists(st.one_of(whole(), *(with_decimals(n) for n in range(1, 6))), max_size=20),
    st.lists(st.floats(allow_nan=False, allow_infinity=False).map(repr), max_size=20),
    st.lists(st.decimals(allow_nan=False, allow_infinity=False).map(str), max_size=20),
)


@given(LISTS)
def test_nanoseconds_are_exact(texts: list[str]) -> None:
    found = nanoseconds([text.encode() for text in texts])
    assert found.dtype == np.int64
    assert found.tolist() == [expected(text) for text in texts]


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_any_bytes_give_one_time_each(texts: list[bytes]) -> None:
    assert len(nanoseconds(texts)) == len(texts)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (b"1712169112123456.789", 1_712_169_112_123_456_789),
        (b"1712169112123456.7", 1_712_169_112_123_456_700),
        (b"1712169112123456", 1_712_169_112_123_456_000),
        (b"1.712169112123456789e15", 1_712_169_112_123_456_789),
        (b"1.7121691121234568E+15", 1_712_169_112_123_456_800),
        (b'"1712169112123456.789"', 1_712_169_112_123_456_789),
        (b"0.0005", 0),
        (b"0.00050000000000000000000000000000000000001", 1),
        (b"0.0015", 2),
        (b"-0.001", -1),
        (b"-0", 0),
    ],
)
def test_known_times(text: bytes, ns: int) -> None:
    assert nanoseconds([text]).tolist() == [ns]
    assert nanoseconds([b"5", text, b"7.25"]).tolist() == [5000, ns, 7250]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"true", b"nan", b"inf", b'"x"', b"1e999999", b"1e99999999999"),
        *(b"[1,\n2]", b"-1.-500", b"1.2.3", b"--5", b"-", b".", b"\xff", b"9" * 30),
        b"4611686018427387.904",
    ],
)
def test_what_is_no_time_is_invalid_alone(text: bytes) -> None:
    assert nanoseconds([b"5", text, b"7.250"]).tolist() == [5000, INVALID, 7250]
    assert nanoseconds([text]).tolist() == [INVALID]


def test_no_times() -> None:
    assert nanoseconds([]).tolist() == []


@given(st.lists(st.integers(-(2**52), 2**52), max_size=20))
def test_durations_of_three_decimals_are_exact(ns: list[int]) -> None:
    values = [float(Decimal(n) / 1000) for n in ns]
    assert durations(values).tolist() == ns


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), 1e300, 2.0**43])
def test_what_is_no_duration_is_invalid(odd: float) -> None:
    assert durations([1.5, odd, 2.0]).tolist() == [1500, INVALID, 2000]
