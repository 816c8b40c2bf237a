"""A trace without GPU work: the CPU is the device, and it computes while an operator runs."""

from __future__ import annotations

import numpy as np

from perfkit.analyzers.breakdown import StepTimes, idle_by_cause
from perfkit.analyzers.host import Host, timeline
from perfkit.analyzers.idle import Pieces, relabelled, same, step_of
from perfkit.analyzers.steps import Windows
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Int64s


def cpu_step_times(host: Host, windows: Windows) -> tuple[StepTimes, Pieces]:
    """Step times and idle pieces of the thread that runs most operators, helped by the others."""
    pieces = _walked(host, windows)
    computing = np.isin(pieces.cause, (CODE[Cause.DISPATCH], CODE[Cause.LAUNCH]))
    compute = np.zeros(len(windows), dtype=np.int64)
    on = pieces.take(computing)
    np.add.at(compute, step_of(on.start, windows), on.end - on.start)
    idle = pieces.take(~computing)
    nothing = np.zeros(len(windows), dtype=np.int64)
    wall = windows.end - windows.start
    return StepTimes(wall, compute, nothing, nothing, idle_by_cause(idle, windows)), idle


def unobserved_step_times(windows: Windows) -> tuple[StepTimes, Pieces]:
    """Launches but no GPU records: nothing can be said of any nanosecond."""
    pieces = same(windows.start, windows.end, Cause.UNOBSERVED, -1)
    nothing = np.zeros(len(windows), dtype=np.int64)
    wall = windows.end - windows.start
    idle = idle_by_cause(pieces.take(pieces.end > pieces.start), windows)
    return StepTimes(wall, nothing, nothing, nothing, idle), pieces


def _walked(host: Host, windows: Windows) -> Pieces:
    pieces = same(windows.start, windows.end, Cause.PYTHON, -1)
    pieces = pieces.take(pieces.end > pieces.start)
    for thread in _threads(host):
        pieces = relabelled(pieces, timeline(host, thread), thread)
    return pieces


def _threads(host: Host) -> list[int]:
    """Threads with operators, busiest first."""
    operators = host.rows[host.cause == CODE[Cause.DISPATCH]]
    busy: Int64s = np.zeros(len(host.trace.lanes), dtype=np.int64)
    np.add.at(busy, host.trace.lane[operators], host.trace.dur[operators])
    return [t for t in np.argsort(-busy, kind="stable").tolist() if busy[t] > 0]


def main_thread(host: Host) -> int:
    """The thread with most time in operators, -1 without one."""
    return next(iter(_threads(host)), -1)
