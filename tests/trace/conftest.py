from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perfkit.model.trace import Damage, Kind, Trace
from perfkit.trace import open_trace

Read = Callable[[str | bytes], Trace]
UNDAMAGED = Damage()


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a trace of this text."""

    def opened(text: str | bytes) -> Trace:
        path = tmp_path / "trace.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return open_trace(str(path))

    return opened


def names(trace: Trace) -> list[str]:
    """Event names by start."""
    return [trace.names[i] for i in trace.name.tolist()]


def kinds(trace: Trace) -> list[str]:
    """Kinds of events by start."""
    return [Kind(kind).name for kind in trace.kind.tolist()]


def lanes(trace: Trace) -> list[tuple[str, str, int, int]]:
    """(process, thread, device, stream) of each event."""
    found = [trace.lanes[i] for i in trace.lane.tolist()]
    return [(lane.pid, lane.tid, lane.device, lane.stream) for lane in found]
