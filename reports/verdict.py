"""The one sentence that leads every report."""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.reports.format import share, time_us

_BUSY_SHARE = 0.90
_MUCH_UNKNOWN_SHARE = 0.10
_UNEXPLAINED = (Cause.UNKNOWN.value, Cause.UNOBSERVED.value)


def verdict(diagnosis: Diagnosis) -> str:
    """What matters most, in one sentence, and no more than the data shows."""
    if not diagnosis.steps.mean_us:
        return "The trace covers no time: there is nothing to judge."
    if diagnosis.device.kind == "none":
        return (
            "Work was launched, but the trace has no GPU records: nothing can be said of the GPU."
        )
    return f"{_work(diagnosis)}{_rest(diagnosis)}"


def _work(diagnosis: Diagnosis) -> str:
    wall = time_us(diagnosis.steps.mean_us)
    what = "step" if diagnosis.steps.marker != "none" else "recording"
    each = f"{'each' if what == 'step' else 'the'} {wall} {what}"
    computing = share(diagnosis.breakdown_us.compute / diagnosis.steps.mean_us)
    if diagnosis.device.kind == "cpu":
        return f"On the CPU (the trace has no GPU work), operators run {computing} of {each}"
    return f"The GPU computes {computing} of {each}"


def _rest(diagnosis: Diagnosis) -> str:
    unknown = diagnosis.fidelity.unknown_share
    first = next((f for f in diagnosis.findings if f.severity != "info"), None)
    if unknown > _MUCH_UNKNOWN_SHARE and (first is None or unknown > first.cost_share):
        return f"; {share(unknown)} cannot be explained, because records are missing."
    if first is not None:
        return f"; {_told(first)}."
    return _nothing_to_fix(diagnosis)


def _told(first: Finding) -> str:
    return first.title[:1].lower() + first.title[1:]


def _nothing_to_fix(diagnosis: Diagnosis) -> str:
    parts = diagnosis.breakdown_us
    busy = 1 - parts.idle / diagnosis.steps.mean_us
    if busy >= _BUSY_SHARE:
        return f" and is busy {share(busy)} of it; nothing stands out as worth fixing."
    cause, idle = _largest_idle(diagnosis)
    part = share(idle / diagnosis.steps.mean_us)
    return f"; most of the rest is {Cause(cause).text} ({part})."


def _largest_idle(diagnosis: Diagnosis) -> tuple[str, float]:
    named = [item for item in diagnosis.idle_us.items() if item[0] not in _UNEXPLAINED]
    return max(named, key=lambda item: item[1], default=(Cause.UNKNOWN.value, 0.0))
