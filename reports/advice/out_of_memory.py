"""The run ended because the GPU's memory did.

What it detects
    A run that OutOfMemoryError ended, or a trace with an [OutOfMemory] event (profile_memory=True)
    after which nothing was allocated, and what the allocator had come to by then: memory that had
    grown all the while, a request larger than the GPU, one no larger than what lay reserved in
    pieces, memory that others hold, or simply more than the GPU has.

Why it costs
    All work since the last checkpoint is lost, on every rank of the job.

What to do
    Follow what the numbers show. Growth is a leak: find what keeps tensors. Scattered blocks:
    let segments expand. One huge request: compute it in parts. Else need less: a smaller
    micro-batch with gradient accumulation, activation checkpointing, a sharded optimizer.

When not to
    If the script catches the error to try another batch size, the run goes on and this is silent.
    Where another process holds memory of the same GPU, end that one first. What is reserved and
    not in use need not be one block, and a part of the GPU's memory is the driver's.

References
    https://docs.pytorch.org/docs/stable/notes/cuda.html (memory management)
    https://docs.pytorch.org/docs/stable/torch_cuda_memory.html (snapshots of what is allocated)
    https://docs.pytorch.org/docs/stable/checkpoint.html (activation checkpointing)
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._memory import (
    expands,
    failure,
    is_fragmented,
    leaks,
    peaks,
    ran_out,
    retries,
    snippet,
    why_failed,
)
from perfkit.reports.advice._memory_remedies import held_by_others, need_less, too_large
from perfkit.reports.format import plural, size
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # no time measures it


def check(diagnosis: Diagnosis) -> Advice | None:
    """The end of a run, explained by the allocator's last numbers."""
    memory, run = diagnosis.memory, diagnosis.run
    if not ran_out(diagnosis):
        return None
    return Advice(
        title=_title(diagnosis),
        cause="memory",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[
            *([fact(f"the run ended by {run.error}")] if run else []),
            *failure(diagnosis),
            *peaks(diagnosis),
            *(retries(memory) if memory else []),
        ],
        remedy=_remedy(diagnosis),
        places=[],
        severity="critical",
    )


def _title(diagnosis: Diagnosis) -> str:
    memory, run = diagnosis.memory, diagnosis.run
    failed = memory.failed if memory else None
    asked = f": there was no room for {size(failed.asked_bytes)} more" if failed else ""
    if run is None:
        return f"The recording ends out of GPU memory{asked}"
    after = f" after {plural(run.steps.total, 'step')}" if run.steps and run.steps.total else ""
    return f"The run ended out of GPU memory{after}{asked}"


def _remedy(diagnosis: Diagnosis) -> Remedy:
    memory, why = diagnosis.memory, why_failed(diagnosis)
    if memory is not None and leaks(memory):
        grown = size(memory.grown_bytes)
        return Remedy(
            text=(
                f"What stays allocated grew by {grown} over {memory.grown_steps} steps: find what "
                "keeps tensors from step to step, such as losses that are summed up with their "
                "graph (see perfkit explain memory-leak)."
            ),
            snippet="running += loss.detach()  # not: running += loss",
            applies_to="PyTorch",
        )
    if why in ("too large", "held by others"):
        return too_large() if why == "too large" else held_by_others()
    if (why == "in pieces" or is_fragmented(diagnosis)) and not expands(diagnosis):
        return Remedy(
            text=(
                "All that was needed at once would have fit, in scattered blocks it did not: let "
                "the allocator's segments expand."
            ),
            snippet=snippet(diagnosis),
            applies_to="PyTorch",
        )
    return need_less(diagnosis)
