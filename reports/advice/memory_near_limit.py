"""GPU memory is at its limit.

What it detects
    Allocations that failed and were retried after the allocator had freed its cache
    (num_alloc_retries), in a run that needs more than four fifths of the memory; or a peak of
    97 % of it. From 92 % on it is told with --all.

Why it costs
    A retry synchronizes with the GPU, returns every cached block to the driver and asks for new
    ones. A longer sequence or another shape ends the run.

What to do
    Need less: a smaller micro-batch with gradient accumulation, activation checkpointing,
    bfloat16, gradients as views of DDP's buckets, a sharded optimizer.

When not to
    A peak near the limit of a run whose shapes never change is memory well used: only retries
    cost time.

References
    https://docs.pytorch.org/docs/stable/notes/cuda.html (memory management)
    https://docs.pytorch.org/docs/stable/checkpoint.html
    https://github.com/pytorch/kineto (its TensorBoard plugin advised from 90 % on); TraceML calls
    92 % pressure and 97 % critical.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._memory import (
    at_limit,
    available,
    is_fragmented,
    leaks,
    peaks,
    ran_out,
    retries,
)
from perfkit.reports.format import count, share
from perfkit.reports.rule import Advice, Limits, idle_us, places_of

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as allocator-churn, whose time it is
_PRESSURE_SHARE, _CRITICAL_SHARE = 0.92, 0.97  # TraceML


def check(diagnosis: Diagnosis) -> Advice | None:
    """Retries, or a peak that leaves nothing; leaks and fragments are told by their own rules."""
    memory, there = diagnosis.memory, available(diagnosis)
    if memory is None or there is None or ran_out(diagnosis) or leaks(memory):
        return None
    used, retried = memory.peak_allocated_bytes / there, at_limit(diagnosis)
    if is_fragmented(diagnosis) or not (retried or used >= _PRESSURE_SHARE):
        return None
    cost = idle_us(diagnosis, Cause.ALLOCATOR) if retried else 0.0
    warns = retried or used >= _CRITICAL_SHARE
    return Advice(
        title=_title(used, memory.steady_retries or 0),
        cause=Cause.ALLOCATOR if retried else "memory",
        cost_us=cost,
        limits=LIMITS,
        evidence=[*peaks(diagnosis), *retries(memory)],
        remedy=_remedy(diagnosis),
        places=places_of(diagnosis, Cause.ALLOCATOR) if retried else [],
        fix="allocator" if retried else None,
        severity=LIMITS.severity(max(cost / diagnosis.steps.mean_us, 0.05)) if warns else None,
    )


def _title(used: float, retried: int) -> str:
    if retried:
        return f"GPU memory is at its limit: {count(retried)} allocations failed and were retried"
    return f"GPU memory is {share(used)} full at its peak"


def _remedy(diagnosis: Diagnosis) -> Remedy:
    ddp = "DDP" in diagnosis.framework.parallelism
    return Remedy(
        text=(
            "Need less memory: halve the micro-batch and accumulate gradients over two, or "
            "checkpoint the activations of the large blocks"
            + ("; gradient_as_bucket_view=True saves DDP's copy of all gradients." if ddp else ".")
        ),
        snippet=(
            "model = DistributedDataParallel(model, gradient_as_bucket_view=True)"
            if ddp
            else "x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)"
        ),
        applies_to="DDP" if ddp else "PyTorch",
    )
