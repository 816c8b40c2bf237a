"""What rules are made of, perfkit's own and those that users add: advice in, a finding out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from msgspec.structs import replace as replaced

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import (
    Confidence,
    Diagnosis,
    Evidence,
    Finding,
    Fix,
    Gain,
    Place,
    Remedy,
    Severity,
)
from perfkit.reports.format import count, share, time_us
from perfkit.reports.gains import differing_text
from perfkit.reports.page import Page
from perfkit.reports.summary import per_step, worded
from perfkit.reports.where import where_text, within

_MUCH_UNKNOWN_SHARE = 0.10
_FEW_STEPS = 2
_MOST_PLACES = 4


@dataclass(frozen=True)
class Limits:
    """Shares of the step from which a cost is a warning, and from which it is critical."""

    warning_share: float
    critical_share: float

    def severity(self, share: float) -> Severity:
        """The severity of a cost that is this share of the step."""
        if share >= self.critical_share:
            return "critical"
        return "warning" if share >= self.warning_share else "info"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a rule has to say; `finding` makes the rest from the diagnosis.

    `cost_us` is per step: time that the fault takes, and that the remedy could at most give back.
    """

    title: str
    cause: Cause | str
    cost_us: float
    limits: Limits
    evidence: list[Evidence]
    remedy: Remedy
    places: list[Place]
    bound_us: float | None = None
    """What the fix can return at most, where that is not the cost."""
    fix: str | None = None
    """The fix, by its name in `perfkit whatif`, whose replay predicts what the remedy returns."""
    severity: Severity | None = None
    """For what no time per step measures, such as memory that runs out; always shown."""
    gain_note: str = ""
    """Why what the remedy returns is not the cost; where a fix predicts it, that is found."""


def share_of_step(diagnosis: Diagnosis, us: float) -> float:
    """A time per step as a share of the mean step."""
    return us / diagnosis.steps.mean_us if diagnosis.steps.mean_us else 0.0


def idle_us(diagnosis: Diagnosis, *causes: Cause) -> float:
    """Idle time per step of these causes."""
    return sum(diagnosis.idle_us.get(cause.value, 0.0) for cause in causes)


def places_of(diagnosis: Diagnosis, *causes: Cause) -> list[Place]:
    """The costliest places of these causes."""
    wanted = {cause.value for cause in causes}
    found = [place for place in diagnosis.places if place.cause in wanted and place.idle_us > 0]
    return sorted(found, key=lambda place: -place.idle_us)[:_MOST_PLACES]


def of_step(diagnosis: Diagnosis, us: float) -> str:
    """Such as "59.3 ms per step (33.4 %)"."""
    return f"{time_us(us)}{per_step(diagnosis)} ({share(share_of_step(diagnosis, us))})"


def fact(text: str, value: float | None = None, unit: str | None = None) -> Evidence:
    """One line of evidence."""
    return Evidence(text=text, value=value, unit=unit)


def place_facts(places: list[Place]) -> list[Evidence]:
    """One line a place."""
    return [
        fact(f"{time_us(p.idle_us)} per step {_times(p)}{_inside(p)}", p.idle_us, "us/step")
        for p in places
    ]


def _inside(place: Place) -> str:
    where = where_text(place)
    return f" ({where})" if where else ""


def _times(entry: Place) -> str:
    once = 0.95 < entry.count_per_step < 1.05
    return within(entry) if once else f"{within(entry)}, {count(entry.count_per_step)} times"


def finding(
    diagnosis: Diagnosis, advice: Advice, page: Page, limits: Mapping[str, float]
) -> Finding:
    """The finding; `limits` replace those of the advice, by their names."""
    part, fix = share_of_step(diagnosis, advice.cost_us), _predicted(diagnosis, advice)
    worth = share_of_step(diagnosis, _worth_us(advice, fix))
    severity = advice.severity or replace(advice.limits, **limits).severity(worth)
    return Finding(
        code=page.code,
        name=page.code.replace("-", " "),
        severity=severity,
        title=worded(diagnosis, advice.title),
        cause=str(advice.cause),
        cost_us=advice.cost_us,
        cost_share=part,
        evidence=[replaced(e, text=worded(diagnosis, e.text)) for e in advice.evidence],
        where=advice.places,
        gain_us=_gain(advice, fix),
        gain_note=advice.gain_note or _difference(diagnosis, advice, fix),
        confidence=_confidence(diagnosis),
        remedy=advice.remedy,
        audience=page.audience,
        when_not=page.when_not,
        sources=page.sources,
    )


def _predicted(diagnosis: Diagnosis, advice: Advice) -> Fix | None:
    predicted = diagnosis.whatif.fixes if diagnosis.whatif else []
    return next((row for row in predicted if row.fix == advice.fix), None)


def _difference(diagnosis: Diagnosis, advice: Advice, fix: Fix | None) -> str:
    cause, cost = str(advice.cause), advice.cost_us
    return differing_text(diagnosis, cause, cost, fix) if fix else ""


def _worth_us(advice: Advice, fix: Fix | None) -> float:
    """The cost, or the most that its fix can return, where replay knows that from records alone."""
    if fix is None or fix.grade != "A":
        return advice.cost_us
    return min(advice.cost_us, fix.gain_us.bound)


def _gain(advice: Advice, fix: Fix | None) -> Gain:
    """What replay predicts for the advice's fix; without a prediction the rule's own bound."""
    bound = advice.cost_us if advice.bound_us is None else advice.bound_us
    return fix.gain_us if fix else Gain(bound=bound)


def _confidence(diagnosis: Diagnosis) -> Confidence:
    """Low where records are missing, medium where steps are few or not marked."""
    if diagnosis.fidelity.unknown_share > _MUCH_UNKNOWN_SHARE:
        return "low"
    few = diagnosis.steps.count < _FEW_STEPS or diagnosis.steps.marker == "none"
    return "medium" if few else "high"
