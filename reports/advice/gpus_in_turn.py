"""GPUs of one process compute in turn.

What it detects
    Time in which the GPU that works most had its next operation queued, and another GPU that the
    same process uses worked meanwhile.

Why it costs
    A model whose layers lie on several GPUs (device_map="auto", layers moved by hand) computes on
    one of them at a time: N GPUs are as fast as one, and the others are paid for as memory.

What to do
    Training: if the model fits one GPU in low precision or with activation checkpointing, put it
    there and let the others train on other batches (DDP); if not, shard each layer (FSDP2
    fully_shard, DeepSpeed ZeRO-3) or split each layer (tensor parallel), with a process per GPU.
    Inference: tensor parallel (tp_plan="auto" in Transformers, tensor_parallel_size in vLLM). Where
    layers have to stay apart, cut batches into micro-batches that follow one another through the
    GPUs (torch.distributed.pipelining).

When not to
    A model that is only tried out, and fits nowhere else: nothing else loads as easily.

References
    https://docs.pytorch.org/tutorials/intermediate/model_parallel_tutorial.html
    https://docs.pytorch.org/docs/stable/distributed.pipelining.html
    https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
    https://huggingface.co/docs/transformers/perf_train_gpu_many
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.format import share
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step, share_of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)
_BUSY = ("compute", "communication", "copy")


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time of a queued operation during another GPU's work."""
    cost = idle_us(diagnosis, Cause.OTHER_GPU)
    if not cost:
        return None
    busy = sum(getattr(diagnosis.breakdown_us, part) for part in _BUSY)
    told = f"of the step it works for {share(share_of_step(diagnosis, busy))}"
    return Advice(
        title=f"This GPU waits for another of the same process {of_step(diagnosis, cost)}",
        cause=Cause.OTHER_GPU,
        cost_us=cost,
        limits=LIMITS,
        evidence=[fact(told, busy, "us/step")],
        remedy=_remedy(diagnosis),
        places=[],
    )


def _remedy(diagnosis: Diagnosis) -> Remedy:
    if diagnosis.framework.inference:
        return Remedy(
            text=(
                "Split each layer over the GPUs (tensor parallel, a process per GPU) in place of "
                "putting whole layers on each."
            ),
            snippet='AutoModelForCausalLM.from_pretrained(name, tp_plan="auto")  # under torchrun',
            applies_to="Transformers",
        )
    return Remedy(
        text=(
            "Let every GPU work at the same time, with a process per GPU: DDP if the model fits "
            "one, else shard each layer over all of them."
        ),
        snippet="fully_shard(model)  # torch.distributed.fsdp, under torchrun",
        applies_to="PyTorch",
    )
