"""The GPU's hardware slows it down: a power brake, or a power draw that is too quick.

What it detects
    Samples in which the hardware holds the clock down though the GPU is not too hot
    (HwPowerBrakeSlowdown, HwSlowdown), at least a tenth under the full clock and in three
    samples or more.

Why it costs
    The core clock falls to half or less, for every kernel.

What to do
    A power brake is asserted by the system's power supplies: look at the machine's event log for
    a failed or overloaded supply, at power cables and at the rack's limit.

When not to
    A single sample may have met a change of the power state, and is not told.

References
    https://docs.nvidia.com/deploy/nvml-api/api/group__nvmlClocksEventReasons.html (reduces core
    clocks by a factor of 2 or more)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._clocks import clock_facts, held_by, is_low, lost_us, title_part
from perfkit.reports.rule import Advice, Limits

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # of the step: as XProf for the host
AUDIENCE = "infrastructure"
_FEWEST_SAMPLES = 3  # one may be a change of the power state, as nvml.h says


def check(diagnosis: Diagnosis) -> Advice | None:
    """Clocks that the hardware held down for other reasons than heat."""
    held = held_by(diagnosis, "hardware")
    if held is None or held.samples < _FEWEST_SAMPLES or not is_low(diagnosis, held):
        return None
    brake = "HwPowerBrakeSlowdown" in held.reasons
    why = "an external power brake" if brake else "its hardware"
    return Advice(
        title=f"The GPU is slowed down by {why}: it {title_part(diagnosis, held)}",
        cause="clocks",
        cost_us=lost_us(diagnosis, held),
        limits=LIMITS,
        evidence=clock_facts(diagnosis, held),
        remedy=Remedy(
            text=(
                "Look at power supplies, cables and the rack's power limit: the machine's event "
                "log names the supply."
            ),
            snippet="nvidia-smi -q -d PERFORMANCE,POWER\nipmitool sel list | grep -i power",
            applies_to="NVIDIA GPUs",
        ),
        places=[],
    )
