"""What the GPU did: its operations by state, and when each state held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfkit.analyzers.intervals import Intervals, union
from perfkit.analyzers.kernel_names import kind_of
from perfkit.analyzers.names import used
from perfkit.analyzers.rows import among, present
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Bools, Int32s, Int64s, Kind, Trace


@dataclass(frozen=True)
class GpuWork:
    """Operations of one device, ordered by start; all arrays have shape (operations,)."""

    trace: Trace
    device: int
    rows: Int64s
    """Positions in the trace."""
    is_copy: Bools
    is_communication: Bools

    @cached_property
    def start(self) -> Int64s:
        """Nanoseconds."""
        return self.trace.ts[self.rows]

    @cached_property
    def end(self) -> Int64s:
        """Nanoseconds."""
        return self.start + self.trace.dur[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def compute(self) -> Intervals:
        """When a kernel that is no communication ran on any stream."""
        return self._when(~self.is_copy & ~self.is_communication)

    @cached_property
    def communication(self) -> Intervals:
        """When a communication kernel ran, hidden or not."""
        return self._when(self.is_communication)

    @cached_property
    def copy(self) -> Intervals:
        """When a copy or memset ran, hidden or not."""
        return self._when(self.is_copy)

    @cached_property
    def kernels(self) -> Intervals:
        """When any kernel ran."""
        return self._when(~self.is_copy)

    @cached_property
    def busy(self) -> Intervals:
        """When anything ran."""
        return self._when(np.ones(len(self), dtype=np.bool_))

    def _when(self, mask: Bools) -> Intervals:
        return union(self.start[mask], self.end[mask])


def gpu_work(trace: Trace) -> GpuWork:
    """The work of the device that was busy longest, which is the rank's own."""
    device_of_lane = np.array([lane.device for lane in trace.lanes], dtype=np.int64)
    rows = np.flatnonzero(trace.is_gpu_work)
    device = _busiest(device_of_lane, trace.lane[rows], trace.dur[rows])
    if device >= 0:
        rows = rows[(device_of_lane == device)[trace.lane[rows]]]
    return GpuWork(
        trace=trace,
        device=device,
        rows=rows,
        is_copy=np.isin(trace.kind[rows], (Kind.MEMCPY, Kind.MEMSET)),
        is_communication=_communication(trace, rows),
    )


def _busiest(device_of_lane: Int64s, lane: Int32s, dur: Int64s) -> int:
    """The device whose lanes have most of the time, -1 where there are none."""
    lanes = present(lane)
    if not lanes:
        return -1
    found, device = np.unique(device_of_lane[lanes], return_inverse=True)
    return int(found[np.argmax(np.bincount(device, np.bincount(lane, dur)[lanes]))])


def _communication(trace: Trace, rows: Int64s) -> Bools:
    """By name, and by the arguments that only collectives have."""
    is_kernel = trace.kind[rows] == Kind.KERNEL
    named = np.zeros(len(trace.names), dtype=np.bool_)
    for i in used(trace, rows[is_kernel]):
        named[i] = kind_of(trace.names[i]) is KernelKind.COMMUNICATION
    told = among(trace.row[rows], trace.collectives.row)
    return np.asarray(is_kernel & (named[trace.name[rows]] | told))
