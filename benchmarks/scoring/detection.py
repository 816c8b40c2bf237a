"""Whether a cause that is there is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

LEAST_SHARE = 0.03
"""A cause with less of the step than this is neither there nor named."""
_SIGMAS = 3.0


@dataclass(frozen=True)
class Seen:
    """Microseconds per step by cause: what is true of a run, and what one method says of it.

    `noise_us` is the standard deviation of a cause over seeds without a fault.
    """

    step_us: float
    true_us: Mapping[str, float]
    found_us: Mapping[str, float]
    noise_us: Mapping[str, float]

    def is_true(self, cause: str) -> bool:
        """Whether the cause has a share worth naming, above what chance gives it."""
        least = max(LEAST_SHARE * self.step_us, _SIGMAS * self.noise_us.get(cause, 0.0))
        return self.true_us.get(cause, 0.0) >= least

    def is_found(self, cause: str) -> bool:
        """Whether the method gives the cause a share worth naming."""
        return self.found_us.get(cause, 0.0) >= LEAST_SHARE * self.step_us

    @property
    def false_causes(self) -> list[str]:
        """Causes that the method names and that are not there."""
        return sorted(c for c in self.found_us if self.is_found(c) and not self.is_true(c))

    @property
    def is_top_right(self) -> bool | None:
        """Whether the largest cause is named as the largest; None where no cause is there."""
        if not any(map(self.is_true, self.true_us)):
            return None
        return _largest(self.found_us) == _largest(self.true_us)


def _largest(times: Mapping[str, float]) -> str:
    return max(times, key=lambda cause: times[cause])


@dataclass(frozen=True)
class Hits:
    """Runs in which a cause was named rightly, named wrongly, and missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Of the runs in which it was named, those that had it; nan when it never was."""
        return _ratio(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Of the runs that had it, those in which it was named; nan when none had."""
        return _ratio(self.right, self.right + self.missed)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); nan when the cause never came up."""
        return _ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def hits(runs: Iterable[Seen]) -> dict[str, Hits]:
    """Per cause, those that were in no run and were never named left out."""
    found: dict[str, Hits] = {}
    for run in runs:
        for cause in sorted({*run.true_us, *run.found_us}):
            there, named = run.is_true(cause), run.is_found(cause)
            if there or named:
                old = found.get(cause, Hits())
                found[cause] = Hits(
                    old.right + (there and named),
                    old.wrong + (named and not there),
                    old.missed + (there and not named),
                )
    return found


def macro(scores: Sequence[float]) -> float:
    """Mean over those that are defined; nan without any."""
    known = [score for score in scores if not isnan(score)]
    return sum(known) / len(known) if known else float("nan")


def share(answers: Iterable[bool | None]) -> tuple[float, int]:
    """(share of yes among yes and no, how many there were)."""
    known = [answer for answer in answers if answer is not None]
    return (sum(known) / len(known) if known else float("nan")), len(known)


def spread(samples: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Standard deviation by key over samples (n - 1; 0 for fewer than two)."""
    rows = list(samples)
    keys = sorted({key for row in rows for key in row})
    return {key: _deviation([row.get(key, 0.0) for row in rows]) for key in keys}


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return float((sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5)
