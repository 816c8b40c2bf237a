"""Traces in the same format that torch.profiler did not write, and why they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import PerfkitError
from perfkit.model.trace import Kind

if TYPE_CHECKING:
    from perfkit.model.trace import Trace

_ASCEND = ("AscendCL@", "torch_to_npu", "aclnn")
_LEGACY = "CPU functions"  # the process of operators, as torch.autograd.profiler calls it


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
