"""The gates a replay must pass before anything is predicted from it."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.model.diagnosis import Fidelity, Replay
from perfkit.reports.format import count, fine_share

# (what it is, the field of Replay, the most that passes); analyzers/graph/gates.py applies them
LIMITS = (
    ("length of the replay, all residuals kept", "closed_error", 1e-4),
    ("length of the open replay, without residuals", "open_error", 0.01),
    ("start of an operation in the open replay, mean", "start_error", 0.005),
    ("unexplained time on the path that sets the length", "residual_share", 0.02),
    ("recorded edges that contradict their times", "violation_share", 1e-3),
)
MOST_MISSING = 0.005
"""Share of GPU operations without their launch, and of launches without their operation."""


@dataclass(frozen=True)
class Gate:
    """One gate: what it measures, the share measured, the most that passes.

    `counted` is what the share is of: how many, of how many.
    """

    name: str
    value: float
    most: float
    counted: tuple[int, int] | None = None

    @property
    def passed(self) -> bool:
        """Whether predictions may rest on it."""
        return self.value <= self.most

    @property
    def value_text(self) -> str:
        """What was measured, in hundredths of a percent, and the counts behind it."""
        if self.counted is None:
            return fine_share(self.value)
        return f"{of_text(*self.counted)} ({fine_share(self.value)})"

    @property
    def most_text(self) -> str:
        """The most that passes, written alike."""
        return fine_share(self.most)


def gates(fidelity: Fidelity) -> list[Gate]:
    """All gates of the replay; none without one."""
    replay = fidelity.replay
    if replay is None:
        return []
    lost, of = _missing(fidelity)
    name = "operations or launches without a record"
    missing = Gate(name, lost / max(of, 1), MOST_MISSING, (lost, of))
    return [*(_gate(replay, *limit) for limit in LIMITS), missing]


def of_text(part: int, whole: int) -> str:
    """Such as "3 of 12,345"."""
    return f"{count(part)} of {count(whole)}"


def violated_text(replay: Replay) -> str:
    """How many recorded edges contradict their times."""
    return of_text(replay.violations, replay.recorded_edges)


def repaired_text(replay: Replay) -> str:
    """How many time stamps had to be ordered."""
    return of_text(replay.reordered, replay.time_stamps)


def _gate(replay: Replay, name: str, field: str, most: float) -> Gate:
    counted = field == "violation_share"
    of = (replay.violations, replay.recorded_edges) if counted else None
    return Gate(name, getattr(replay, field), most, of)


def _missing(fidelity: Fidelity) -> tuple[int, int]:
    missing = fidelity.orphan_kernels + fidelity.unmatched_launches
    return missing, fidelity.gpu_events + fidelity.unmatched_launches
