"""What rules say of an optimizer that is not fused: what torch.optim offers, and from when on."""

from __future__ import annotations

from perfkit.model.compute_facts import OptimizerFacts
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import fact

FUSED_SINCE = {"Adam": "2.0", "AdamW": "2.0", "SGD": "2.3"}  # fused=True on GPUs, by PyTorch
_MOST_SHARE = 0.5


def holds_the_gpu_up(diagnosis: Diagnosis, idle_us: float) -> OptimizerFacts | None:
    """The optimizer, where most of this idle time passes while its launches come one by one."""
    found = diagnosis.waste.optimizer if diagnosis.waste else None
    if found is None or found.form == "fused" or found.idle_us <= _MOST_SHARE * idle_us:
        return None
    return found


def launches_fact(found: OptimizerFacts) -> Evidence:
    """How long the GPU idles for it, and for how many kernels."""
    text = (
        f"{time_us(found.idle_us)} of it per step while the host is in the optimizer ({found.form})"
        f", which launches {count(found.kernels_per_step)} kernels"
    )
    return fact(text, found.idle_us, "us/step")


def fused(name: str) -> Remedy:
    """The fused form of one of torch.optim's optimizers in FUSED_SINCE."""
    return Remedy(
        text="Use the fused form: a few kernels update all parameters, each read and written once.",
        snippet=f"optimizer = torch.optim.{name}(model.parameters(), ..., fused=True)",
        applies_to=f"PyTorch {FUSED_SINCE[name]} and newer",
    )


def fewer_launches(name: str, found: OptimizerFacts) -> Remedy:
    """What makes this optimizer launch less."""
    if name in FUSED_SINCE:
        return fused(name)
    foreach = "set foreach=True where it has that, or " if found.form == "for-loop" else ""
    return Remedy(
        text=f"Let a few kernels update all parameters: {foreach}compile the optimizer's step.",
        snippet="step = torch.compile(optimizer.step)  # and call step() in place of it",
        applies_to="PyTorch 2.2 and newer",
    )
