"""Numbers and names as every report writes them; only ASCII is added."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

_TIME_UNITS = ((1e6, "s"), (1e3, "ms"))
_BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_ABSENT = "-"
TIED = "\u00a0"
"""No line breaks here: between a number and its unit."""
_UNITS = "%|us|ms|s|B|kB|MB|GB|TB|MB/s|GB/s|TFLOP/s|GFLOP/s|W|MHz"
_NUMBER = re.compile(rf"(?<=\d) (?=(?:{_UNITS})(?![\w/]))")


def time_us(value: float | None) -> str:
    """Microseconds in the unit that suits them: 312 us, 177.6 ms, 2.41 s."""
    if value is None or not math.isfinite(value):
        return _ABSENT
    for scale, unit in _TIME_UNITS:
        # 0.9995: 999.6 us must become 1.00 ms and not 1000 us
        if abs(value) >= scale * 0.9995:
            return f"{_digits(value / scale)} {unit}"
    decimals = 1 if 0 < abs(value) < 9.95 else 0
    return f"{value:.{decimals}f} us"


def times_us(values: Sequence[float]) -> list[str]:
    """Several times in the unit of the first, which alone names it: 18.0 ms, 17.2, 19.5."""
    first = time_us(values[0])
    unit = first.rpartition(" ")[2]
    scale = next((scale for scale, name in _TIME_UNITS if name == unit), 1.0)
    decimals = len(first.partition(" ")[0].partition(".")[2])
    return [first, *(f"{value / scale:,.{decimals}f}" for value in values[1:])]


def _digits(value: float) -> str:
    size = abs(value)
    if size < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if size < 999.95 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share of one in percent: 33.4 %, and never 0 for what is not."""
    if value is None or not math.isfinite(value):
        return _ABSENT
    if 0 < value < 0.0005:
        return "<0.1 %"
    return f"{value * 100:.1f} %" if value else "0 %"


def fine_share(value: float) -> str:
    """A share that is small when all is well, in hundredths of a percent: 0.16 %."""
    if 0 < value < 0.00005:
        return "<0.01 %"
    return f"{value * 100:.2f} %" if value else "0 %"


def size(value: float | None) -> str:
    """Bytes in decimal units: 12.6 MB."""
    if value is None or not math.isfinite(value):
        return _ABSENT
    for scale, unit in _BYTE_UNITS:
        if abs(value) >= scale * 0.9995:
            return f"{_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def count(value: float | None) -> str:
    """A number of things, fractions kept while they matter: 1,204 or 2.5."""
    if value is None or not math.isfinite(value):
        return _ABSENT
    return f"{value:.1f}" if value < 100 and value != round(value) else f"{value:,.0f}"


def clean(text: str) -> str:
    """One line without control, direction or surrogate characters: safe in a terminal."""
    return _visible(" ".join(text.split()))


def clean_lines(text: str) -> str:
    """The same for code, its lines and spaces kept."""
    return "\n".join(_visible(line.rstrip()) for line in text.expandtabs(4).split("\n"))


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(c) in _HIDDEN else c for c in text)


def tied(text: str) -> str:
    """The text with numbers that no line's end parts from their units: of the same length."""
    return _NUMBER.sub(TIED, text)


def shorten(text: str, most: int) -> str:
    """At most so many characters, with dots where the rest was."""
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def times_text(number: float) -> str:
    """`once`, `12 times`, `0.5 times`."""
    return "once" if number == 1 else f"{count(number)} times"


def plural(number: int, noun: str) -> str:
    """`1 step`, `12 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
