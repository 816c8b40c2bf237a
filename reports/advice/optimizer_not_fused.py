"""The optimizer goes through the parameters many times.

What it detects
    Kernels launched inside of `Optimizer.step` of Adam, AdamW or SGD with momentum that are not a
    fused optimizer's: one kernel for each operation and parameter (for-loop), or one for each
    operation and group (foreach). Told is kernel time. Where waiting for its launches costs more,
    launch-bound tells it, with the same remedy, and this rule is silent.

Why it costs
    An optimizer is limited by memory. Adam written as single operations moves at least 18 tensors
    of the parameters' size (lerp 3, mul 2, addcmul 3, sqrt 2, div 2, add 2, addcdiv 4), SGD with
    momentum 8 (mul 2, add 3, add 3); fused, 7 and 5 are left: what is read and written once.

What to do
    fused=True, for Adam and AdamW since PyTorch 2.0, for SGD since 2.3.

When not to
    SGD without momentum moves the same in each form. Optimizers that torch.optim cannot fuse on
    GPUs are left out: foreach=True, the default there, spares them launches, not traffic. Sharded
    optimizers (ZeRO, FSDP) have less to move on each GPU.

References
    https://docs.pytorch.org/docs/stable/optim.html (for-loop, foreach and fused; how fast each is)
    https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html
    https://github.com/pytorch/pytorch/blob/main/torch/optim/adam.py (its single operations)
"""

from __future__ import annotations

from perfkit.model.compute_facts import OptimizerFacts
from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.reports.advice._compute import CHANCE, of_compute
from perfkit.reports.advice._launches import launching_us
from perfkit.reports.advice._optimizer import fused, holds_the_gpu_up
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = CHANCE
_LEFT = {"Adam": 7 / 18, "AdamW": 7 / 18, "SGD": 5 / 8}  # of the traffic; see Why it costs
_NEEDS = {"Adam": "addcdiv", "AdamW": "addcdiv", "SGD": "mul"}  # SGD: its momentum


def check(diagnosis: Diagnosis) -> Advice | None:
    """Memory traffic that a fused optimizer would not make."""
    found = diagnosis.waste.optimizer if diagnosis.waste else None
    name = diagnosis.framework.optimizer or ""
    if found is None or found.form == "fused" or _NEEDS.get(name) not in found.operators:
        return None
    cost = of_compute(diagnosis, found.total_us * (1 - _LEFT[name]))
    if found.idle_us > cost and holds_the_gpu_up(diagnosis, launching_us(diagnosis)):
        return None
    return Advice(
        title=f"The {found.form} optimizer moves parameters for {of_step(diagnosis, cost)} that a "
        "fused one would not take",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[_evidence(name, found)],
        remedy=fused(name),
        places=[],
    )


def _evidence(name: str, found: OptimizerFacts) -> Evidence:
    text = (
        f"{name} launches {count(found.kernels_per_step)} kernels per step, "
        f"{time_us(found.total_us)}: {', '.join(found.operators)} one by one"
    )
    return fact(text, found.total_us, "us/step")
