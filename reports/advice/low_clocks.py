"""The GPU's clock is set, or stays, well under what it can run at.

What it detects
    A GPU at work whose SM clock is at least a tenth under its highest: because application clocks
    or a sync boost group hold it (ApplicationsClocksSetting, SyncBoost), or while the driver
    names no reason, as with clocks that were locked: the latter only on GPUs of data centers, for
    the highest clock that others name is one that boost seldom keeps.

Why it costs
    Kernels that compute follow the SM clock. The cost is what they could gain at most.

What to do
    Undo the setting: reset application clocks and locked clocks.

When not to
    Clocks are locked on purpose for benchmarks that must repeat, and to save energy.

References
    https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
    https://docs.nvidia.com/deploy/nvml-api/api/group__nvmlDeviceCommands.html (reset of
    application clocks and of locked clocks)
"""

from __future__ import annotations

import re

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._clocks import LOW_SHARE, at_most_us, held_by
from perfkit.reports.format import count, share
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # of the step: as XProf for the host
AUDIENCE = "infrastructure"
_BUSY_SHARE = 0.90  # utilized less, a GPU may let its clock fall by itself
_BOOSTS_BEYOND = re.compile(r"GeForce|RTX|TITAN|Quadro|Laptop", re.IGNORECASE)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Clocks under the GPU's highest by a setting, or without a reason."""
    highest = diagnosis.setup.sm_clock_limit_mhz if diagnosis.setup else None
    found = _by_setting(diagnosis) or _without_reason(diagnosis)
    if found is None or highest is None or found[1] >= LOW_SHARE * highest:
        return None
    part, clock, why = found
    return Advice(
        title=f"The GPU runs at {count(round(clock))} of {count(highest)} MHz, held by {why}",
        cause="clocks",
        cost_us=at_most_us(diagnosis, part, clock, highest),
        limits=LIMITS,
        evidence=_facts(part, clock, highest),
        remedy=Remedy(
            text="Reset the application clocks and the locked clocks of this GPU.",
            snippet="sudo nvidia-smi -rac   # application clocks\nsudo nvidia-smi -rgc   # locked",
            applies_to="NVIDIA GPUs",
        ),
        places=[],
    )


def _by_setting(diagnosis: Diagnosis) -> tuple[float, float, str] | None:
    """Share of the time, clock in MHz, and what holds it."""
    held = held_by(diagnosis, "setting")
    if held is None:
        return None
    boost = held.reasons == ["SyncBoost"]
    return held.share, held.clock_mhz, "a sync boost group" if boost else "application clocks"


def _without_reason(diagnosis: Diagnosis) -> tuple[float, float, str] | None:
    clocks, name = diagnosis.clocks, diagnosis.device.name
    if clocks is None or clocks.free_clock_mhz is None:
        return None
    if name is None or _BOOSTS_BEYOND.search(name):
        return None
    if (clocks.free_utilization or 0.0) < _BUSY_SHARE:
        return None
    return clocks.free_samples / clocks.samples, clocks.free_clock_mhz, "no reason that is told"


def _facts(part: float, clock: float, highest: float) -> list[Evidence]:
    under = 1 - clock / highest
    return [
        fact(f"{share(under)} under the highest clock of this GPU", under, "share"),
        fact(f"in {share(part)} of the samples at work", part, "share"),
    ]
