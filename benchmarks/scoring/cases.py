"""Which simulated runs are scored, and which damage is done to some of their traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sample_traces.simulator import INJECTIONS

CLEAN_SEEDS = 8
SEEDS = 3


@dataclass(frozen=True)
class Case:
    """A run with these faults at these doses; none for a clean run."""

    faults: tuple[tuple[str, float], ...] = ()
    seed: int = 0

    @property
    def label(self) -> str:
        """As a reader meets it."""
        named = "+".join(f"{name}-{dose:g}" for name, dose in self.faults) or "no fault"
        return f"{named} (seed {self.seed})"

    @property
    def kind(self) -> str:
        """Its faults, at any dose and seed."""
        return "+".join(name for name, _ in self.faults)

    @property
    def is_quiet(self) -> bool:
        """Whether no fault in it costs idle time, so that nothing may be blamed."""
        return all(_is_quiet(name) for name, _ in self.faults)


def _is_quiet(name: str) -> bool:
    fault = INJECTIONS[name]
    return fault.hidden or (fault.cause is None and not fault.findings)


@dataclass(frozen=True)
class Damage:
    """What is done to a trace: how, and to which share of its records (clocks: of its time)."""

    kind: str
    share: float

    @property
    def label(self) -> str:
        """As a reader meets it."""
        return f"{self.kind} {self.share:.0%}"


DAMAGES = (
    *(Damage("drop_kernels", share) for share in (0.01, 0.05, 0.2)),
    *(Damage("drop_launches", share) for share in (0.01, 0.05, 0.2)),
    Damage("drop_sync_events", 1.0),
    *(Damage("shift_clock_10us", share) for share in (0.5, 1.0)),
    *(Damage("shift_clock_10ms", share) for share in (0.5, 1.0)),
    Damage("truncate", 0.2),
)
DAMAGED = (
    ("dataset_sleep", 0.5),
    ("item_per_step", 0.5),
    ("item_per_layer", 0.2),
    ("allocator_churn", 0.2),
    ("tiny_kernels", 0.2),
    ("python_loop", 0.2),
    ("slow_kernels", 0.2),
)
PAIRS = (
    ("dataset_sleep", "item_per_step"),
    ("dataset_sleep", "late_communication"),
    ("slow_workers", "python_loop"),
    ("collate", "pageable_copy"),
    ("loader_stall", "gc_pauses"),
    ("item_per_layer", "allocator_churn"),
    ("item_per_step", "late_communication"),
    ("device_sync", "tiny_kernels"),
    ("pageable_copy", "checkpoint"),
    ("tiny_kernels", "gc_pauses"),
    ("hook_stall", "late_communication"),
    ("slow_kernels", "item_per_step"),
    ("busy_workers", "item_per_layer"),
    ("cuda_graph", "dataset_sleep"),
)
_PAIR_DOSE = 0.2


def clean(quick: bool) -> list[Case]:
    """The healthy program under several seeds: no dose of any fault."""
    return [Case(seed=seed) for seed in range(3 if quick else CLEAN_SEEDS)]


def singles(quick: bool, names: Sequence[str] | None = None) -> list[Case]:
    """Every fault at every dose above 0; quick: at two of them, with one seed."""
    return [
        Case(((name, dose),), seed)
        for name in names or INJECTIONS
        for dose in _doses(name, quick)
        for seed in range(1 if quick else SEEDS)
    ]


def _doses(name: str, quick: bool) -> list[float]:
    above = [dose for dose in INJECTIONS[name].doses if dose > 0]
    return [above[len(above) // 2], above[-1]] if quick else above


def pairs(quick: bool) -> list[Case]:
    """A sample of two faults at once."""
    chosen = PAIRS[:3] if quick else PAIRS
    return [Case(tuple((name, _dose(name)) for name in pair)) for pair in chosen]


def for_rules() -> list[Case]:
    """A sample for the rules alone: two doses and seeds of each fault, all pairs, healthy runs."""
    again = [Case(case.faults, seed=1) for case in singles(True)]
    healthy = [Case(seed=seed) for seed in range(2 * CLEAN_SEEDS)]
    return [*healthy, *singles(True), *again, *pairs(False)]


def _dose(name: str) -> float:
    return min(INJECTIONS[name].doses, key=lambda dose: abs(dose - _PAIR_DOSE))


def damaged(quick: bool) -> list[Case]:
    """Runs whose traces are damaged in every way."""
    chosen = DAMAGED[:1] if quick else DAMAGED
    return [Case((fault,)) for fault in chosen]


def asks_hta(case: Case) -> bool:
    """HTA takes seconds a trace: it is asked about each single fault's largest dose, once."""
    ((name, dose),) = case.faults
    return case.seed == 0 and dose == max(INJECTIONS[name].doses)
