"""Times no machine can have produced, put right or left out, and counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.model.trace import Bools, Int64s, Kind, Trace

_DAY_NS = 86_400 * 10**9
# Until 2023 ROCm's tracer gave all it saw of a GPU the category of kernels; a marker is no work.
_NO_KERNELS = {
    "CopyHostToDevice": Kind.MEMCPY,
    "CopyDeviceToHost": Kind.MEMCPY,
    "CopyDeviceToDevice": Kind.MEMCPY,
    "FillBuffer": Kind.MEMSET,
    "Marker": Kind.GPU_ANNOTATION,
}


def mended(trace: Trace) -> Trace:
    """The trace without events at time zero, and with GPU operations that stand in a queue.

    What old tracers called kernels is what it is.
    """
    zero = _at_zero(trace)
    if zero.any():
        trace = trace.take(~zero)
    trace = _with_old_copies(trace)
    dur, clipped = _fitting_the_queue(trace)
    damage = replace(
        trace.info.damage,
        zero_timestamps=int(zero.sum()),
        clipped_gpu_events=clipped,
    )
    return replace(trace, dur=dur, info=replace(trace.info, damage=damage))


def _at_zero(trace: Trace) -> Bools:
    """Events at time zero of a file whose clock is elsewhere."""
    elsewhere = len(trace) > 0 and float(np.median(trace.ts)) > _DAY_NS
    return (trace.ts <= 0) & elsewhere


def _with_old_copies(trace: Trace) -> Trace:
    """The trace with copies, fills and markers for what ROCm's tracer called kernels."""
    found = {i: _NO_KERNELS[name] for i, name in enumerate(trace.names) if name in _NO_KERNELS}
    if not found:
        return trace
    kind = trace.kind.copy()
    for name, really in found.items():
        kind[(trace.name == name) & (trace.kind == Kind.KERNEL)] = really
    return replace(trace, kind=kind)


def _fitting_the_queue(trace: Trace) -> tuple[Int64s, int]:
    """Durations cut where an operation outlasts the start of the second next one of its stream.

    A stream runs in order; programmatic launch overlaps neighbours only, and the nodes of a CUDA
    graph, which may overlap, share one correlation id. Some profilers write durations that are far
    too long (AMD-AGI/TraceLens#669).
    """
    rows = np.flatnonzero(trace.is_gpu_work)
    order = rows[np.lexsort((trace.ts[rows], trace.lane[rows]))]
    lane, ts, corr, end = (c[order] for c in (trace.lane, trace.ts, trace.corr, trace.end))
    same = (lane[:-2] == lane[2:]) & (corr[:-2] != corr[1:-1]) & (corr[1:-1] != corr[2:])
    late = np.flatnonzero(same & (end[:-2] > ts[2:])) if len(order) > 2 else np.empty(0, np.int64)
    dur = trace.dur.copy()
    dur[order[late]] = ts[late + 1] - ts[late]
    return dur, len(late)
