"""How the time line was cut into steps, and what each step's wall time was.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured.
"""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun

Marker = Literal["ProfilerStep", "detected", "none"]


class Excluded(Noun, frozen=True, kw_only=True):
    """A step left out of the means, and why."""

    step: str
    reason: str


class Steps(Noun, frozen=True, kw_only=True):
    """How the time line was cut into steps."""

    count: int
    excluded: list[Excluded]
    marker: Marker
    mean_us: float
    p50_us: float
    p95_us: float
    note: str | None = None


class Breakdown(Noun, frozen=True, kw_only=True):
    """A wall time cut once, exclusively: the four parts sum to it."""

    compute: float
    communication: float
    copy: float
    idle: float


class StepRow(Noun, frozen=True, kw_only=True):
    """One step: times in microseconds, `start_us` from the first step's start."""

    step: str
    start_us: float
    wall_us: float
    counted: bool
    breakdown_us: Breakdown
    idle_us: dict[str, float]


class RankRow(Noun, frozen=True, kw_only=True):
    """One rank's share of a run."""

    rank: int
    breakdown_us: Breakdown
    idle_us: dict[str, float]


class Outlier(Noun, frozen=True, kw_only=True):
    """A step far above the median: `excess_us` over it, and the part that grew most."""

    step: str
    wall_us: float
    excess_us: float
    grew: str


class Outliers(Noun, frozen=True, kw_only=True):
    """Slow steps, and their period in steps where they have one."""

    steps: list[Outlier]
    cost_us: float
    cause: str
    period: int | None = None


class TimelineEvent(Noun, frozen=True, kw_only=True):
    """A bar of the time line: microseconds from the step's start, on lane `lane`."""

    lane: int
    name: str
    kind: str
    start_us: float
    dur_us: float


class Timeline(Noun, frozen=True, kw_only=True):
    """The events of one chosen step, the longest ones when there are too many."""

    step: str
    wall_us: float
    lanes: list[str]
    events: list[TimelineEvent]
    gaps: list[TimelineEvent]
    omitted_events: int
