"""What fixes return, in words: the step as it is, the step that replay predicts, and how sure."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Finding, Gain, Replay, Together
from perfkit.reports.format import clean, fine_share, time_us, times_us
from perfkit.reports.gates import repaired_text, violated_text

WITHIN_ERROR = "within the error of the prediction"


def is_within_error(gain: Gain) -> bool:
    """Whether half the interval is wider than the gain, so that the number would say nothing."""
    if gain.expected is None or gain.low is None or gain.high is None:
        return False
    return gain.expected < (gain.high - gain.low) / 2


def step_text(now_us: float, gain: Gain) -> str:
    """Such as "now 24.1 ms -> 18.0 ms (17.2 to 19.5; never below 16.9)"."""
    if gain.expected is None:
        return f"at most {time_us(gain.bound)} per step"
    least = _after(now_us, gain.bound)
    if is_within_error(gain):
        return f"{WITHIN_ERROR} (now {time_us(now_us)}, never below {time_us(least)})"
    after, between = after_parts(now_us, gain)
    return f"now {time_us(now_us)} -> {after} ({between})"


def after_parts(now_us: float, gain: Gain) -> tuple[str, str]:
    """The predicted step and its limits: "18.0 ms", "17.2 to 19.5; never below 16.9"."""
    after = _after(now_us, gain.expected or 0.0)
    ends = [*(interval(gain) or ())[::-1], gain.bound]
    first, *rest = times_us([after, *(_after(now_us, end) for end in ends)])
    between = f"{rest[0]} to {rest[1]}; " if len(rest) > 1 else ""
    return first, f"{between}never below {rest[-1]}"


def interval(gain: Gain) -> tuple[float, float] | None:
    """(low, high) of the gain, of which nothing passes the bound; None without both ends."""
    if gain.low is None or gain.high is None:
        return None
    return min(gain.low, gain.bound), min(gain.high, gain.bound)


def _after(now_us: float, gain_us: float) -> float:
    return max(now_us - gain_us, 0.0)


def gain_text(diagnosis: Diagnosis, finding: Finding) -> str:
    """What the finding's fix returns."""
    if finding.gain_us.expected is None and not finding.gain_us.bound:
        return "not in time"
    return step_text(diagnosis.steps.mean_us, finding.gain_us)


def best_together(diagnosis: Diagnosis) -> Together | None:
    """The best fixes at once, where there are several."""
    order = diagnosis.whatif.order if diagnosis.whatif else []
    return order[-1] if order and len(order[-1].fixes) > 1 else None


def together_text(diagnosis: Diagnosis) -> str:
    """The joint number of the best fixes, since gains do not add; empty without several."""
    best = best_together(diagnosis)
    if best is None:
        return ""
    return f"{names_text(best.fixes)} together: {step_text(diagnosis.steps.mean_us, best.gain_us)}"


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
