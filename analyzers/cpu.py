"""A trace without GPU work: the CPU is the device, and it computes while an operator runs."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from perfkit.analyzers.breakdown import StepTimes, idle_by_cause
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import Intervals, distinct, spans, union
from perfkit.analyzers.names import matching
from perfkit.analyzers.pieces import Pieces, relabelled, same
from perfkit.analyzers.steps import Windows, step_of
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Bools, Int64s

_COLLECTIVE = re.compile(r"^(gloo|mpi|ucc):")  # open on a thread of the backend until all ranks met


def cpu_step_times(host: Host, windows: Windows) -> tuple[StepTimes, Pieces]:
    """Step times and idle pieces of the thread that runs most operators, helped by the others."""
    pieces = _walked(host, windows)
    computing = np.isin(pieces.cause, (CODE[Cause.DISPATCH], CODE[Cause.LAUNCH]))
    compute = _per_step(pieces.take(computing), windows)
    exposed, idle = _apart(pieces.take(~computing), _collectives(host))
    communication, copy = _per_step(exposed, windows), np.zeros(len(windows), dtype=np.int64)
    wall = windows.end - windows.start
    return StepTimes(wall, compute, communication, copy, idle_by_cause(idle, windows)), idle


def _per_step(pieces: Pieces, windows: Windows) -> Int64s:
    """Nanoseconds of these pieces in each step."""
    out = np.zeros(len(windows), dtype=np.int64)
    np.add.at(out, step_of(pieces.start, windows), pieces.end - pieces.start)
    return out


def _is_collective(host: Host) -> Bools:
    return matching(host.trace, _COLLECTIVE)[host.trace.name[host.rows]]


def _collectives(host: Host) -> Intervals:
    return union(*spans(host.trace, host.rows[_is_collective(host)]))


def _apart(pieces: Pieces, where: Intervals) -> tuple[Pieces, Pieces]:
    """The parts of these pieces inside of `where`, and the rest."""
    pieces = pieces.cut(distinct(np.concatenate((where.start, where.end))))
    inside = where.covered(pieces.start, pieces.end) > 0
    return pieces.take(inside), pieces.take(~inside)


def unobserved_step_times(windows: Windows) -> tuple[StepTimes, Pieces]:
    """Launches but no GPU records: nothing can be said of any nanosecond."""
    pieces = same(windows.start, windows.end, Cause.UNOBSERVED, -1)
    nothing = np.zeros(len(windows), dtype=np.int64)
    wall = windows.end - windows.start
    idle = idle_by_cause(pieces.take(pieces.end > pieces.start), windows)
    return StepTimes(wall, nothing, nothing, nothing, idle), pieces


def _walked(host: Host, windows: Windows) -> Pieces:
    host = _without_collectives(host)
    pieces = same(windows.start, windows.end, Cause.PYTHON, -1)
    pieces = pieces.take(pieces.end > pieces.start)
    for thread in _threads(host):
        pieces = relabelled(pieces, host.timeline(thread), thread)
    return pieces


def _without_collectives(host: Host) -> Host:
    keep = ~_is_collective(host)
    return replace(host, rows=host.rows[keep], cause=host.cause[keep], thread=host.thread[keep])


def _threads(host: Host) -> list[int]:
    """Threads with operators, busiest first."""
    operators = host.rows[host.cause == CODE[Cause.DISPATCH]]
    busy: Int64s = np.zeros(len(host.trace.lanes), dtype=np.int64)
    np.add.at(busy, host.trace.lane[operators], host.trace.dur[operators])
    return [t for t in np.argsort(-busy, kind="stable").tolist() if busy[t] > 0]


def main_thread(host: Host) -> int:
    """The thread with most time in operators, -1 without one."""
    return next(iter(_threads(_without_collectives(host))), -1)
