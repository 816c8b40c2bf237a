"""The GPU communicates while nothing else runs.

What it detects
    Time in communication kernels (NCCL, RCCL and others) that no computation covers: by part of
    the step, and by what keeps it from being hidden. That is the stream of the computation, a
    host that had launched nothing to hide it, more reductions than the backward pass can hide,
    too few buckets, or a launch after the backward pass.

Why it costs
    While a collective runs alone, the GPU's arithmetic stands still. From one rank's trace the
    time spent moving data cannot be told from the time spent waiting for a late rank.

What to do
    Compare the ranks' times in the same collective first: the rank with the shortest is the
    late one. If all are long, overlap: the setting depends on the framework and on what limits
    overlap, and the remedy names it.

When not to
    If one rank is late, overlap settings change nothing: find out what that rank waits for.
    Collectives slow kernels beside them by some percent, so not all exposed time can be won.
    DataParallel, slow links, many small messages and 32-bit gradients have rules of their own.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
    https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
    https://www.deepspeed.ai/docs/config-json/ (zero_optimization); the profiler's TensorBoard
    plugin advised from 10 %, SageMaker-style tools call 30 % critical.
"""

from __future__ import annotations

from perfkit.model.communication_facts import Phase, PhaseCollectives
from perfkit.model.diagnosis import Collective, Diagnosis, Evidence
from perfkit.reports.advice._communication import ONE_RANK, message_fact
from perfkit.reports.advice._overlap import overlap_remedy
from perfkit.reports.format import count, share, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # kineto tb_plugin: 10 %
_MOST = 3


def check(diagnosis: Diagnosis) -> Advice | None:
    """Exposed communication."""
    cost = diagnosis.breakdown_us.communication
    if not diagnosis.collectives or diagnosis.framework.parallelism == ["DataParallel"]:
        return None
    return Advice(
        title=f"Communication that nothing hides takes {of_step(diagnosis, cost)}",
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=[*_overlap(diagnosis), *_parts(diagnosis), ONE_RANK],
        remedy=overlap_remedy(diagnosis),
        places=[],
        fix="overlap",
    )


def _overlap(diagnosis: Diagnosis) -> list[Evidence]:
    overlap = diagnosis.overlap
    if overlap is None or overlap.communication_hidden_share is None:
        return []
    text = (
        f"{time_us(overlap.communication_us)} of communication per step, "
        f"{share(overlap.communication_hidden_share)} of it behind computation"
    )
    return [fact(text, overlap.communication_hidden_share, "share")]


def _parts(diagnosis: Diagnosis) -> list[Evidence]:
    facts = diagnosis.collective_facts
    collectives = [_collective(entry) for entry in diagnosis.collectives[:_MOST]]
    if facts is None:
        return collectives
    known = [part for part in facts.phases if part.phase != "other"]
    phases = [_phase(part) for part in (facts.phases if known else [])[:_MOST]]
    shown = sorted(facts.messages, key=lambda message: -message.exposed_us)
    return [*collectives, *phases, *map(message_fact, shown[:1])]


def _collective(entry: Collective) -> Evidence:
    moved = f" of {size(entry.bytes_per_step)}" if entry.bytes_per_step else ""
    text = (
        f"{entry.name}: {count(entry.count_per_step)} per step{moved}, {time_us(entry.total_us)}, "
        f"{time_us(entry.exposed_us)} exposed"
    )
    return fact(text, entry.exposed_us, "us/step")


def _phase(part: PhaseCollectives) -> Evidence:
    what = "collectives" if part.family == "unknown" else part.family
    text = (
        f"launched in {_WHERE[part.phase]}: {time_us(part.exposed_us)} exposed of "
        f"{time_us(part.total_us)} in {count(part.count_per_step)} {what} per step"
    )
    return fact(text, part.exposed_us, "us/step")


_WHERE: dict[Phase, str] = {
    "forward": "the forward pass", "backward": "the backward pass",
    "after backward": "what follows the backward pass", "optimizer": "the optimizer's step",
    "other": "a part of the step that is not known",
}  # fmt: skip
