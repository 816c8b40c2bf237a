"""What fixes return, by replay, in time and in money."""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun


class Gain(Noun, frozen=True, kw_only=True):
    """Microseconds per step a fix may return; the rest but `bound` needs replay.

    In the run at hand `bound` is never beaten, and the gain is within `error` of what is expected.
    Between `low` and `high` it lies nine times in ten when the fixed program is another run.
    """

    bound: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None


class Fix(Noun, frozen=True, kw_only=True):
    """What replay says of one fix: `fix` is its name, as `perfkit whatif --fix` takes it.

    `grade` says what its edges rest on: A on records, B on inference, C on an assumption.
    """

    fix: str
    text: str
    gain_us: Gain
    grade: Literal["A", "B", "C"]


class Together(Noun, frozen=True, kw_only=True):
    """Several fixes at once, since gains do not add."""

    fixes: list[str]
    gain_us: Gain


class WhatIf(Noun, frozen=True, kw_only=True):
    """What fixes return, from replay of `steps` steps.

    `fixes` by expected gain; `combinations` are all sets of two and more of the first few; `order`
    is the best first fix, the best two with it, and so on. Where a gate of the replay fails,
    nothing is predicted and `withheld` says why. `note` is a sentence on what intervals rest on.
    """

    steps: int
    fixes: list[Fix]
    combinations: list[Together]
    order: list[Together]
    withheld: str | None = None
    note: str | None = None


class PerDay(Noun, frozen=True, kw_only=True):
    """GPU time of one day in hours, and its cost in the currency of the price, if one is known."""

    gpu_hours: float
    cost: float | None = None


class Money(Noun, frozen=True, kw_only=True):
    """What idle time is worth where `gpus` idle as the one that was measured.

    `fixes` together return between `returned_low` and `returned_high`, nine times in ten.
    """

    gpus: int
    gpu_hour_price: float | None = None
    idle: PerDay
    fixes: list[str] = []
    returned_low: PerDay | None = None
    returned_high: PerDay | None = None
