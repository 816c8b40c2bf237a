"""Many small messages: each costs its latency, and none fills the link.

What it detects
    At least 25 collectives per step that reduce or gather gradients and parameters and are below
    1 MiB each (or, where sizes are not told, shorter than the 46 us that 1 MiB takes on eight
    H200). Counted are their exposed time and idle time while the host launches them.

Why it costs
    A collective takes tens of microseconds on the GPU and about as many on the host, whatever it
    carries: at 1 MiB, eight H200 reach a twelfth of the bandwidth they have at 1 GiB.

What to do
    Put gradients into buckets: DDP does (25 MiB); a loop over parameters with all_reduce does
    not. Shard larger units with FSDP, raise bucket sizes and persistence thresholds in DeepSpeed.

When not to
    Collectives between layers (tensor parallelism) depend on one another and cannot be merged:
    those of the forward pass are not counted, but those of the backward pass are. Where all of it
    is hidden, merging returns nothing.

References
    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md
    https://github.com/stas00/ml-engineering/blob/master/network/README.md (40 GB/s at 1 MiB, 480
    at 16 GiB; 4 MB payloads against one of 4 GB)
    https://docs.pytorch.org/docs/stable/notes/ddp.html (buckets)
"""

from __future__ import annotations

import math

from perfkit.model.communication_facts import SmallCollectives
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._communication import of_framework
from perfkit.reports.format import count, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # as for exposed communication
_BUCKET_BYTES = 25 * 2**20  # DDP's default bucket_cap_mb
_FEWEST = 25  # of 1 MiB each, which one default bucket would hold

_REMEDIES = {
    "DeepSpeed": Remedy(
        text=(
            "Let small parameters stay whole and gather more at once: raise "
            "stage3_param_persistence_threshold (1e5 elements) and stage3_prefetch_bucket_size, "
            "and leave reduce_bucket_size at 5e8."
        ),
        snippet=(
            '"zero_optimization": {"stage3_param_persistence_threshold": 1e6,\n'
            '                      "stage3_prefetch_bucket_size": 5e8}'
        ),
        applies_to="DeepSpeed",
    ),
    "Megatron-LM": Remedy(
        text="Raise --ddp-bucket-size (at least 40e6 elements by default).",
        snippet="--ddp-bucket-size 40000000",
        applies_to="Megatron-LM",
    ),
    "FSDP2": Remedy(
        text="Call fully_shard on whole transformer blocks, not on the layers inside of them.",
        snippet="for block in model.layers:\n    fully_shard(block)\nfully_shard(model)",
        applies_to="FSDP2 (fully_shard)",
    ),
    "FSDP1": Remedy(
        text="Wrap whole transformer blocks, not the layers inside of them.",
        snippet="auto_wrap_policy=ModuleWrapPolicy({TransformerBlock})",
        applies_to="FSDP1",
    ),
    "DDP": Remedy(
        text="Raise bucket_cap_mb, and reduce what is not a gradient (metrics) every N steps.",
        snippet="DistributedDataParallel(model, bucket_cap_mb=50)  # 25 unless set",
        applies_to="DDP",
    ),
}
_UNKNOWN = Remedy(
    text=(
        "Reduce gradients in buckets of about 25 MiB instead of one by one: "
        "DistributedDataParallel does, and so does all_reduce on a flattened buffer."
    ),
    snippet=(
        "flat = torch.cat([p.grad.flatten() for p in parameters])  # of one dtype\n"
        "dist.all_reduce(flat, async_op=True)"
    ),
    applies_to="torch.distributed",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Small collectives that could be merged."""
    small = diagnosis.collective_facts.small if diagnosis.collective_facts else None
    if small is None or small.count_per_step < _FEWEST:
        return None
    left = _merged(small)
    spent = min(small.exposed_us, diagnosis.breakdown_us.communication) + small.launch_idle_us
    cost = spent * (1 - left / small.count_per_step)
    return Advice(
        title=(
            f"Small collectives cost {of_step(diagnosis, cost)}: {count(small.count_per_step)} "
            f"per step, where {_few(left)} would do"
        ),
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=_evidence(small),
        remedy=of_framework(diagnosis, _REMEDIES) or _UNKNOWN,
        places=[],
    )


def _merged(small: SmallCollectives) -> int:
    """How many buckets hold them all; where sizes are not told, each is taken to be 1 MiB."""
    total = small.bytes_per_step
    most = small.count_per_step * 2**20 if total is None else total
    return max(math.ceil(most / _BUCKET_BYTES), 1)


def _few(number: int) -> str:
    return "one bucket" if number == 1 else f"{count(number)} buckets"


def _evidence(small: SmallCollectives) -> list[Evidence]:
    told = small.bytes_per_step
    each = f" of {size(told / small.count_per_step)} each" if told is not None else ""
    return [
        fact(f"{count(small.count_per_step)} per step{each}, {time_us(small.exposed_us)} of them "
             "exposed", small.exposed_us, "us/step"),
        fact(f"the GPU idles {time_us(small.launch_idle_us)} per step while the host launches "
             "them", small.launch_idle_us, "us/step"),
    ]  # fmt: skip
