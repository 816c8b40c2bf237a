"""NFS: what the client counted per mount, from /proc/self/mountstats."""

from __future__ import annotations

import re
from pathlib import Path

from perfkit.collectors.mounts import unescape

MOUNTSTATS = Path("/proc/self/mountstats")
_DEVICE = re.compile(r"^device (\S+) mounted on (\S+) with fstype (\S+)")
_OPERATION = re.compile(r"^\s+([A-Z_0-9]+):((?: \d+){8,})\s*$")
_FIELDS = (
    "ops", "sends", "timeouts", "bytes_sent", "bytes_recv", "queue_ms", "rtt_ms", "execute_ms",
)  # fmt: skip
_BYTES = (
    "normal_read", "normal_write", "direct_read", "direct_write",
    "server_read", "server_write", "read_pages", "write_pages",
)  # fmt: skip


def client_counters(point: str) -> dict[str, float]:
    """Counts of the mount at `point` since it was mounted, all processes together.

    `<OP>.ops`, `.rtt_ms`, `.execute_ms` and so on in sums, `<OP>.retrans`, `bytes.server_read` and
    so on in bytes. Several mounts of one server share the counts of some kernels.
    """
    try:
        return parse_mountstats(MOUNTSTATS.read_text("utf-8", "surrogateescape"), point)
    except OSError:
        return {}


def parse_mountstats(text: str, point: str) -> dict[str, float]:
    """The counts of the last mount at that point; empty where it is not NFS."""
    counters: dict[str, float] = {}
    ours = False
    for line in text.splitlines():
        device = _DEVICE.match(line)
        if device:
            ours = unescape(device[2]) == point and device[3].startswith("nfs")
            counters = {} if ours else counters
        elif ours:
            counters.update(_counts(line))
    return counters


def _counts(line: str) -> dict[str, float]:
    words = line.split()
    if words[:1] == ["bytes:"] and len(words) > len(_BYTES):
        values = [float(word) for word in words[1:]]
        return {f"bytes.{name}": value for name, value in zip(_BYTES, values, strict=False)}
    found = _OPERATION.match(line)
    if not found:
        return {}
    values = [float(word) for word in found[2].split()]
    named = {f"{found[1]}.{name}": v for name, v in zip(_FIELDS, values, strict=False)}
    return {**named, f"{found[1]}.retrans": max(values[1] - values[0], 0.0)}
