"""What held a GPU's clock down, and how much slower the same work was meanwhile.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured.
"""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun

Holder = Literal["heat", "hardware", "power", "setting"]


class HeldClock(Noun, frozen=True, kw_only=True):
    """The samples in which `holder` held the clock: `share` of those in which the GPU was at work.

    `kernel_slowdown` is the time of the trace's kernels then, as a multiple of what kernels of the
    same names took while nothing held the clock (`kernels` names were compared); `step_slowdown`
    is the same of the run's unprofiled steps.
    """

    holder: Holder
    reasons: list[str]
    samples: int
    share: float
    clock_mhz: float
    temperature_max_c: float | None = None
    power_w: float | None = None
    kernel_slowdown: float | None = None
    kernels: int = 0
    step_slowdown: float | None = None


class ClockFacts(Noun, frozen=True, kw_only=True):
    """The GPU's SM clock over a run; `free` are samples at work in which nothing held it."""

    device: int
    samples: int
    free_samples: int
    free_clock_mhz: float | None = None
    free_utilization: float | None = None
    held: list[HeldClock] = []
