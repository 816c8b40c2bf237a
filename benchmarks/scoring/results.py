"""All that was measured, and the rows of the one table that is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan

from benchmarks.scoring.detection import Seen, spread
from benchmarks.scoring.real import Pair, Public
from benchmarks.scoring.runs import COPIES, NOT_KNOWN, Damaged, Run
from benchmarks.scoring.told import Told

METHODS = ("perfkit", "occupant", "subtract", "HTA")
SIMULATED, RECORDED, PUBLIC = "simulated", "recorded", "public traces"


@dataclass(frozen=True)
class Results:
    """All that was measured."""

    clean: list[Run]
    singles: list[Run]
    pairs: list[Run]
    damaged: list[Damaged] = field(default_factory=list)
    recorded: list[Pair] = field(default_factory=list)
    public: list[Public] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    """What rules say of labelled cases that are not simulated."""

    @property
    def runs(self) -> list[Run]:
        """All simulated runs whose trace is whole."""
        return [*self.clean, *self.singles, *self.pairs]

    @property
    def noise_us(self) -> dict[str, float]:
        """Standard deviation of each cause's true time over the seeds of the clean run."""
        return spread(run.true_us for run in self.clean)

    @property
    def quiet(self) -> list[Run]:
        """Runs in which nothing may be blamed: no fault, or one that costs no idle time."""
        return [run for run in self.runs if run.case.is_quiet]


@dataclass(frozen=True)
class Row:
    """One score: what it is of, its value by method, and what perfkit aims at."""

    score: str
    of: str
    count: int
    values: dict[str, str]
    aim: str = ""


def row(
    score: str,
    count: int,
    values: Mapping[str, float],
    aim: str = "",
    *,
    of: str = SIMULATED,
) -> Row:
    """A row of plain numbers."""
    return Row(score, of, count, {m: number(value) for m, value in values.items()}, aim)


def percents(
    score: str,
    count: int,
    values: Mapping[str, float],
    aim: str = "",
    *,
    of: str = SIMULATED,
) -> Row:
    """A row of shares."""
    return Row(score, of, count, {m: percent(value) for m, value in values.items()}, aim)


def number(value: float) -> str:
    """A number as the document has it; "-" for none."""
    return "-" if isnan(value) else f"{value:.3f}"


def percent(share: float) -> str:
    """A share as the document has it; "-" for none."""
    return "-" if isnan(share) else f"{100 * share:.1f} %"


def seen(results: Results, method: str, runs: Iterable[Run]) -> list[Seen]:
    """What a method says of runs, as far as it was asked; unknown time is no cause."""
    noise = results.noise_us
    return [
        Seen(run.step_us, _named(run.true_us), _named(run.found_us[method]), noise)
        for run in runs
        if method in run.found_us
    ]


def _named(times: dict[str, float]) -> dict[str, float]:
    return {c: us for c, us in times.items() if c not in NOT_KNOWN and c != COPIES}
