"""Traces in the same format that torch.profiler did not write so, and why they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.errors import PerfkitError
from perfkit.model.trace import Kind

if TYPE_CHECKING:
    from perfkit.model.trace import Int64s, Trace

_ASCEND = ("AscendCL@", "torch_to_npu", "aclnn")
_OVERHEAD = "-1"  # the process in which the profiler's own overhead stands
_MOST_NAMED = 4
_MOST_SHARED = 0.1  # of the numbers of calls
_LEGACY = "CPU functions"  # the process of operators, as torch.autograd.profiler calls it


def refuse_merged(path: str, trace: Trace) -> None:
    """Raise PerfkitError where several processes launched work under the same numbers."""
    processes = sorted({lane.pid for lane in trace.lanes if not lane.is_gpu} - {_OVERHEAD})
    if len(processes) < 2:
        return
    calls = np.flatnonzero((trace.kind == Kind.RUNTIME) & (trace.corr > 0))
    number = {pid: i for i, pid in enumerate(processes)}
    of_lane = np.array([number.get(lane.pid, -1) for lane in trace.lanes], dtype=np.int64)
    used = np.flatnonzero(np.bincount(trace.lane[calls], minlength=len(of_lane)))
    launching = [processes[i] for i in np.unique(of_lane[used]).tolist()]
    if len(launching) > 1 and _share_numbers(of_lane[trace.lane[calls]], trace.corr[calls]):
        raise PerfkitError(
            f"{path} holds the recordings of {len(launching)} processes "
            f"({', '.join(launching[:_MOST_NAMED])}), whose calls cannot be told apart: "
            "pass the file of one rank."
        )


def _share_numbers(process: Int64s, corr: Int64s) -> bool:
    """Whether processes count their calls alike: one process never gives a number twice."""
    pairs = np.unique(np.stack((corr, process)), axis=1)
    counts = np.unique(pairs[0], return_counts=True)[1]
    return bool((counts > 1).mean() > _MOST_SHARED)


def refuse_foreign(path: str, trace: Trace) -> None:
    """Raise PerfkitError where no event is of a kind perfkit knows, or the device's are not."""
    if trace.is_gpu_work.any():
        return
    if any(name.startswith(_ASCEND) for name in trace.names):
        raise PerfkitError(
            f"{path} is a trace of an Ascend NPU, whose kernels perfkit does not read: "
            "analyze it with msprof-analyze, or pass a trace of a GPU."
        )
    if (trace.kind != Kind.OTHER).any():
        return
    if any(lane.pid == _LEGACY for lane in trace.lanes):
        raise PerfkitError(
            f"{path} is of torch.autograd.profiler, which records no GPU work: "
            "record with torch.profiler.profile and export again."
        )
    raise PerfkitError(
        f"{path} is a trace of another tool (none of its events has a category of PyTorch "
        "Profiler): export one with torch.profiler's export_chrome_trace and pass that file."
    )
