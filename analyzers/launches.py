"""Which host call launched which GPU operation."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.names import matching
from perfkit.analyzers.rows import mask
from perfkit.model.trace import Int64s, Kind, Trace

LAUNCH_CALL = re.compile(r"Launch|Memcpy|Memset|MemCopy|MemoryCopy|USMFill|MemBuffer")
_CAPTURE_BEGINS = re.compile(r"StreamBeginCapture")
_CAPTURE_ENDS = re.compile(r"StreamEndCapture")
# A memset of nothing leaves no record, so its absence shows no loss.
_LEAVES_A_RECORD = re.compile(r"Launch(Kernel|Cooperative)|(Kernel|Module|Graph)Launch|Memcpy")


@dataclass(frozen=True)
class Launches:
    """`call` is the trace row of each GPU operation's launch, -1 without one; shape (operations,).

    `orphans` are trace rows of launches whose GPU operation has no record; shape (orphans,).
    `captured` are rows of calls made while a CUDA graph was recorded: they launch nothing.
    """

    call: Int64s
    orphans: Int64s
    captured: Int64s


def launches(trace: Trace, work: GpuWork) -> Launches:
    """Join by correlation id, which all nodes of a CUDA graph share with its launch."""
    calls = np.flatnonzero((trace.kind == Kind.RUNTIME) & (trace.corr > 0))
    operations = np.flatnonzero(trace.is_gpu_work)
    call = np.full(len(trace), -1, dtype=np.int64)
    call[operations] = _joined(trace, calls, operations)
    captured = _captured(trace)
    orphans = _orphans(trace, calls[~mask(captured, len(trace))[calls]], call[operations])
    return Launches(call[work.rows], orphans, captured)


def _joined(trace: Trace, calls: Int64s, operations: Int64s) -> Int64s:
    """The call with each operation's correlation id, -1 without one."""
    if not len(calls):
        return np.full(len(operations), -1, dtype=np.int64)
    calls = calls[np.argsort(trace.corr[calls], kind="stable")]
    corr, wanted = trace.corr[calls], trace.corr[operations]
    at = np.minimum(np.searchsorted(corr, wanted), len(corr) - 1)
    return np.where(corr[at] == wanted, calls[at], -1)


def _orphans(trace: Trace, calls: Int64s, launched: Int64s) -> Int64s:
    calls = calls[matching(trace, _LEAVES_A_RECORD)[trace.name[calls]]]
    recorded = np.zeros(len(trace) + 1, dtype=np.bool_)
    recorded[launched] = True  # -1, no launch, is the last entry
    return calls[~recorded[calls]]


def _captured(trace: Trace) -> Int64s:
    """Runtime calls of a thread between the begin and the end of a stream capture."""
    runtime = np.flatnonzero(trace.kind == Kind.RUNTIME)
    bounds = [matching(trace, p)[trace.name[runtime]] for p in (_CAPTURE_BEGINS, _CAPTURE_ENDS)]
    if not bounds[0].any():
        return np.empty(0, dtype=np.int64)
    change = bounds[0].astype(np.int64) - bounds[1]
    inside = [
        rows[np.cumsum(change[trace.lane[runtime] == lane]) > 0]
        for lane in np.unique(trace.lane[runtime[bounds[0]]]).tolist()
        for rows in (runtime[trace.lane[runtime] == lane],)
    ]
    return np.sort(np.concatenate(inside))
