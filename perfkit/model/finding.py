"""What a rule says, and what is left unsaid."""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun
from perfkit.model.places import Place
from perfkit.model.whatif import Gain

Severity = Literal["critical", "warning", "info"]
Confidence = Literal["high", "medium", "low"]
Audience = Literal["researcher", "infrastructure"]


class Evidence(Noun, frozen=True, kw_only=True):
    """One fact that a finding rests on."""

    text: str
    value: float | None = None
    unit: str | None = None


class Remedy(Noun, frozen=True, kw_only=True):
    """What to do: `snippet` is code to paste, `applies_to` the framework it is for."""

    text: str
    snippet: str | None = None
    applies_to: str | None = None


class Finding(Noun, frozen=True, kw_only=True):
    """What a rule says; `cost_us` per step, `cost_share` of the mean step.

    `audience` is who can act on it: who writes the training script, or who runs the machines.
    `when_not` says when the remedy does not apply; `sources` are the addresses it rests on.
    `gain_note` says why the gain is not the cost, where the two differ.
    """

    code: str
    name: str
    severity: Severity
    title: str
    cause: str
    cost_us: float
    cost_share: float
    evidence: list[Evidence]
    where: list[Place]
    gain_us: Gain
    confidence: Confidence
    remedy: Remedy
    audience: Audience = "researcher"
    when_not: str = ""
    sources: list[str] = []
    gain_note: str = ""


class LeftOut(Noun, frozen=True, kw_only=True):
    """What the findings do not tell of: rules that were not asked, and findings not shown.

    `small` findings cost less than `least_share` of the step, `for_others` are for another
    audience.
    """

    rules: list[str] = []
    small: int = 0
    least_share: float
    for_others: int = 0
