"""What keeps communication from being hidden behind computation, and what mends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from perfkit.model.communication_facts import CommunicationFacts, Phase
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._communication import of_framework
from perfkit.reports.advice._overlap_remedies import (
    ASYNC,
    BUFFERS,
    BY_FRAMEWORK,
    FEWER_GPUS,
    LATE,
    SEND_LESS,
    TO_ALL,
    UNKNOWN,
    UPDATE,
)
from perfkit.reports.format import count, time_us

Limit = Literal["same stream", "host", "volume", "few buckets", "late", "update", "forward"]

_MOSTLY = 0.5
_FEW_BUCKETS = 4
_BUCKETS = 8
_BY_PHASE: dict[Phase, Limit] = {
    "after backward": "late", "optimizer": "update", "forward": "forward",
}  # fmt: skip
_EXCHANGE = re.compile(r"send_?recv|all_?to_?all|\bsend\b|\brecv\b", re.IGNORECASE)


def overlap_remedy(diagnosis: Diagnosis) -> Remedy:
    """What hides communication here, by what limits it and by the framework."""
    if _EXCHANGE.search(max(diagnosis.collectives, key=lambda c: c.exposed_us).name):
        return TO_ALL
    facts, limit = diagnosis.collective_facts, limit_of(diagnosis)
    special = _MENDS[limit](diagnosis, facts) if facts and limit else None
    return special or of_framework(diagnosis, BY_FRAMEWORK) or UNKNOWN


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


def _late(diagnosis: Diagnosis, _: CommunicationFacts) -> Remedy | None:
    return None if of_framework(diagnosis, BY_FRAMEWORK) else LATE


def _update(diagnosis: Diagnosis, _: CommunicationFacts) -> Remedy | None:
    return None if of_framework(diagnosis, BY_FRAMEWORK) else UPDATE


def _forward(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy | None:
    """DDP's settings for buckets do nothing for what the forward pass communicates."""
    if of_framework(diagnosis, BY_FRAMEWORK) is not BY_FRAMEWORK["DDP"]:
        return None
    forward = [part for part in facts.phases if part.phase == "forward"]
    longest = max(forward, key=lambda part: part.exposed_us)
    return BUFFERS if longest.family == "broadcast" else UNKNOWN


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
    return FEWER_GPUS if diagnosis.framework.inference else ASYNC


def _send_less(diagnosis: Diagnosis, facts: CommunicationFacts) -> Remedy | None:
    backward = facts.backward
    if backward is None:
        return None
    known = of_framework(diagnosis, SEND_LESS)
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
