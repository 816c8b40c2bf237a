from __future__ import annotations

import math

import pytest

from perfkit.reports import format as fmt


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 us"),
        (0.04, "0.0 us"),
        (4.21, "4.2 us"),
        (312.4, "312 us"),
        (999.4, "999 us"),
        (999.6, "1.00 ms"),
        (4_250, "4.25 ms"),
        (9_996, "10.0 ms"),
        (177_600, "177.6 ms"),
        (999_600, "1.00 s"),
        (2_414_000, "2.41 s"),
        (-1_500, "-1.50 ms"),
        (None, "-"),
        (math.nan, "-"),
    ],
)
def test_time(us: float | None, text: str) -> None:
    assert fmt.time_us(us) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 %"), (0.00001, "<0.1 %"), (0.334, "33.4 %"), (1, "100.0 %"), (None, "-")],
)
def test_share(value: float | None, text: str) -> None:
    assert fmt.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (56, "56 B"), (1_000, "1.00 kB"), (12.6e6, "12.6 MB"), (85.1e9, "85.1 GB")],
)
def test_size(value: float, text: str) -> None:
    assert fmt.size(value) == text


@pytest.mark.parametrize(("value", "text"), [(2.5, "2.5"), (14, "14"), (1204, "1,204")])
def test_count(value: float, text: str) -> None:
    assert fmt.count(value) == text


def test_clean_leaves_one_harmless_line() -> None:
    assert fmt.clean(" a\n\tb\x1b[2J \u202e\ud800 größe 核 ") == "a b?[2J ?? größe 核"


def test_clean_lines_keeps_indentation_and_spaces() -> None:
    assert fmt.clean_lines("if x:\n\ty = 1  # why\x07") == "if x:\n    y = 1  # why?"


def test_shorten_never_exceeds() -> None:
    assert fmt.shorten("abcdefgh", 8) == "abcdefgh"
    assert fmt.shorten("abcdefghi", 8) == "abcde..."
