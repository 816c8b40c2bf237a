"""A power limit below the GPU's default holds its clock down.

What it detects
    Samples in which the power limit holds the clock (SwPowerCap) at least a tenth under the full
    one, where somebody has set that limit below the GPU's default.

Why it costs
    Kernels that compute follow the SM clock, which falls until the power fits.

What to do
    Set the limit back to the default, if power and cooling of the machine allow it.

When not to
    At the default limit this is normal: large matrix products draw all the power there is, and
    nothing is told. Sites cap power on purpose, to save energy or because the rack allows no more.

References
    https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html (SwPowerCap)
    https://docs.nvidia.com/deploy/nvidia-smi/index.html (power limit)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._clocks import clock_facts, held_by, is_low, lost_us, title_part
from perfkit.reports.format import count
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # of the step: as XProf for the host
AUDIENCE = "infrastructure"
_LOWERED_SHARE = 0.99  # of the default; what is read is rounded


def check(diagnosis: Diagnosis) -> Advice | None:
    """Clocks that a lowered power limit held down."""
    held, setup = held_by(diagnosis, "power"), diagnosis.setup
    if held is None or setup is None or not is_low(diagnosis, held):
        return None
    limit, default = setup.power_limit_w, setup.power_limit_default_w
    if limit is None or default is None or limit >= _LOWERED_SHARE * default:
        return None
    return Advice(
        title=(
            f"A power limit of {count(limit)} W, below the default of {count(default)} W, holds "
            f"the GPU down: it {title_part(diagnosis, held)}"
        ),
        cause="clocks",
        cost_us=lost_us(diagnosis, held),
        limits=LIMITS,
        evidence=[*clock_facts(diagnosis, held), *_drawn(held.power_w)],
        remedy=Remedy(
            text="Set the power limit back to its default, if the rack's power and cooling allow.",
            snippet=f"sudo nvidia-smi -pl {default:.0f}",
            applies_to="NVIDIA GPUs",
        ),
        places=[],
    )


def _drawn(power_w: float | None) -> list[Evidence]:
    return [fact(f"it drew {count(round(power_w))} W then", power_w, "W")] if power_w else []
