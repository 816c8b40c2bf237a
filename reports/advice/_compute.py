"""What rules on kernels share."""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis
from perfkit.reports.rule import Limits

FAULT = Limits(warning_share=0.05, critical_share=0.20)  # as for input: XProf's 5 and 20 %
CHANCE = Limits(warning_share=math.inf, critical_share=math.inf)  # never more than information
REACHABLE = 0.8  # of the peak rates: what the best GEMMs reach on A100 to B200, ml-engineering


def of_compute(diagnosis: Diagnosis, us: float) -> float:
    """A kernel time, at most the time the step spends computing: streams may overlap."""
    return min(us, diagnosis.breakdown_us.compute)


def is_amd(diagnosis: Diagnosis) -> bool:
    """Whether the GPU is known to be AMD's."""
    return "AMD" in (diagnosis.device.name or "")


def engine(diagnosis: Diagnosis) -> str:
    """The engine that serves, such as "vLLM"; empty where none is known."""
    return (diagnosis.inference.engine if diagnosis.inference else None) or ""
