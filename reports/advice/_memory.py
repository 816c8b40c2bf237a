"""What the rules on device memory share: how much there is, and which of them tells of a fault.

One fault is told once, by the most specific rule: out-of-memory, then memory-leak, then
memory-fragmentation, then memory-near-limit, then allocator-churn.
"""

from __future__ import annotations

import re
from typing import Literal

from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.model.run_facts import MemoryFacts
from perfkit.reports.format import count, share, size
from perfkit.reports.rule import fact

FULL_SHARE = 0.90  # of the device: the profiler's TensorBoard plugin called memory "at its limit"
_NEED_SHARE = 0.80  # from where PyTorch's notes let the allocator give back unused blocks
_MUCH_ROOM_SHARE = 0.70  # SageMaker's BatchSize rule: less used at most is a batch too small
_GROWTH_SHARE = 0.10  # SageMaker's GPUMemoryIncrease
_GROWTH_BYTES = 1 << 30  # TraceML: a creep of 1 GiB over 50 steps is confirmed
_FEWEST_STEPS = 50
_ERROR = "OutOfMemoryError"  # torch's, of every kind of device
_NEW_NAME = (2, 9)  # torch: PYTORCH_CUDA_ALLOC_CONF became PYTORCH_ALLOC_CONF
_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


Reason = Literal["too large", "in pieces", "held by others", "full"]


def ran_out(diagnosis: Diagnosis) -> bool:
    """Whether the run ended because device memory did; without records, as its trace shows it."""
    run, failed = diagnosis.run, diagnosis.memory.failed if diagnosis.memory else None
    if run is None:
        return failed is not None and not failed.went_on
    return run.ended == "exception" and run.error == _ERROR


def why_failed(diagnosis: Diagnosis) -> Reason | None:
    """What the last failed allocation says of the memory; None where none is known."""
    failed, there = diagnosis.memory.failed if diagnosis.memory else None, available(diagnosis)
    if failed is None:
        return None
    if there and failed.asked_bytes > there:
        return "too large"
    if failed.asked_bytes <= failed.reserved_bytes - failed.allocated_bytes:
        return "in pieces"
    wanted = failed.reserved_bytes + failed.asked_bytes
    return "held by others" if there and wanted < FULL_SHARE * there else "full"


def failure(diagnosis: Diagnosis) -> list[Evidence]:
    """What was asked for when it failed, and what there was."""
    failed, there = diagnosis.memory.failed if diagnosis.memory else None, available(diagnosis)
    if failed is None:
        return []
    unused = failed.reserved_bytes - failed.allocated_bytes
    rest = f", {size(max(there - failed.reserved_bytes, 0))} not reserved" if there else ""
    said = (
        f"{size(failed.asked_bytes)} were asked for when {size(failed.allocated_bytes)} were "
        f"allocated, {size(unused)} reserved but not in use{rest}"
    )
    times = f"{count(failed.count)} allocations failed in the recording"
    return [
        fact(said, failed.asked_bytes, "bytes"),
        *([fact(times, failed.count, "1/recording")] if failed.count > 1 else []),
    ]


def leaks(memory: MemoryFacts) -> bool:
    """Whether memory grew all the time, by enough to be no chance."""
    grown, steps = memory.grown_bytes or 0, memory.grown_steps or 0
    first = max(memory.peak_allocated_bytes - grown, 1)
    return steps >= _FEWEST_STEPS and (grown >= _GROWTH_BYTES or grown >= _GROWTH_SHARE * first)


def is_fragmented(diagnosis: Diagnosis) -> bool:
    """Whether the limit was met though what was needed at once would have left a fifth free.

    Where much less was reserved, one request was too large.
    """
    memory, there = diagnosis.memory, available(diagnosis)
    if memory is None or there is None or not at_limit(diagnosis):
        return False
    is_full = memory.peak_reserved_bytes >= FULL_SHARE * there
    return is_full and memory.peak_allocated_bytes < _NEED_SHARE * there


def at_limit(diagnosis: Diagnosis) -> bool:
    """Whether the allocator had to free its cache to go on, or the run to end."""
    memory = diagnosis.memory
    return ran_out(diagnosis) or (memory is not None and (memory.steady_retries or 0) > 0)


def available(diagnosis: Diagnosis) -> float | None:
    """Bytes of the device that this process can have; None where it is not known."""
    setup, memory, known = diagnosis.setup, diagnosis.memory, diagnosis.device.memory_gb
    total = known * 1e9 if known else setup.gpu_memory_bytes if setup else None
    if total is None or memory is None:
        return total
    gpus = diagnosis.run.gpus if diagnosis.run else []
    used = gpus[0].memory_used_max_bytes if len(gpus) == 1 else None
    return total - max((used or 0) - memory.peak_reserved_bytes, 0)


def peaks(diagnosis: Diagnosis) -> list[Evidence]:
    """What was allocated and reserved at most, and the phases' own peaks."""
    memory, there = diagnosis.memory, available(diagnosis)
    if memory is None:
        return []
    of = f" of {size(there)} that the GPU has for this process" if there else ""
    peak, held = memory.peak_allocated_bytes, memory.peak_reserved_bytes
    said = f"at most {size(peak)} allocated and {size(held)} reserved{of}"
    phases = sorted(memory.peak_by_phase_bytes.items(), key=lambda item: -item[1])
    return [
        fact(said, peak / there if there else peak, "share" if there else "bytes"),
        *(fact(f"up to {size(most)} in {phase}", most, "bytes") for phase, most in phases[:3]),
    ]


def retries(memory: MemoryFacts) -> list[Evidence]:
    """How often the allocator freed all it had cached and tried again."""
    found = memory.steady_retries or 0
    text = f"{count(found)} times an allocation failed, and all cached memory was freed for it"
    return [fact(text, found, "1/run")] if found else []


def room(diagnosis: Diagnosis) -> list[Evidence]:
    """How much larger a batch fits, where there is much room; at least, for weights do not grow."""
    memory, there = diagnosis.memory, available(diagnosis)
    if memory is None or there is None or not memory.peak_allocated_bytes:
        return []
    used = memory.peak_allocated_bytes / there
    if used > _MUCH_ROOM_SHARE:
        return []
    larger = FULL_SHARE / used
    text = f"at most {share(used)} of the GPU's memory is used: a batch {larger:.1f} times as large"
    return [fact(f"{text} fits", larger, "times")]


def setting(diagnosis: Diagnosis) -> str:
    """The allocator's settings as the run had them, empty where it had none."""
    variables = diagnosis.setup.variables if diagnosis.setup else {}
    return next((variables[name] for name in _SETTINGS if name in variables), "")


def expands(diagnosis: Diagnosis) -> bool:
    """Whether segments can grow already."""
    return bool(re.search(r"expandable_segments:\s*true", setting(diagnosis), re.IGNORECASE))


def snippet(diagnosis: Diagnosis, option: str = "expandable_segments:True") -> str:
    """The line that sets an option of the allocator, under the name this torch knows."""
    text = (diagnosis.setup.torch if diagnosis.setup else None) or ""
    version = re.match(r"(\d+)\.(\d+)", text)
    before, after = f"export {_SETTINGS[1]}={option}", f"export {_SETTINGS[0]}={option}"
    if version is None:
        return f"{before}  # torch < 2.9\n{after}       # torch >= 2.9"
    return after if (int(version[1]), int(version[2])) >= _NEW_NAME else before
