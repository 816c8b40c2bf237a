"""A GPU clock that is early: operations that seem to begin before they were launched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.launches import Launches
from perfkit.model.trace import Kind, Trace

_FEWEST_EARLY, _LEAST_SHARE_EARLY = 3, 0.002  # fewer are odd records, and no clock
_MOST_EARLY = 99.9  # percentile
_LEAST_LATENCY_NS = 4_000  # from the start of a launch to the start on an idle GPU


def clock_shift(trace: Trace, work: GpuWork, calls: Launches) -> int:
    """Nanoseconds by which the GPU's times have to be later, so that launches come first.

    Seen on H100 (pytorch/kineto issue 1380) and with ROCm, whose offset is constant over a trace.
    """
    known = calls.call >= 0
    early = trace.ts[calls.call[known]] - work.start[known]
    if np.count_nonzero(early > 0) < max(_FEWEST_EARLY, _LEAST_SHARE_EARLY * len(early)):
        return 0
    return int(np.percentile(early, _MOST_EARLY)) + _LEAST_LATENCY_NS


def shifted(trace: Trace, shift: int) -> Trace:
    """The same trace with the GPU's times so many nanoseconds later."""
    moved = replace(trace, ts=np.where(trace.kind >= Kind.SYNC, trace.ts + shift, trace.ts))
    return moved.take(np.argsort(moved.ts, kind="stable"))
