"""Each step's wall time cut once: compute, exposed communication, exposed copy, idle by cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.pieces import Pieces
from perfkit.analyzers.steps import Windows, step_of
from perfkit.model.cause import CAUSES
from perfkit.model.trace import Int64s


@dataclass(frozen=True)
class StepTimes:
    """Nanoseconds per step; shapes (steps,), `idle` (steps, causes) in the order of CAUSES.

    wall = compute + communication + copy + idle summed over causes, exactly.
    """

    wall: Int64s
    compute: Int64s
    communication: Int64s
    copy: Int64s
    idle: Int64s

    def take(self, rows: Int64s) -> StepTimes:
        """Some of the steps."""
        return StepTimes(
            self.wall[rows],
            self.compute[rows],
            self.communication[rows],
            self.copy[rows],
            self.idle[rows],
        )


def step_times(work: GpuWork, pieces: Pieces, windows: Windows) -> StepTimes:
    """Cut the windows by what the GPU did, and the rest by cause."""
    compute = work.compute.covered(windows.start, windows.end)
    kernels = work.kernels.covered(windows.start, windows.end)
    busy = work.busy.covered(windows.start, windows.end)
    return StepTimes(
        wall=windows.end - windows.start,
        compute=compute,
        communication=kernels - compute,
        copy=busy - kernels,
        idle=idle_by_cause(pieces, windows),
    )


def idle_by_cause(pieces: Pieces, windows: Windows) -> Int64s:
    """Nanoseconds of each cause in each step; shape (steps, causes)."""
    idle = np.zeros((len(windows), len(CAUSES)), dtype=np.int64)
    np.add.at(idle, (step_of(pieces.start, windows), pieces.cause), pieces.end - pieces.start)
    return idle
