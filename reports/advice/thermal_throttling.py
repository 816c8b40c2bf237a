"""The GPU is too hot and slows itself down.

What it detects
    Samples in which the driver or the hardware holds the clock down for heat (SwThermalSlowdown,
    HwThermalSlowdown), and how much longer kernels of the same names took meanwhile than while
    nothing held the clock, on one time line.

Why it costs
    Kernels that compute follow the SM clock. In a distributed job every rank waits for the
    hottest GPU in each collective.

What to do
    Look for blocked air flow, failed fans, a hot inlet or a bad cold plate; compare the node's
    other GPUs; take the node out of the pool if it stays hot. Until then a lower power limit
    keeps the clock even.

When not to
    A short rise when a job starts after a long pause. Memory may be too hot while the GPU is not:
    see both temperatures.

References
    https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
    https://docs.nvidia.com/deploy/nvidia-smi/index.html
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._clocks import clock_facts, held_by, is_low, lost_us, title_part
from perfkit.reports.format import count
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # of the step: as XProf for the host
AUDIENCE = "infrastructure"


def check(diagnosis: Diagnosis) -> Advice | None:
    """Clocks that heat held down."""
    held = held_by(diagnosis, "heat")
    if held is None or not is_low(diagnosis, held):
        return None
    hottest = held.temperature_max_c
    heat = [fact(f"{count(hottest)} C at the hottest", hottest, "C")] if hottest else []
    return Advice(
        title=f"The GPU is too hot: it {title_part(diagnosis, held)}",
        cause="clocks",
        cost_us=lost_us(diagnosis, held),
        limits=LIMITS,
        evidence=[*clock_facts(diagnosis, held), *heat],
        remedy=Remedy(
            text=(
                "Cool it: check fans, air flow and inlet temperature, and take the node out of "
                "the pool if this GPU stays hotter than its neighbours."
            ),
            snippet="nvidia-smi -q -d TEMPERATURE,PERFORMANCE",
            applies_to="NVIDIA GPUs",
        ),
        places=[],
    )
