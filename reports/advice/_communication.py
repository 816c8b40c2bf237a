"""What the rules on communication share."""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.communication_facts import Messages
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.format import size, time_us
from perfkit.reports.rule import fact, idle_us

Remedies = dict[str, Remedy]

ONE_RANK = fact("one rank's trace cannot tell moving data from waiting for a late rank")


def of_framework(diagnosis: Diagnosis, remedies: Remedies) -> Remedy | None:
    """The remedy for the framework in the trace, the most specific first."""
    parallelism = diagnosis.framework.parallelism
    return next((r for name, r in remedies.items() if name in parallelism), None)


def message_fact(message: Messages) -> Evidence:
    """Size, time and bandwidth of a kind of message: a lower bound, which it says."""
    what = f"{size(message.bytes)} {message.family} ({message.dtype})"
    text = (
        f"{what} over {message.group_size} ranks: the fastest of {message.count} took "
        f"{time_us(message.fastest_us)}, a bus bandwidth of at least "
        f"{message.bus_gb_per_s:.3g} GB/s"
    )
    return fact(text, message.bus_gb_per_s, "GB/s")


def collective_wait_us(diagnosis: Diagnosis) -> float:
    """Idle time behind waits for collectives, which is part of the cause sync."""
    waits = diagnosis.collective_facts.waits if diagnosis.collective_facts else None
    return min(waits.idle_us, idle_us(diagnosis, Cause.SYNC)) if waits else 0.0
