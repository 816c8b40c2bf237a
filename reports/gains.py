"""What fixes return, in words: the step as it is, the step that replay predicts, and how sure."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Finding, Gain, Replay, Together
from perfkit.reports.format import clean, fine_share, time_us, times_us
from perfkit.reports.gates import repaired_text, violated_text

WITHIN_ERROR = "within the error of the prediction"


def is_within_error(gain: Gain) -> bool:
    """Whether replay may be off by more than the gain, so that the number would say nothing.

    That runs differ is no reason to keep a number back: over several runs it shows.
    """
    if gain.expected is None or gain.low is None or gain.high is None:
        return False
    error = (gain.high - gain.low) / 2 if gain.error is None else gain.error
    return gain.expected < error


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
