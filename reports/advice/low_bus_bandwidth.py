"""Even the fastest large messages are slower than the slowest link they could use.

What it detects
    Messages of at least 4 MiB, several of a size, of which even the fastest moved less than the
    link should: 12 GB/s of bus bandwidth between GPUs with NVLink or xGMI of one node (what NCCL
    takes PCIe 3 x16 for), else 1.25 GB/s (10 Gb/s Ethernet). The measured bandwidth is a lower
    bound. Charged is only how much longer the fastest took than it would at that rate.

Why it costs
    NCCL falls back silently: from NVLink to PCIe or shared memory, from InfiniBand to sockets.
    One such hop slows every collective down to its rate.

What to do
    Read NCCL's own account (NCCL_DEBUG=INFO, subsystems INIT and GRAPH) and measure the link
    alone (all_reduce_perf of nccl-tests). If that is fast, a rank is late in every step: compare
    the ranks instead.

When not to
    One rank's trace cannot tell a slow link from a rank that is always late by as much. Nodes
    whose GPUs share one slow network card are as fast as they can be.

References
    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (bus bandwidth)
    https://github.com/NVIDIA/nccl/blob/master/src/graph/topo.h (what NCCL takes links for)
    https://github.com/stas00/ml-engineering/blob/master/network/README.md (about 80 % of the link
    at large sizes; 107 GB/s at 4 MiB on eight H200)
    https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
"""

from __future__ import annotations

import math
import re

from perfkit.model.communication_facts import CommunicationFacts, Messages
from perfkit.model.diagnosis import DeviceFacts, Diagnosis, Remedy
from perfkit.reports.advice._communication import message_fact
from perfkit.reports.format import time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

AUDIENCE = "infrastructure"
# As for exposed communication; never critical, since one rank cannot prove it.
LIMITS = Limits(warning_share=0.10, critical_share=math.inf)
_LARGE_BYTES = 4 * 2**20
_FEWEST_CALLS = 3  # one late rank explains a slow one
_PCIE_3_GB_PER_S = 12.0
_ETHERNET_GB_PER_S = 1.25
_NVLINK = re.compile(r"SXM|\bH100 80GB HBM3|\bH200\b|\bG?B[23]00\b|\bGH200\b|MI250|MI3\d\d", re.I)
_MOST = 3


def check(diagnosis: Diagnosis) -> Advice | None:
    """Large messages that are slow even at their best."""
    facts = diagnosis.collective_facts
    slow = _slow(facts, _least_gb_per_s(facts, diagnosis.device)) if facts else []
    if facts is None or not slow:
        return None
    floor = _least_gb_per_s(facts, diagnosis.device)
    cost = min(sum(_late_us(m, floor) for m in slow), diagnosis.breakdown_us.communication)
    best = max(slow, key=lambda message: message.bus_gb_per_s)
    return Advice(
        title=(
            f"The fastest collectives show at least {best.bus_gb_per_s:.3g} GB/s (a wait for peers "
            f"may be in it), which costs {of_step(diagnosis, cost)} against "
            f"{_name(floor, diagnosis.device)}"
        ),
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            *map(message_fact, slow[:_MOST]),
            fact("the bandwidths are lower bounds: a rank that is late in every step looks alike"),
        ],
        remedy=_remedy(floor, best),
        places=[],
    )


def _least_gb_per_s(facts: CommunicationFacts | None, device: DeviceFacts) -> float:
    linked = facts is not None and facts.single_node and bool(_NVLINK.search(device.name or ""))
    return _PCIE_3_GB_PER_S if linked else _ETHERNET_GB_PER_S


def _slow(facts: CommunicationFacts, floor: float) -> list[Messages]:
    """The large messages, if the fastest of them all is slow, the longest in sum first."""
    large = [m for m in facts.messages if m.bytes >= _LARGE_BYTES]
    fast = any(m.bus_gb_per_s >= floor for m in large)
    return [] if fast else [m for m in large if m.count >= _FEWEST_CALLS]


def _late_us(message: Messages, floor: float) -> float:
    """What the fastest took too long, for all of a size, and no more than shows."""
    surplus = message.fastest_us * (1 - message.bus_gb_per_s / floor)
    return min(surplus * message.count_per_step, message.exposed_us)


def _name(floor: float, device: DeviceFacts) -> str:
    if floor == _PCIE_3_GB_PER_S and "MI" in (device.name or ""):
        return "12 GB/s, less than a quarter of one xGMI link"  # 50 to 76.5 GB/s a pair of GPUs
    return "PCIe 3 alone" if floor == _PCIE_3_GB_PER_S else "10 Gb/s Ethernet"


def _remedy(floor: float, best: Messages) -> Remedy:
    paths = (
        "P2P/CUMEM or P2P/direct, not SHM; no NCCL_P2P_DISABLE left set"
        if floor == _PCIE_3_GB_PER_S
        else "NET/IB with GDRDMA, not NET/Socket; no NCCL_IB_DISABLE left set"
    )
    return Remedy(
        text=(
            f"First compare the ranks' times in the {best.family} of {time_us(best.fastest_us)}: "
            "if one is short there, that rank is late, and the link is not at fault. If all are "
            f"long, look in NCCL's log for the transport ({paths}), then measure the link alone."
        ),
        snippet=(
            "NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=INIT,GRAPH,NET torchrun ...  # then read it\n"
            f"all_reduce_perf -b 4M -e 1G -f 2 -g {best.group_size}  # nccl-tests, rccl-tests"
        ),
        applies_to="NCCL, RCCL",
    )
