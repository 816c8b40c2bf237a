"""The settings that hide communication, by framework and by what keeps it from being hidden."""

from __future__ import annotations

from perfkit.model.diagnosis import Remedy
from perfkit.reports.advice._communication import Remedies

BY_FRAMEWORK: Remedies = {
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
            "--overlap-param-gather; with tensor parallelism --tp-comm-overlap, and before "
            "Blackwell CUDA_DEVICE_MAX_CONNECTIONS=1 (not with FSDP)."
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
}
UNKNOWN = Remedy(
    text=(
        "Start collectives as soon as their data is ready, on a stream of their own, and wait for "
        "them only where the result is used."
    )
)
SEND_LESS: Remedies = {
    "DeepSpeed": Remedy(
        text="", snippet='"gradient_accumulation_steps": 4, "communication_data_type": "bf16"',
        applies_to="DeepSpeed",
    ),
    "Megatron-LM": Remedy(
        text="", snippet="--grad-reduce-in-bf16 --global-batch-size 1024", applies_to="Megatron-LM"
    ),
    "FSDP2": Remedy(
        text="", snippet="model.set_requires_gradient_sync(is_last_micro_batch)",
        applies_to="FSDP2 (fully_shard)",
    ),
    "FSDP1": Remedy(
        text="", snippet="with model.no_sync():  # in all micro-batches but the last",
        applies_to="FSDP1",
    ),
    "DDP": Remedy(
        text="",
        snippet=(
            "with model.no_sync():  # in all micro-batches but the last, forward included\n"
            "    loss_of(model(batch)).backward()"
        ),
        applies_to="DDP",
    ),
}  # fmt: skip
TO_ALL = Remedy(
    text=(
        "Most of it is an exchange between ranks (all-to-all or send/receive), which ends when the "
        "last rank arrives: compare the ranks first, then overlap it with independent computation."
    ),
    snippet="work = dist.all_to_all_single(out, inp, async_op=True)  # compute; then work.wait()",
    applies_to="torch.distributed",
)
LATE = Remedy(
    text=(
        "Gradients are reduced after the backward pass: reduce them in buckets while it runs, as "
        "DistributedDataParallel does."
    ),
    snippet="model = DistributedDataParallel(model, gradient_as_bucket_view=True)",
    applies_to="torch.distributed",
)
UPDATE = Remedy(
    text=(
        "The optimizer's step communicates (a sharded optimizer gathers what it updated): gather "
        "bucket by bucket while the next forward pass begins, with async_op=True and a wait "
        "before each layer."
    ),
    snippet="work = dist.all_gather_into_tensor(full, shard, async_op=True)  # wait() when used",
    applies_to="torch.distributed",
)
BUFFERS = Remedy(
    text=(
        "DDP broadcasts the module's buffers before each forward pass: turn that off where they "
        "need not agree between steps (running statistics of BatchNorm stay those of each rank)."
    ),
    snippet="DistributedDataParallel(model, broadcast_buffers=False)",
    applies_to="DDP",
)
FEWER_GPUS = Remedy(
    text=(
        "The collectives of tensor parallelism run between the kernels that need them: use as few "
        "GPUs per replica as the memory allows, or a kernel that fuses the all-reduce with the "
        "normalization behind it."
    )
)
ASYNC = Remedy(
    text=(
        "The collectives run on the stream that computes, where nothing can run beside them: "
        "start them with async_op=True, which gives them a stream of their own, and wait where "
        "the result is used."
    ),
    snippet="work = dist.all_reduce(tensor, async_op=True)  # compute; then work.wait()",
    applies_to="torch.distributed",
)
