"""GPU memory is in pieces: the allocator meets the limit though enough is free.

What it detects
    Allocations that failed and were retried after the cache had been freed (num_alloc_retries),
    in a run that at its peak never held more than four fifths of the GPU's memory. The rest lies
    in segments of the wrong size.

Why it costs
    A retry synchronizes with the GPU and returns every cached block to the driver, which then
    is asked for new ones: a step with a retry takes many times as long. The next larger request
    ends the run.

What to do
    Let segments grow (expandable_segments), so that blocks of any size fit; make shapes repeat
    by padding or bucketing, because each new shape asks for another size.

When not to
    Expandable segments are not for every platform, and CUDA IPC of tensors has limits with them.
    Another process on the same GPU also takes memory: perfkit counts it where NVML does.

References
    https://docs.pytorch.org/docs/stable/notes/cuda.html (memory management, PYTORCH_ALLOC_CONF;
    its example for garbage_collection_threshold is 0.8)
    https://docs.nvidia.com/nemo/megatron-bridge/nightly/skills/perf-techniques/memory-tuning/SKILL.html
    (sets expandable segments first)
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._memory import (
    expands,
    is_fragmented,
    leaks,
    peaks,
    ran_out,
    retries,
    setting,
    snippet,
)
from perfkit.reports.format import count, share
from perfkit.reports.rule import Advice, Limits, fact, idle_us, places_of

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as allocator-churn, whose time it is


def check(diagnosis: Diagnosis) -> Advice | None:
    """Retries below the limit; a leak or the run's end is told by its own rule."""
    memory = diagnosis.memory
    if memory is None or ran_out(diagnosis) or leaks(memory) or not is_fragmented(diagnosis):
        return None
    cost = idle_us(diagnosis, Cause.ALLOCATOR)
    unused = 1 - memory.peak_allocated_bytes / max(memory.peak_reserved_bytes, 1)
    times = count(memory.steady_retries or 0)
    return Advice(
        title=f"Memory in pieces made the allocator free its cache and try again {times} times",
        cause=Cause.ALLOCATOR,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            *retries(memory),
            *peaks(diagnosis),
            fact(f"{share(unused)} of what is reserved was never in use at once", unused, "share"),
        ],
        remedy=_remedy(diagnosis),
        places=places_of(diagnosis, Cause.ALLOCATOR),
        fix="allocator",
        severity=LIMITS.severity(max(cost / diagnosis.steps.mean_us, LIMITS.warning_share)),
    )


def _remedy(diagnosis: Diagnosis) -> Remedy:
    if expands(diagnosis):
        return Remedy(
            text=(
                f"Segments expand already ({setting(diagnosis)}): make shapes repeat, by padding "
                "or bucketing lengths, and do not call torch.cuda.empty_cache() in the loop."
            ),
            applies_to="PyTorch",
        )
    return Remedy(
        text="Let the allocator's segments grow, so that free blocks of any size can be used.",
        snippet=snippet(diagnosis),
        applies_to="PyTorch",
    )
