"""What a fix was predicted to give against what it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

BEATEN = 0.01
"""A bound counts as beaten when the true gain exceeds it by this share of the step."""
WORTH = 0.03
"""Of the step: a fix that gives less is hardly one."""
_CERTAIN = 0.001  # of the step: gains closer than this have no order


@dataclass(frozen=True)
class Prediction:
    """One fix of one run by one method; microseconds per step, None where it gives none.

    `step_us` is the step before the fix, `true_us` after it: of the same run, where only a model of
    one can repeat its draws. `again_us` is the step after it in another run.
    """

    fix: str
    step_us: float
    true_us: float
    predicted_us: float
    low_us: float | None = None
    high_us: float | None = None
    least_us: float | None = None
    """The step with the gain that the method says cannot be exceeded."""
    again_us: float | None = None

    @property
    def again_error(self) -> float | None:
        """|predicted - true| as a share of the true step, both after the fix, in another run."""
        if self.again_us is None:
            return None
        return abs(self.predicted_us - self.again_us) / self.again_us

    @property
    def half_width(self) -> float | None:
        """Of the interval, as a share of the predicted step."""
        if self.low_us is None or self.high_us is None:
            return None
        return (self.high_us - self.low_us) / 2 / self.predicted_us

    @property
    def error(self) -> float:
        """|predicted - true| as a share of the true step after the fix."""
        return abs(self.predicted_us - self.true_us) / self.true_us

    @property
    def step_error(self) -> float:
        """|predicted - true| as a share of the step before the fix."""
        return abs(self.predicted_us - self.true_us) / self.step_us

    @property
    def gain_error(self) -> float | None:
        """|predicted - true| as a share of the predicted gain; None without a gain."""
        gain = self.step_us - self.predicted_us
        least = _CERTAIN * self.step_us
        return abs(self.predicted_us - self.true_us) / gain if gain > least else None

    @property
    def matters(self) -> bool:
        """Whether the fix gives, or is said to give, at least 3 % of the step."""
        return min(self.true_us, self.predicted_us) <= (1 - WORTH) * self.step_us

    @property
    def is_covered(self) -> bool | None:
        """Whether the truth of another run lies in the interval, or the only one that is known."""
        return self._holds(self.true_us if self.again_us is None else self.again_us)

    @property
    def is_same_covered(self) -> bool | None:
        """Whether the truth of the same run lies in the interval."""
        return self._holds(self.true_us)

    def _holds(self, true_us: float) -> bool | None:
        if self.low_us is None or self.high_us is None:
            return None
        slack = _CERTAIN * self.step_us  # rounding
        return self.low_us - slack <= true_us <= self.high_us + slack

    @property
    def is_beaten(self) -> bool | None:
        """Whether the fix gave more than the method said was possible."""
        if self.least_us is None:
            return None
        return self.least_us - self.true_us > BEATEN * self.step_us


def percentile(values: Iterable[float | None], q: float) -> float:
    """The q-th percentile (0 to 100) of those that are defined; nan without any."""
    known = [value for value in values if value is not None]
    return float(np.percentile(known, q)) if known else float("nan")


def ranking(run: Sequence[Prediction]) -> float | None:
    """Kendall's tau-b of the true and the predicted gains of one run's fixes, -1 to 1.

    Gains within 0.1 % of the step are ties; None where either order has nothing but ties.
    """
    signs = [(_order(a, b, _true), _order(a, b, _said)) for a, b in combinations(run, 2)]
    same = sum(x * y for x, y in signs)
    untied = sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs)
    return same / float(untied) ** 0.5 if untied else None


def _true(prediction: Prediction) -> float:
    return prediction.true_us


def _said(prediction: Prediction) -> float:
    return prediction.predicted_us


def _order(a: Prediction, b: Prediction, value: Callable[[Prediction], float]) -> int:
    difference = value(a) - value(b)
    if abs(difference) <= _CERTAIN * a.step_us:
        return 0
    return 1 if difference > 0 else -1


def is_first_right(run: Sequence[Prediction]) -> bool | None:
    """Whether the fix predicted best is the best (or as good); None where no fix helps by 3 %."""
    if not run or min(p.true_us / p.step_us for p in run) > 1 - WORTH:
        return None
    best, chosen = min(p.true_us for p in run), min(run, key=_said)
    return chosen.true_us - best <= BEATEN * chosen.step_us
