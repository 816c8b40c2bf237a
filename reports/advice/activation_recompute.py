"""The backward pass runs layers a second time.

What it detects
    Layers (convolution, linear, normalization, attention) that run inside of an evaluated backward
    function, and the time of all kernels between the first and the last of them: activation
    checkpointing, which keeps the input of a block and computes the rest again. Silent where the
    run's record shows that the GPU's memory is full.

Why it costs
    What is recomputed takes about as long as it took in the forward pass: a quarter of the FLOPs of
    a training step where everything is checkpointed.

What to do
    Checkpoint only as much as memory asks for: fewer blocks, or in each block only what is cheap
    to compute and large to keep (selective checkpointing keeps the products).

When not to
    Where the memory is needed: for the batch, the sequence, or the model itself. It is the price
    of that memory, not a fault.

References
    https://docs.pytorch.org/docs/stable/checkpoint.html
    https://pytorch.org/blog/activation-checkpointing-techniques/
    https://arxiv.org/abs/2205.05198 (selective recomputation)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import CHANCE, of_compute
from perfkit.reports.advice._memory import FULL_SHARE, available, peaks
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = CHANCE  # a price that was chosen


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of kernels that ran before in the forward pass."""
    found = diagnosis.waste.recompute if diagnosis.waste else None
    if found is None or _is_full(diagnosis):
        return None
    cost = of_compute(diagnosis, found.total_us)
    return Advice(
        title=f"Activation checkpointing computes layers again for {of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{count(found.count_per_step)} kernels per step run in layers inside of the "
                 f"backward pass, {time_us(found.total_us)}", found.total_us, "us/step"),
            *peaks(diagnosis)[:1],
        ],
        remedy=_MEGATRON if "Megatron-LM" in diagnosis.framework.parallelism else _PYTORCH,
        places=[],
    )  # fmt: skip


def _is_full(diagnosis: Diagnosis) -> bool:
    memory, there = diagnosis.memory, available(diagnosis)
    return bool(memory and there and memory.peak_allocated_bytes >= FULL_SHARE * there)


_PYTORCH = Remedy(
    text=(
        "Where memory is left, checkpoint fewer blocks, or let each keep its matrix products and "
        "compute only the rest again (create_selective_checkpoint_contexts, PyTorch 2.4)."
    ),
    snippet=(
        "from torch.utils.checkpoint import checkpoint\n"
        "for i, block in enumerate(blocks):\n"
        "    x = checkpoint(block, x, use_reentrant=False) if i % 2 else block(x)"
    ),
    applies_to="torch.utils.checkpoint",
)
_MEGATRON = Remedy(
    text=(
        "Where memory is left, recompute the core of attention alone, or fewer layers: "
        "--recompute-num-layers with --recompute-method block."
    ),
    snippet="--recompute-granularity selective",
    applies_to="Megatron-LM",
)
