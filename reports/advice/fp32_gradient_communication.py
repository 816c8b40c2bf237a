"""Gradients travel in 32 bits, though the model computes in 16.

What it detects
    Reductions of float32 gradients of at least 1 MiB, where most matrix kernels run in 16 bits or
    fewer. Charged is half of what they show: half the bytes take half the time, where the link
    is the limit.

Why it costs
    With autocast, parameters and so gradients stay in 32 bits, and each step sends twice the
    bytes that bfloat16 would.

What to do
    Reduce in bfloat16: DDP's bf16_compress_hook, reduce_dtype of FSDP, communication_data_type of
    DeepSpeed, --grad-reduce-in-bf16 of Megatron-LM.

When not to
    Sums over many ranks lose digits in bfloat16 (8 bits of mantissa): 32 bits are the careful
    choice, which Megatron-LM makes by default. Compare the loss curves of a short run. Where
    ranks wait for a late one, or messages are small, fewer bytes return nothing.

References
    https://docs.pytorch.org/docs/stable/ddp_comm_hooks.html
    https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html (MixedPrecisionPolicy)
    https://www.deepspeed.ai/docs/config-json/ (communication_data_type)
"""

from __future__ import annotations

import math

from perfkit.model.communication_facts import CommunicationFacts, Messages
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._communication import message_fact, of_framework
from perfkit.reports.format import share
from perfkit.reports.rule import Advice, Limits, fact, of_step

# A trade of digits for time is never critical; the share is that of exposed communication.
LIMITS = Limits(warning_share=0.10, critical_share=math.inf)
_LARGE_BYTES = 2**20  # below, latency decides and not bytes
_MOSTLY_LOW = 0.5  # of the time in matrix kernels
_SAVED = 0.5
_REDUCTIONS = ("all_reduce", "reduce_scatter", "reduce")
_MOST = 3

_REMEDIES = {
    "DeepSpeed": Remedy(
        text="Reduce gradients in bfloat16.",
        snippet='"communication_data_type": "bf16"',
        applies_to="DeepSpeed",
    ),
    "Megatron-LM": Remedy(
        text="Reduce gradients in bfloat16.",
        snippet="--bf16 --grad-reduce-in-bf16",
        applies_to="Megatron-LM",
    ),
    "FSDP2": Remedy(
        text="Reduce gradients in bfloat16.",
        snippet=(
            "fully_shard(block, mp_policy=MixedPrecisionPolicy(\n"
            "    param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16))"
        ),
        applies_to="FSDP2 (fully_shard)",
    ),
    "FSDP1": Remedy(
        text="Reduce gradients in bfloat16.",
        snippet=(
            "FSDP(model, mixed_precision=MixedPrecision(\n"
            "    param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16))"
        ),
        applies_to="FSDP1",
    ),
    "DDP": Remedy(
        text="Compress gradients to bfloat16 for the reduction alone (NCCL newer than 2.9.6).",
        snippet=(
            "from torch.distributed.algorithms.ddp_comm_hooks import default_hooks\n"
            "model.register_comm_hook(None, default_hooks.bf16_compress_hook)"
        ),
        applies_to="DDP",
    ),
}
_UNKNOWN = Remedy(
    text="Cast gradients to bfloat16 before they are reduced, and back afterwards.",
    snippet="small = grad.bfloat16(); dist.all_reduce(small); grad.copy_(small)",
    applies_to="torch.distributed",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Float32 gradients beside 16-bit computation."""
    facts, low = diagnosis.collective_facts, diagnosis.framework.low_precision_share
    sent = _gradients(facts) if facts else []
    if not sent or low is None or low < _MOSTLY_LOW:
        return None
    shown = min(sum(m.exposed_us for m in sent), diagnosis.breakdown_us.communication)
    return Advice(
        title=(
            f"Gradients are reduced in 32 bits, which costs {of_step(diagnosis, _SAVED * shown)} "
            "more than 16 bits would"
        ),
        cause="communication",
        cost_us=_SAVED * shown,
        limits=LIMITS,
        evidence=[
            *map(message_fact, sent[:_MOST]),
            fact(f"{share(low)} of the matrix kernels' time is in 16 bits or fewer", low, "share"),
        ],
        remedy=of_framework(diagnosis, _REMEDIES) or _UNKNOWN,
        places=[],
    )


def _gradients(facts: CommunicationFacts) -> list[Messages]:
    return [
        message
        for message in facts.messages
        if message.phase in ("backward", "after backward")
        and message.family in _REDUCTIONS
        and message.dtype.lower() == "float"
        and message.bytes >= _LARGE_BYTES
    ]
