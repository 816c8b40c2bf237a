"""DDP copies every reduced gradient back out of its bucket.

What it detects
    The reducer's copies from buckets to gradients (copy_bucket_to_grad), which it makes where
    gradient_as_bucket_view is off. Charged is their GPU time and the idle time for which the host
    was making them.

Why it costs
    Each parameter costs a launch and a read and a write of its gradient at the end of the
    backward pass, and the gradients exist twice.

What to do
    gradient_as_bucket_view=True makes gradients views of the buckets: no copy, and as many bytes
    of memory less as the gradients have.

When not to
    Code that calls detach_() on gradients, or replaces them, breaks with views: zero_grad is
    fine. With a communication hook the reducer may copy nonetheless.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
    https://github.com/pytorch/pytorch/blob/main/torch/csrc/distributed/c10d/reducer.cpp
    (finalize_bucket_dense)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for other idle time; XProf's 5 and 20
_REMEDY = Remedy(
    text="Let gradients be views of the buckets.",
    snippet="DistributedDataParallel(model, gradient_as_bucket_view=True)",
    applies_to="DDP",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Copies from buckets to gradients."""
    copies = diagnosis.collective_facts.bucket_copies if diagnosis.collective_facts else None
    if copies is None:
        return None
    cost = copies.kernel_us + copies.idle_us
    return Advice(
        title=(
            f"DDP copies {count(copies.count_per_step)} gradients out of its buckets per step, "
            f"which takes {of_step(diagnosis, cost)}"
        ),
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{time_us(copies.kernel_us)} of GPU time per step", copies.kernel_us, "us/step"),
            fact(f"the GPU idles {time_us(copies.idle_us)} per step while the host makes them; "
                 f"they hold its thread for {time_us(copies.host_us)}",
                 copies.idle_us, "us/step"),
        ],
        remedy=_REMEDY,
        places=[],
    )  # fmt: skip
