"""The one sentence that leads every report."""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.reports.format import share, time_us
from perfkit.reports.summary import has_steps

_BUSY_SHARE = 0.90
_MUCH_SHARE = 0.10
_UNEXPLAINED = frozenset((Cause.UNKNOWN.value, Cause.UNOBSERVED.value))


def verdict(diagnosis: Diagnosis) -> str:
    """What matters most, in one sentence, and no more than the data shows."""
    if not diagnosis.steps.mean_us:
        return "The trace covers no time: there is nothing to judge."
    if diagnosis.device.kind == "none":
        return "The trace holds no GPU records (see the notes): nothing can be said of the GPU."
    return f"{_work(diagnosis)}{_rest(diagnosis)}"


def _work(diagnosis: Diagnosis) -> str:
    wall = time_us(diagnosis.steps.mean_us)
    each = f"each {wall} step" if has_steps(diagnosis) else f"the {wall} recording"
    computing = share(diagnosis.breakdown_us.compute / diagnosis.steps.mean_us)
    if diagnosis.device.kind == "cpu":
        return f"On the CPU (the trace has no GPU work), operators run {computing} of {each}"
    return f"The GPU computes {computing} of {each}"


def _rest(diagnosis: Diagnosis) -> str:
    """The largest of what a rule found, what no rule covers, and what cannot be explained."""
    first = next((f for f in diagnosis.findings if f.severity != "info"), None)
    found = first.cost_share if first is not None else 0.0
    what, bare = _largest_untold(diagnosis)
    unknown = diagnosis.fidelity.unknown_share
    if unknown > max(_MUCH_SHARE, found, bare):
        return f"; {share(unknown)} cannot be explained, because records are missing."
    if bare > max(_MUCH_SHARE, found):
        return f"; {share(bare)} goes to {what}."
    return f"; {_told(first)}." if first is not None else _nothing_to_fix(diagnosis, what, bare)


def _told(first: Finding) -> str:
    title = first.title.replace("The GPU ", "it ", 1)
    word = title.partition(" ")[0]
    return title if any(map(str.isupper, word[1:])) else title[:1].lower() + title[1:]


def _nothing_to_fix(diagnosis: Diagnosis, what: str, part: float) -> str:
    busy = 1 - diagnosis.breakdown_us.idle / diagnosis.steps.mean_us
    if busy >= _BUSY_SHARE:
        chance = next((f for f in diagnosis.findings if f.cost_share >= _MUCH_SHARE), None)
        then = _told(chance) if chance is not None else "nothing stands out as worth fixing"
        return f" and is busy {share(busy)} of it; {then}."
    small = max(
        (f for f in diagnosis.findings if f.cause in diagnosis.idle_us),
        key=lambda finding: finding.cost_share,
        default=None,
    )
    if small is not None and small.cost_share > part:
        return f"; the largest part of the rest: {_told(small)}."
    return f"; the largest part of the rest is {what} ({share(part)})."


def _largest_untold(diagnosis: Diagnosis) -> tuple[str, float]:
    """(what, share of the step) of the largest time that no finding tells of."""
    told = {code for f in diagnosis.findings for code in (f.cause, *(p.cause for p in f.where))}
    parts = [(Cause(code).text, time) for code, time in diagnosis.idle_us.items()
             if code not in told | _UNEXPLAINED]  # fmt: skip
    if Cause.COPY.value not in told:
        parts.append(("copies that nothing hides", diagnosis.breakdown_us.copy))
    if "communication" not in told:
        parts.append(("communication that nothing hides", diagnosis.breakdown_us.communication))
    what, time = max(parts, key=lambda part: part[1], default=(Cause.UNKNOWN.text, 0.0))
    return what, time / diagnosis.steps.mean_us
