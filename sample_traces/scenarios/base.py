"""What a scenario is: a small training loop in two forms, one of which has a known fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Form = Literal["faulty", "fixed"]
FORMS: tuple[Form, ...] = ("faulty", "fixed")
DOSES = (0.5, 1.0, 2.0)
BOTH = ("cpu", "cuda")
WARM_STEPS = 5


@dataclass(frozen=True)
class Setting:
    """One run of a scenario: `steps` are all that its loader must give batches for.

    `options` of the DataLoader replace the scenario's own, which is how a remedy is tried.
    """

    device: str
    form: Form
    dose: float
    steps: int
    scratch: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_faulty(self) -> bool:
        """Whether the fault is in this run."""
        return self.form == "faulty"

    @property
    def on_gpu(self) -> bool:
        """Whether the loop trains on a GPU."""
        return self.device == "cuda"


@dataclass(frozen=True)
class Program:
    """A training loop in two parts: what to iterate, and what to do with each batch."""

    loader: Iterable[Any]
    step: Callable[[Any], object]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A family of runs; the fault of dose 1 is described by `injected`, its cure by `fixed`.

    `cause` and `finding` are what a diagnosis of the faulty form must put first: a value of
    `perfkit.model.cause.Cause` (`also` holds those it shades into), and the code of a finding.
    None stands where the fault is no idle time, or has no rule. `skip` gives, by device, the
    reason why a device is left out.
    """

    name: str
    program: Callable[[Setting], AbstractContextManager[Program]]
    injected: str
    fixed: str
    cause: str | None = None
    also: tuple[str, ...] = ()
    finding: str | None = None
    cpu_finding: str | None = None
    """Instead of `finding` on a CPU, where it has a rule of its own or none."""
    healthy: bool = False
    """Neither form may be blamed for anything."""
    forms: tuple[Form, ...] = FORMS
    skip: Mapping[str, str] = field(default_factory=dict)
    active: int = 10
    """Steps of the profiled window."""

    def is_clean(self, form: Form) -> bool:
        """Whether nothing may be blamed in this form."""
        return self.healthy or form == "fixed"

    def finding_on(self, device: str) -> str | None:
        """The code of the finding that must come first in the faulty form."""
        return self.finding if device == "cuda" else self.cpu_finding


def python_work(milliseconds: float) -> int:
    """Keep this thread in plain Python for so long; returns how often it went around."""
    until = time.perf_counter_ns() + int(milliseconds * 1e6)
    rounds = 0
    while time.perf_counter_ns() < until:
        rounds += 1
    return rounds


def counted_work(rounds: int) -> int:
    """Plain Python that takes the longer the less of a core it has: some 20 ns a round."""
    total = 0
    for i in range(rounds):
        total += i
    return total
