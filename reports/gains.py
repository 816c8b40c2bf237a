"""What fixes return, in words: the step as it is, the step that replay predicts, and how sure."""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Finding, Fix, Gain, Replay, Together
from perfkit.reports.format import clean, fine_share, time_us, times_us
from perfkit.reports.gates import repaired_text, violated_text
from perfkit.reports.summary import cause_text, per_step

WITHIN_ERROR = "within the error of the prediction"
_MUCH = 0.1  # of the cost, and
_OF_STEP = 0.005  # of the step: smaller differences need no word
_OF_THE_HOST = {Cause.LAUNCH.value, Cause.DISPATCH.value, Cause.PYTHON.value}
_EXPOSED = "exposed communication"


def is_within_error(gain: Gain) -> bool:
    """Whether replay may be off by more than the gain, so that the number would say nothing.

    That runs differ is no reason to keep a number back: over several runs it shows.
    """
    if gain.expected is None or gain.low is None or gain.high is None:
        return False
    error = (gain.high - gain.low) / 2 if gain.error is None else gain.error
    return gain.expected < error


def step_text(diagnosis: Diagnosis, gain: Gain) -> str:
    """Such as "now 24.1 ms -> 18.0 ms (17.2 to 19.5; never below 16.9)"."""
    if gain.expected is None:
        return f"at most {time_us(gain.bound)}{per_step(diagnosis)}"
    now_us = diagnosis.steps.mean_us
    least = _after(now_us, gain.bound)
    if is_within_error(gain):
        return f"{WITHIN_ERROR} (now {time_us(now_us)}, never below {time_us(least)})"
    after, between = after_parts(now_us, gain)
    return f"now {time_us(now_us)} -> {after} ({between})"


def after_parts(now_us: float, gain: Gain) -> tuple[str, str]:
    """The predicted step and its limits: "18.0 ms", "17.2 to 19.5; never below 16.9".

    Where other runs may well pass the bound, which is of the run at hand, it is not told.
    """
    after, ends = _after(now_us, gain.expected or 0.0), interval(gain)
    told = [*(ends or ())[::-1], gain.bound]
    first, *rest = times_us([after, *(_after(now_us, end) for end in told)])
    between = f"{rest[0]} to {rest[1]}" if ends else ""
    if ends and gain.bound <= ends[1]:
        return first, between
    return first, f"{between}{'; ' if ends else ''}never below {rest[-1]}"


def interval(gain: Gain) -> tuple[float, float] | None:
    """(low, high) of the gain; None without both ends."""
    return None if gain.low is None or gain.high is None else (gain.low, gain.high)


def _after(now_us: float, gain_us: float) -> float:
    return max(now_us - gain_us, 0.0)


def gain_text(diagnosis: Diagnosis, finding: Finding) -> str:
    """What the finding's fix returns, and why that is not what it costs."""
    if finding.gain_us.expected is None and not finding.gain_us.bound:
        return "not in time"
    note = f"; {clean(finding.gain_note)}" if finding.gain_note else ""
    return step_text(diagnosis, finding.gain_us) + note


def differing_text(diagnosis: Diagnosis, cause: str, cost_us: float, fix: Fix) -> str:
    """Why a fix returns much more or less than what is charged to its cause; empty where not."""
    least = max(_MUCH * cost_us, _OF_STEP * diagnosis.steps.mean_us)
    beyond = (fix.gain_us.expected or 0.0) - cost_us
    if beyond > least:
        return f"{time_us(beyond)} of that comes out of {_shortened(diagnosis, cause, beyond)}"
    if cost_us - fix.gain_us.bound > least:
        return "other waits take the place of the rest"
    return ""


def _shortened(diagnosis: Diagnosis, cause: str, beyond_us: float) -> str:
    """The one part of the step without which the others do not add up to so much."""
    mine = _OF_THE_HOST if cause in _OF_THE_HOST else {cause}
    parts = {c: us for c, us in diagnosis.idle_us.items() if c not in mine}
    parts[_EXPOSED] = diagnosis.breakdown_us.communication
    largest = max(parts, key=parts.__getitem__)
    rest = sum(parts.values()) + diagnosis.breakdown_us.copy - parts[largest]
    return cause_text(largest) if rest < beyond_us else "time charged to other causes"


def best_together(diagnosis: Diagnosis) -> Together | None:
    """The best fixes at once, where there are several."""
    order = diagnosis.whatif.order if diagnosis.whatif else []
    return order[-1] if order and len(order[-1].fixes) > 1 else None


def together_text(diagnosis: Diagnosis) -> str:
    """The joint number of the best fixes, since gains do not add; empty without several."""
    best = best_together(diagnosis)
    if best is None:
        return ""
    return f"{names_text(best.fixes)} together: {step_text(diagnosis, best.gain_us)}"


def names_text(fixes: list[str]) -> str:
    """Fixes as a reader meets them in one line."""
    return " + ".join(map(clean, fixes))


def trust_text(diagnosis: Diagnosis) -> str:
    """How well replay reproduces the recording, or why it predicts nothing; empty without it."""
    found, replay = diagnosis.whatif, diagnosis.fidelity.replay
    if found is not None and found.withheld:
        return f"What-if is withheld: {clean(found.withheld).rstrip('.')}."
    note = f" {clean(found.note)}" if found is not None and found.note else ""
    return f"Replay {_reproduces(replay)}.{note}" if replay is not None else ""


def _reproduces(replay: Replay) -> str:
    return (
        f"reproduces the recording within {fine_share(replay.open_error)}, "
        f"{violated_text(replay)} recorded edges violated, "
        f"{repaired_text(replay)} time stamps repaired"
    )
