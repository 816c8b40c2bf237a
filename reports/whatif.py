"""What `perfkit whatif` prints: the step now, with each fix alone, and with all of them."""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.model.diagnosis import Diagnosis, Fix
from perfkit.reports import gains
from perfkit.reports.format import clean, plural, time_us
from perfkit.reports.summary import has_steps

_GRADES = {
    "A": "what was recorded",
    "B": "waits inferred from the recording",
    "C": "an assumption on the changed program",
}


def grade_text(grade: str) -> str:
    """What a prediction rests on."""
    return _GRADES[grade]


def render(diagnosis: Diagnosis) -> str:
    """Lines of plain text."""
    return "\n".join(_lines(diagnosis)) + "\n"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    found, now = diagnosis.whatif, diagnosis.steps.mean_us
    each = "per step" if has_steps(diagnosis) else "for the whole recording"
    if found is None or found.withheld:
        yield f"Now {time_us(now)} {each}."
    else:
        yield f"Now {time_us(now)} {each}; {plural(found.steps, 'step')} replayed."
        yield from _alone(diagnosis, found.fixes)
        together = gains.together_text(diagnosis)
        yield from ([together] if together else [])
    trust = gains.trust_text(diagnosis)
    yield trust or "Nothing is predicted: the trace holds nothing to replay."


def _alone(diagnosis: Diagnosis, fixes: list[Fix]) -> Iterator[str]:
    if not fixes:
        yield "No fix that replay knows returns anything here."
    widest = max((len(clean(row.fix)) for row in fixes), default=0)
    for row in fixes:
        yield f"  {clean(row.fix):{widest}}  {gains.step_text(diagnosis, row.gain_us)}"
        yield f"  {'':{widest}}  {clean(row.text)}; rests on {grade_text(row.grade)}"
