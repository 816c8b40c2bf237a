"""Gradients are filled with zeros instead of being dropped.

What it detects
    GPU operations launched by `Optimizer.zero_grad`: with set_to_none=True, the default since
    PyTorch 2.0, it launches none.

Why it costs
    Every gradient is written once with zeros and read again by the first backward pass, which
    then adds to it instead of storing its result. Told are the filling and the idle time in which
    the GPU waits for its launches, which launch-bound does not count.

What to do
    zero_grad(set_to_none=True), or no argument since PyTorch 2.0.

When not to
    Code that reads .grad between zero_grad and backward, CUDA graphs that need gradients to keep
    their place, or a parameter that must stay in the optimizer's step without a gradient.

References
    https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (set gradients to None)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import FAULT
from perfkit.reports.advice._launches import HOST, zeroing_us
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = FAULT


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of what zero_grad launches, and what the GPU waits for it."""
    found = diagnosis.waste.zeroing if diagnosis.waste else None
    if found is None:
        return None
    parts = diagnosis.breakdown_us
    filling, idle = min(found.total_us, parts.compute + parts.copy), zeroing_us(diagnosis)
    cost = filling + idle
    host = max(HOST, key=lambda cause: diagnosis.idle_us.get(cause.value, 0.0))
    waited = f"; the GPU idles {time_us(idle)} for their launches" if idle else ""
    return Advice(
        title=f"Filling gradients with zeros takes {of_step(diagnosis, cost)}",
        cause="compute" if filling >= idle else host,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"zero_grad launches {count(found.count_per_step)} GPU operations per step, "
                 f"{time_us(found.total_us)}{waited}", cost, "us/step")
        ],
        remedy=Remedy(
            text=(
                "Drop gradients instead of filling them. PyTorch does so by itself since 2.0, "
                "where the call must have asked for zeros (set_to_none=False)."
            ),
            snippet="optimizer.zero_grad(set_to_none=True)",
            applies_to="torch.optim",
        ),
        places=[],
    )  # fmt: skip
