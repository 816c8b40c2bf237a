"""Driver calls that take long because they are the first of their kind."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import matching, used
from perfkit.analyzers.rows import mask
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Bools, Int8s, Int64s, Kind, Trace

_LONG_NS = 1_000_000  # calls take microseconds; loading code and starting the driver takes more
_MUCH_BUSY = 0.5  # of the call: then the call waited for the queue
_TIMES_USUAL = 10
_TAKES_LONG_BY_NATURE = re.compile(r"GraphLaunch|Memcpy|Memset|EventQuery|StreamQuery")


def first_uses(code: Int8s, trace: Trace, work: GpuWork, calls: Launches) -> Int64s:
    """Rows of calls that load a kernel's code or start up a part of the driver.

    A launch counts when it is the first of its kernel, another call when it is far longer than the
    others of its name, of the allocator only the first (cudaFree starts the driver, and libraries
    load with it); none while the GPU works, since then the call may wait for it.
    """
    quick = np.isin(code, (CODE[Cause.LAUNCH], CODE[Cause.DISPATCH]))
    quick |= mask(_first_of_name(trace, code == CODE[Cause.ALLOCATOR]), len(trace))
    rows = np.flatnonzero(quick & (trace.kind == Kind.RUNTIME) & (trace.dur >= _LONG_NS))
    rows = rows[~matching(trace, _TAKES_LONG_BY_NATURE)[trace.name[rows]]]
    busy = work.busy.covered(*spans(trace, rows))
    rows = rows[busy < _MUCH_BUSY * trace.dur[rows]]
    launch = mask(calls.call, len(trace))[rows]
    first = mask(_first_launches(trace, work, calls), len(trace))[rows]
    return rows[np.where(launch, first, _far_longer(trace, rows))]


def _first_of_name(trace: Trace, of: Bools) -> Int64s:
    """The first of these events by each name."""
    rows = np.flatnonzero(of)
    return rows[np.unique(trace.name[rows], return_index=True)[1]]


def _first_launches(trace: Trace, work: GpuWork, calls: Launches) -> Int64s:
    """The first launch of each kernel name."""
    launched = np.flatnonzero(calls.call >= 0)
    order = launched[np.argsort(calls.call[launched], kind="stable")]
    _, first = np.unique(trace.name[work.rows[order]], return_index=True)
    return calls.call[order[first]]


def _far_longer(trace: Trace, rows: Int64s) -> Bools:
    runtime = np.flatnonzero(trace.kind == Kind.RUNTIME)
    usual = {
        int(name): float(np.median(trace.dur[runtime[trace.name[runtime] == name]]))
        for name in used(trace, rows)
    }
    alone = {int(n): int((trace.name[runtime] == n).sum()) == 1 for n in used(trace, rows)}
    found = [
        alone[name] or dur > _TIMES_USUAL * usual[name]
        for name, dur in zip(trace.name[rows].tolist(), trace.dur[rows].tolist(), strict=True)
    ]
    return np.array(found, dtype=np.bool_)
