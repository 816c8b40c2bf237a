"""What a reader meets of a diagnosis: its findings, and which of them ask for something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perfkit.model.diagnosis import Finding

COUNTS_FROM = 0.03
"""Of the step: information that costs less asks for nothing, and counts as silence."""


@dataclass(frozen=True)
class Said:
    """A finding as a reader meets it; `share` is its cost, of the step."""

    code: str
    severity: str
    share: float

    @property
    def counts(self) -> bool:
        """Whether it may be a false alarm: a warning, or information of some weight."""
        return self.severity != "info" or self.share >= COUNTS_FROM


def said_of(findings: Iterable[Finding]) -> list[Said]:
    """The findings of a diagnosis."""
    return [Said(one.code, one.severity, one.cost_share) for one in findings]
