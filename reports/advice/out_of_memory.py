"""The run ended because the GPU's memory did.

What it detects
    A recorded run that OutOfMemoryError ended, and what its allocator had come to by then: memory
    that had grown all the while, blocks too scattered to serve a large request, or simply more
    than the GPU holds, with the phase that needed most.

Why it costs
    All work since the last checkpoint is lost, on every rank of the job.

What to do
    Follow what the numbers show. Growth is a leak: find what keeps tensors. Scattered blocks:
    let segments expand. Else need less: a smaller micro-batch with gradient accumulation,
    activation checkpointing, bfloat16, a sharded optimizer (FSDP, ZeRO).

When not to
    If the script catches the error to try another batch size, the run goes on and this is silent.
    Where another process holds memory of the same GPU, end that one first.

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
    is_fragmented,
    leaks,
    peaks,
    ran_out,
    retries,
    snippet,
)
from perfkit.reports.format import plural, size
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # no time measures it
_CHECKPOINTING = (
    "from torch.utils.checkpoint import checkpoint\n"
    "x = checkpoint(block, x, use_reentrant=False)  # one more forward of the block, less memory"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """The end of a run, explained by the allocator's last numbers."""
    memory = diagnosis.memory
    if not ran_out(diagnosis):
        return None
    steps = diagnosis.run.steps.total if diagnosis.run and diagnosis.run.steps else None
    after = f" after {plural(steps, 'step')}" if steps else ""
    return Advice(
        title=f"The run ended out of GPU memory{after}",
        cause="memory",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[
            fact(f"the run ended by {diagnosis.run.error if diagnosis.run else None}"),
            *peaks(diagnosis),
            *(retries(memory) if memory else []),
        ],
        remedy=_remedy(diagnosis),
        places=[],
        severity="critical",
    )


def _remedy(diagnosis: Diagnosis) -> Remedy:
    memory = diagnosis.memory
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
    if is_fragmented(diagnosis) and not expands(diagnosis):
        return Remedy(
            text=(
                "All that was needed at once would have fit, in scattered blocks it did not: let "
                "the allocator's segments expand."
            ),
            snippet=snippet(diagnosis),
            applies_to="PyTorch",
        )
    return _need_less(diagnosis)


def _need_less(diagnosis: Diagnosis) -> Remedy:
    phases = diagnosis.memory.peak_by_phase_bytes if diagnosis.memory else {}
    if phases and max(phases, key=lambda phase: phases[phase]) == "optimizer":
        return Remedy(
            text=(
                "Most is needed in the optimizer's step: shard its state over the ranks (FSDP, "
                "ZeRO), or use fused=True, which needs no temporary copies as foreach does."
            ),
            snippet="optimizer = torch.optim.AdamW(model.parameters(), fused=True)",
            applies_to="PyTorch",
        )
    return Remedy(
        text=(
            "Halve the micro-batch and accumulate gradients over two, checkpoint activations of "
            "the large blocks, or shard the model (FSDP); bfloat16 halves activations."
        ),
        snippet=_CHECKPOINTING,
        applies_to="PyTorch",
    )
