"""Whether a trace without GPU work is of a CPU, or lacks the records of what a GPU did."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.launches import Launches
from perfkit.analyzers.names import LONGEST, used
from perfkit.model.trace import Kind, Trace

# Calls that give a GPU work or wait for some; the profiler itself asks for devices and their state.
_GIVES_WORK = re.compile(
    r"Launch|Memcpy|Memset|Malloc|EventRecord|StreamSynchronize|StreamWaitEvent"
)
_ON_GPUS_ALONE = re.compile(
    r"^nccl:|^aten::(_?cudnn_|_?miopen_|_flash_attention_|_efficient_attention_"
    r"|_scaled_dot_product_(flash|efficient|cudnn)_attention(_backward)?$)"
)
_ON_APPLES = re.compile(r"^aten::(_?mps_|_?\w{1,60}_mps$)")
_OF_INTEL = re.compile(r"^(ur|ze)[A-Z]")
_ON_CPUS_ALONE = re.compile(r"^aten::_?mkldnn_|_for_cpu")
_CUT = "The file is cut before the records of GPUs, which come last"


def lost_gpu_work(trace: Trace, calls: Launches) -> str | None:
    """For a trace without GPU work: what shows that a GPU worked or may have, and what to do.

    None where nothing does: then the CPU is the device.
    """
    cut = trace.info.damage.truncated
    if len(calls.orphans):
        return _unrecorded(trace, calls, cut)
    apples = _names(trace, _ON_APPLES, Kind.OPERATOR)
    if apples is not None:
        return (
            f"{apples} ran on an Apple GPU (MPS), of which torch.profiler records nothing: "
            "measure it with torch.mps.profiler or Instruments."
        )
    seen = _names(trace, _GIVES_WORK, Kind.RUNTIME) or _names(trace, _ON_GPUS_ALONE, Kind.OPERATOR)
    seen = seen or _names(trace, _ON_GPUS_ALONE, Kind.ANNOTATION)
    seen = seen or _names(trace, re.compile(""), Kind.SYNC, Kind.GPU_ANNOTATION)
    if seen is not None:
        why = f"{_CUT}, and" if cut else "No GPU activity was recorded, though"
        return f"{why} {seen} shows that there was a GPU: {_REMEDY[cut]}."
    if _names(trace, _ON_CPUS_ALONE, Kind.OPERATOR) is not None:
        return None
    return _unknown(trace)


_REMEDY = {
    False: "profile with ProfilerActivity.CUDA",
    True: "let the profiler write to the end, or record fewer steps",
}


def _unrecorded(trace: Trace, calls: Launches, cut: bool) -> str:
    count = len(calls.orphans)
    if cut:
        return (
            f"{_CUT}: the host launched {count:,} operations, of which none is left; "
            f"{_REMEDY[True]}."
        )
    intel = _OF_INTEL.match(trace.names[trace.name[calls.orphans[0]]])
    activity, library = ("XPU", "PTI") if intel else ("CUDA", "CUPTI (or roctracer)")
    return (
        f"No GPU activity was recorded, though the host launched {count:,} operations: "
        f"profile with ProfilerActivity.{activity} and check that {library} may be used."
    )


def _unknown(trace: Trace) -> str | None:
    """Where no event tells: what the head of the file says of GPUs, and whether all of it is here.

    A profiler that watches GPUs records calls of their driver, its own at least.
    """
    info = trace.info
    if info.damage.truncated and not info.has_no_device:
        return f"{_CUT}, so that nothing tells whether there was a GPU: {_REMEDY[True]}."
    if info.devices and not (trace.kind == Kind.RUNTIME).any():
        return (
            "The machine has GPUs, and they were not recorded: profile with ProfilerActivity.CUDA; "
            "if the job used the CPU alone, hide them from it (CUDA_VISIBLE_DEVICES=) and record "
            "again."
        )
    return None


def _names(trace: Trace, pattern: re.Pattern[str], *kinds: Kind) -> str | None:
    """The first name of an event of these kinds that matches."""
    names = (trace.names[i][:LONGEST] for i in used(trace, np.isin(trace.kind, kinds)))
    return next((name for name in names if pattern.search(name)), None)
