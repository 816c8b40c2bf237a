"""What the rules on communication share: what limits overlap, and the setting that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from perfkit.model.cause import Cause
from perfkit.model.communication_facts import CommunicationFacts, Messages, Phase
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.format import count, size, time_us
from perfkit.reports.rule import fact, idle_us

Limit = Literal["same stream", "host", "volume", "few buckets", "late", "update", "forward"]
Remedies = dict[str, Remedy]

_MOSTLY = 0.5
_FEW_BUCKETS = 4
_BUCKETS = 8
_BY_PHASE: dict[Phase, Limit] = {
    "after backward": "late", "optimizer": "update", "forward": "forward",
}  # fmt: skip

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
_SEND_LESS: Remedies = {
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
_EXCHANGE = re.compile(r"send_?recv|all_?to_?all|\bsend\b|\brecv\b", re.IGNORECASE)
_TO_ALL = Remedy(
    text=(
        "Most of it is an exchange between ranks (all-to-all or send/receive), which ends when the "
        "last rank arrives: compare the ranks first, then overlap it with independent computation."
    ),
    snippet="work = dist.all_to_all_single(out, inp, async_op=True)  # compute; then work.wait()",
    applies_to="torch.distributed",
)


def of_framework(diagnosis: Diagnosis, remedies: Remedies) -> Remedy | None:
    """The remedy for the framework in the trace, the most specific first."""
    parallelism = diagnosis.framework.parallelism
    return next((r for name, r in remedies.items() if name in parallelism), None)


def limit_of(diagnosis: Diagnosis) -> Limit | None:
    """What keeps most of the exposed communication from being hidden; None where nothing shows."""
    facts, exposed = diagnosis.collective_facts, diagnosis.breakdown_us.communication
    if facts is None or not facts.phases:
        return None
    if facts.same_stream_us > _MOSTLY * exposed:
        return "same stream"
    if facts.host_late_us > _MOSTLY * exposed:
        return "host"
    phase = _main_phase(facts)
    return _of_backward(facts) if phase == "backward" else _BY_PHASE.get(phase)


def _main_phase(facts: CommunicationFacts) -> Phase:
    def exposed_us(phase: Phase) -> float:
        return sum(part.exposed_us for part in facts.phases if part.phase == phase)

    return max((part.phase for part in facts.phases), key=exposed_us)


def _of_backward(facts: CommunicationFacts) -> Limit | None:
    backward = facts.backward
    if backward is None:
        return None
    if backward.reduce_us > backward.compute_us:
        return "volume"
    few = backward.count_per_step < _FEW_BUCKETS and backward.tail_us > _MOSTLY * _exposed(facts)
    return "few buckets" if few else None


def _exposed(facts: CommunicationFacts) -> float:
    return sum(part.exposed_us for part in facts.phases)


def overlap_remedy(diagnosis: Diagnosis) -> Remedy:
    """What hides communication here, by what limits it and by the framework."""
    if _EXCHANGE.search(max(diagnosis.collectives, key=lambda c: c.exposed_us).name):
        return _TO_ALL
    facts, limit = diagnosis.collective_facts, limit_of(diagnosis)
    special = _MENDS[limit](diagnosis, facts) if facts and limit else None
    return special or of_framework(diagnosis, BY_FRAMEWORK) or UNKNOWN


_LATE = Remedy(
    text=(
        "Gradients are reduced after the backward pass: reduce them in buckets while it runs, as "
        "DistributedDataParallel does."
    ),
    snippet="model = DistributedDataParallel(model, gradient_as_bucket_view=True)",
    applies_to="torch.distributed",
)
_UPDATE = Remedy(
    text=(
        "The optimizer's step communicates (a sharded optimizer gathers what it updated): gather "
        "bucket by bucket while the next forward pass begins, with async_op=True and a wait "
        "before each layer."
    ),
    snippet="work = dist.all_gather_into_tensor(full, shard, async_op=True)  # wait() when used",
    applies_to="torch.distributed",
)
_BUFFERS = Remedy(
    text=(
        "DDP broadcasts the module's buffers before each forward pass: turn that off where they "
        "need not agree between steps (running statistics of BatchNorm stay those of each rank)."
    ),
    snippet="DistributedDataParallel(model, broadcast_buffers=False)",
    applies_to="DDP",
)


def _late(diagnosis: Diagnosis, _: CommunicationFacts) -> Remedy | None:
    return None if of_framework(diagnosis, BY_FRAMEWORK) else _LATE


def _update(diagnosis: Diagnosis, _: CommunicationFacts) -> Remedy | None:
    return None if of_framework(diagnosis, BY_FRAMEWORK) else _UPDATE


def _forward(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy | None:
    """DDP's settings for buckets do nothing for what the forward pass communicates."""
    if of_framework(diagnosis, BY_FRAMEWORK) is not BY_FRAMEWORK["DDP"]:
        return None
    forward = [part for part in facts.phases if part.phase == "forward"]
    longest = max(forward, key=lambda part: part.exposed_us)
    return _BUFFERS if longest.family == "broadcast" else UNKNOWN


def _host_first(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy:
    shown = diagnosis.breakdown_us.communication
    return Remedy(
        text=(
            f"In {time_us(facts.host_late_us)} of {time_us(shown)} the host had not launched "
            "the computation that could hide it: make the host faster first (see the findings on "
            "launches and waits); bucket sizes and prefetching change little until then."
        )
    )


def _other_stream(diagnosis: Diagnosis, _: CommunicationFacts) -> Remedy:
    return _FEWER_GPUS if diagnosis.framework.inference else _ASYNC


_FEWER_GPUS = Remedy(
    text=(
        "The collectives of tensor parallelism run between the kernels that need them: use as few "
        "GPUs per replica as the memory allows, or a kernel that fuses the all-reduce with the "
        "normalization behind it."
    )
)
_ASYNC = Remedy(
    text=(
        "The collectives run on the stream that computes, where nothing can run beside them: "
        "start them with async_op=True, which gives them a stream of their own, and wait where "
        "the result is used."
    ),
    snippet="work = dist.all_reduce(tensor, async_op=True)  # compute; then work.wait()",
    applies_to="torch.distributed",
)


def _send_less(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy | None:
    backward = facts.backward
    if backward is None:
        return None
    known = of_framework(diagnosis, _SEND_LESS)
    return Remedy(
        text=(
            f"The backward pass computes for {time_us(backward.compute_us)}, behind which "
            f"{time_us(backward.reduce_us)} of reductions cannot hide, whatever the bucket size: "
            "reduce less often (gradient accumulation without synchronization), compute more "
            "between reductions (a larger batch per GPU), or send fewer bytes."
        ),
        snippet=known.snippet if known else None,
        applies_to=known.applies_to if known else None,
    )


def _smaller_buckets(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy | None:
    backward = facts.backward
    if backward is None or "DDP" not in diagnosis.framework.parallelism:
        return None
    some = backward.bytes_per_step
    cap = max(round(some / _BUCKETS / 2**20), 1) if some else 5
    return Remedy(
        text=(
            f"Only {count(backward.count_per_step)} reductions a step, and the last one starts "
            "when the backward pass is over: make the buckets smaller, so that more of them start "
            "earlier."
        ),
        snippet=f"DistributedDataParallel(model, bucket_cap_mb={cap})",
        applies_to="DDP",
    )


_MENDS: dict[Limit, Callable[[Diagnosis, CommunicationFacts], Remedy | None]] = {
    "same stream": _other_stream,
    "host": _host_first,
    "volume": _send_less,
    "few buckets": _smaller_buckets,
    "late": _late,
    "update": _update,
    "forward": _forward,
}


def message_fact(message: Messages) -> Evidence:
    """Size, time and bandwidth of a kind of message: a lower bound, which it says."""
    what = f"{size(message.bytes)} {message.family} ({message.dtype})"
    text = (
        f"{what} over {message.group_size} ranks: the fastest of {message.count} took "
        f"{time_us(message.fastest_us)}, a bus bandwidth of at least "
        f"{message.bus_gb_per_s:.3g} GB/s"
    )
    return fact(text, message.bus_gb_per_s, "GB/s")


ONE_RANK = fact("one rank's trace cannot tell moving data from waiting for a late rank")


def collective_wait_us(diagnosis: Diagnosis) -> float:
    """Idle time behind waits for collectives, which is part of the cause sync."""
    waits = diagnosis.collective_facts.waits if diagnosis.collective_facts else None
    return min(waits.idle_us, idle_us(diagnosis, Cause.SYNC)) if waits else 0.0
