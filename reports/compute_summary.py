"""Matrix work in words: its rate, and the share of the device's peak that it reaches at least."""

from __future__ import annotations

from perfkit.model.compute_facts import ComputeFacts
from perfkit.model.diagnosis import Diagnosis
from perfkit.reports.format import clean, fine_share, share
from perfkit.reports.summary import step_word

_LEAST_TOLD = 0.995  # of matrix kernels' time: from here on nothing is missing

_SMALL = 0.0005  # what share() no longer tells in digits
_SMALLEST = 0.00005  # what fine_share() no longer does


def compute_lines(diagnosis: Diagnosis) -> list[str]:
    """One line; none where the trace tells no FLOPs."""
    facts = diagnosis.compute
    if facts is None or not facts.flops_per_step:
        return []
    told = facts.told_share
    part = "" if told is None or told >= _LEAST_TOLD else f"; shapes tell {share(told)} of its time"
    rate = f"Matrix work: at least {rate_text(facts.tflops)} over the {step_word(diagnosis)}"
    return [f"{rate}, {_of_peak(diagnosis, facts)}{part}."]


def _of_peak(diagnosis: Diagnosis, facts: ComputeFacts) -> str:
    device = clean(diagnosis.device.name or "this device")
    if facts.mfu is None:
        return f"MFU not known: [tool.perfkit.peaks] can give the peak rates of {device}"
    if facts.mfu > 1:
        return f"more than the peak rates known for {device}, which are wrong for it"
    again = ", recomputed work included" if diagnosis.waste and diagnosis.waste.recompute else ""
    return f"MFU {_least(facts.mfu)}{again}"


def mfu_text(diagnosis: Diagnosis) -> str | None:
    """Such as "at least 41.3 %"; None where it is not known."""
    mfu = diagnosis.compute.mfu if diagnosis.compute else None
    return _least(mfu) if mfu is not None and mfu <= 1 else None


def _least(mfu: float) -> str:
    """A bound from below, for which "less than 0.1 %" would be nonsense."""
    if mfu < _SMALLEST:
        return "above 0 %"
    return f"at least {share(mfu) if mfu >= _SMALL else fine_share(mfu)}"


def rate_text(tflops: float) -> str:
    """Such as "612 TFLOP/s" or "43 GFLOP/s"."""
    if tflops < 0.9995:
        return f"{tflops * 1e3:.3g} GFLOP/s"
    return f"{tflops:.3g} TFLOP/s" if tflops < 999.5 else f"{tflops:,.0f} TFLOP/s"
