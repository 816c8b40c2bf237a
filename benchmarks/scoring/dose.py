"""Whether a fault that costs more is charged as much more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """Attributed milliseconds over the true step-time increase: slope, R2, intercept (ms)."""

    slope: float
    r2: float
    intercept_ms: float
    points: int


def line(increase_ms: Sequence[float], attributed_ms: Sequence[float]) -> Line | None:
    """The least-squares line; None where the increase does not vary, so that there is none."""
    x, y = np.array(increase_ms, np.float64), np.array(attributed_ms, np.float64)
    spread = float(((x - x.mean()) ** 2).sum()) if len(x) else 0.0
    if spread <= 0:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    intercept = float(y.mean() - slope * x.mean())
    left = float(((y - slope * x - intercept) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    return Line(slope, 1 - left / total if total else 0.0, intercept, len(x))
