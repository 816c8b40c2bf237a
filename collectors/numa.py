"""NUMA nodes: which this process may run on, and which a GPU is attached to."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NODES = Path("/sys/devices/system/node")
_DEVICES = Path("/sys/bus/pci/devices")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def count() -> int | None:
    """Nodes of this machine that have cores; None where the system does not say."""
    return len(_cores_by_node()) or None


def nodes_of_cores() -> list[int]:
    """Nodes of the cores that the scheduler may put this process on; empty where not known."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    mine = os.sched_getaffinity(0)
    return sorted(node for node, cores in _cores_by_node().items() if cores & mine)


def node_of(bus_id: str) -> int | None:
    """The node of a PCI device; NVML writes 00000000:65:00.0 for what the kernel calls 0000:..."""
    domain, _, rest = bus_id.lower().partition(":")
    text = _text(_DEVICES / f"{domain[-4:]}:{rest}" / "numa_node").strip()
    return int(text) if text.isdigit() else None  # -1 where the firmware does not say


def _cores_by_node() -> dict[int, set[int]]:
    found = {}
    for folder in _NODES.glob("node[0-9]*"):
        cores = _numbers(_text(folder / "cpulist"))
        if cores:
            found[int(folder.name.removeprefix("node"))] = cores
    return found


def _numbers(text: str) -> set[int]:
    """Of a list such as 0-3,8-11."""
    ranges = (found.groups() for found in _RANGE.finditer(text))
    return {n for low, high in ranges for n in range(int(low), int(high or low) + 1)}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
