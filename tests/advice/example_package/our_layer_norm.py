"""Layer norms run in PyTorch's kernels, where our library has a faster one.

What it detects
    Time in PyTorch's own layer norm kernels, forward and backward.

Why it costs
    They read and write the activations on their own. Our kernel does it together with the
    residual connection, in half of the time.

What to do
    Take `our_library.LayerNorm` instead of `torch.nn.LayerNorm`.

When not to
    In compiled models, where the compiler has fused the norm already.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # our guide for training scripts
_RETURNED_SHARE = 0.5  # our benchmark of the kernel


def check(diagnosis: Diagnosis) -> Advice | None:
    """Layer norm kernels among the costliest kernels of the step."""
    found = [kernel for kernel in diagnosis.kernels if "layer_norm" in kernel.name]
    if not found or diagnosis.framework.compiled:
        return None
    cost = sum(kernel.total_us for kernel in found)
    return Advice(
        title=f"Layer norms in PyTorch's kernels take {of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        bound_us=_RETURNED_SHARE * cost,
        limits=LIMITS,
        evidence=[fact(kernel.name, kernel.total_us, "us/step") for kernel in found],
        remedy=Remedy(
            text="Take our_library.LayerNorm instead of torch.nn.LayerNorm.",
            snippet="from our_library import LayerNorm",
            applies_to="PyTorch",
        ),
        places=[],
    )
