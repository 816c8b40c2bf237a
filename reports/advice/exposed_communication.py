"""The GPU communicates while nothing else runs.

What it detects
    Time in communication kernels (NCCL, RCCL and others) that no computation covers.

Why it costs
    While a collective runs alone, the GPU's arithmetic stands still. From one rank's trace the
    time spent moving data cannot be told from the time spent waiting for a late rank.

What to do
    Compare the ranks' times in the same collective first: the rank with the shortest is the
    late one. If all are long, overlap: the setting depends on the framework, and the remedy
    names it.

When not to
    If one rank is late, overlap settings change nothing: find out what that rank waits for.
    Collectives slow kernels beside them by some percent, so not all exposed time can be won.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
    https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
    https://www.deepspeed.ai/docs/config-json/ (zero_optimization); the profiler's TensorBoard
    plugin advised from 10 %, SageMaker-style tools call 30 % critical.
"""

from __future__ import annotations

import re

from perfkit.model.diagnosis import Collective, Diagnosis, Evidence, Remedy
from perfkit.reports.format import count, share, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # kineto tb_plugin: 10 %
_MOST = 3

_BY_FRAMEWORK = {
    "DeepSpeed": Remedy(
        text=(
            "Set overlap_comm for ZeRO stages 1 and 2 (stage 3 has it on) and fit "
            "reduce_bucket_size and allgather_bucket_size (default 5e8 elements) to the memory."
        ),
        snippet='"zero_optimization": {"overlap_comm": true, "reduce_bucket_size": 5e8}',
        applies_to="DeepSpeed",
    ),
    "Megatron-LM": Remedy(
        text=(
            "Turn on --overlap-grad-reduce and, with the distributed optimizer, "
            "--overlap-param-gather; with tensor parallelism --tp-comm-overlap."
        ),
        snippet="--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather",
        applies_to="Megatron-LM",
    ),
    "FSDP2": Remedy(
        text=(
            "Shard each transformer block on its own, prefetch the next ones explicitly, and where "
            "memory allows keep parameters until backward (reshard_after_forward=False)."
        ),
        snippet=(
            "for block, following in zip(blocks, blocks[1:]):\n"
            "    block.set_modules_to_forward_prefetch([following])"
        ),
        applies_to="FSDP2 (fully_shard)",
    ),
    "FSDP1": Remedy(
        text=(
            "Wrap each transformer block, keep backward_prefetch=BACKWARD_PRE, and set "
            "forward_prefetch=True when the host is the slower side."
        ),
        snippet=(
            "FSDP(model, auto_wrap_policy=policy, forward_prefetch=True,\n"
            "     backward_prefetch=BackwardPrefetch.BACKWARD_PRE)"
        ),
        applies_to="FSDP1",
    ),
    "DDP": Remedy(
        text=(
            "Gradients reduce in buckets while backward runs: try other bucket sizes "
            "(bucket_cap_mb, default 25), static_graph=True if every step runs the same graph, and "
            "no_sync() in all but the last step of gradient accumulation."
        ),
        snippet=(
            "DistributedDataParallel(model, bucket_cap_mb=100, static_graph=True,\n"
            "                        gradient_as_bucket_view=True)"
        ),
        applies_to="DDP",
    ),
    "DataParallel": Remedy(
        text="DataParallel copies the model each step: use DistributedDataParallel instead.",
        applies_to="DataParallel",
    ),
}
_UNKNOWN = Remedy(
    text=(
        "Start collectives as soon as their data is ready, on a stream of their own, and wait for "
        "them only where the result is used."
    )
)


_EXCHANGE = re.compile(r"send_?recv|all_?to_?all|\bsend\b|\brecv\b", re.IGNORECASE)
_TO_ALL = Remedy(
    text=(
        "Most of it is an exchange between ranks (all-to-all or send/receive), which ends when the "
        "last rank arrives: compare the ranks first, then overlap it with independent computation."
    ),
    snippet="work = dist.all_to_all_single(out, inp, async_op=True)  # compute; then work.wait()",
    applies_to="torch.distributed",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Exposed communication."""
    cost = diagnosis.breakdown_us.communication
    if not diagnosis.collectives:
        return None
    return Advice(
        title=f"Communication that nothing hides takes {of_step(diagnosis, cost)}",
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            *_overlap(diagnosis),
            *map(_collective, diagnosis.collectives[:_MOST]),
            _ONE_RANK,
        ],
        remedy=_remedy(diagnosis),
        places=[],
        fix="overlap",
    )


_ONE_RANK = fact("one rank's trace cannot tell moving data from waiting for a late rank")


def _overlap(diagnosis: Diagnosis) -> list[Evidence]:
    overlap = diagnosis.overlap
    if overlap is None or overlap.communication_hidden_share is None:
        return []
    text = (
        f"{time_us(overlap.communication_us)} of communication per step, "
        f"{share(overlap.communication_hidden_share)} of it behind computation"
    )
    return [fact(text, overlap.communication_hidden_share, "share")]


def _collective(entry: Collective) -> Evidence:
    moved = f" of {size(entry.bytes_per_step)}" if entry.bytes_per_step else ""
    text = (
        f"{entry.name}: {count(entry.count_per_step)} per step{moved}, {time_us(entry.total_us)}, "
        f"{time_us(entry.exposed_us)} exposed"
    )
    return fact(text, entry.exposed_us, "us/step")


def _remedy(diagnosis: Diagnosis) -> Remedy:
    if _EXCHANGE.search(max(diagnosis.collectives, key=lambda c: c.exposed_us).name):
        return _TO_ALL
    parallelism = diagnosis.framework.parallelism
    return next((r for name, r in _BY_FRAMEWORK.items() if name in parallelism), _UNKNOWN)
