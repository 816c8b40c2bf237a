"""Which host call launched which GPU operation."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.names import matching
from perfkit.model.trace import Int64s, Kind, Trace

LAUNCH_CALL = re.compile(r"Launch|Memcpy|Memset")
# A memset of nothing leaves no record, so its absence shows no loss.
_LEAVES_A_RECORD = re.compile(r"LaunchKernel|LaunchCooperative|ModuleLaunch|GraphLaunch|Memcpy")


@dataclass(frozen=True)
class Launches:
    """`call` is the trace row of each GPU operation's launch, -1 without one; shape (operations,).

    `orphans` are trace rows of launches whose GPU operation has no record; shape (orphans,).
    """

    call: Int64s
    orphans: Int64s


def launches(trace: Trace, work: GpuWork) -> Launches:
    """Join by correlation id, which all nodes of a CUDA graph share with its launch."""
    calls = np.flatnonzero((trace.kind == Kind.RUNTIME) & (trace.corr > 0))
    calls = calls[np.argsort(trace.corr[calls], kind="stable")]
    corr, wanted = trace.corr[calls], trace.corr[work.rows]
    at = np.minimum(np.searchsorted(corr, wanted), max(len(corr) - 1, 0))
    found = corr[at] == wanted if len(corr) else np.zeros(len(wanted), dtype=np.bool_)
    call = np.where(found, calls[at] if len(corr) else -1, -1)
    return Launches(call=np.asarray(call, dtype=np.int64), orphans=_orphans(trace, calls))


def _orphans(trace: Trace, calls: Int64s) -> Int64s:
    calls = np.sort(calls[matching(trace, _LEAVES_A_RECORD)[trace.name[calls]]])
    return calls[~np.isin(trace.corr[calls], trace.corr[trace.is_gpu_work])]
