"""Steps ask the driver for device memory and give it back.

What it detects
    Idle GPU time while the launching thread is in cudaMalloc, cudaFree or their relatives
    inside steps that should run from PyTorch's cache, and the idle time after a cudaFree had
    drained the GPU.

Why it costs
    cudaMalloc takes tens to hundreds of microseconds, and cudaFree waits until the device is
    idle. PyTorch caches memory so that steady steps need neither.

What to do
    Let segments grow instead of being returned (expandable_segments), do not call
    torch.cuda.empty_cache() in the loop, pad or bucket inputs so that shapes repeat, and leave
    some head room: at the memory's limit the allocator frees and retries.

When not to
    The first steps allocate by nature; look at steady ones. A recording of one step is therefore
    never a warning. expandable_segments is not for every platform.

References
    https://docs.pytorch.org/docs/stable/notes/cuda.html (memory management,
    PYTORCH_CUDA_ALLOC_CONF; torch 2.9 and newer call it PYTORCH_ALLOC_CONF)
"""

from __future__ import annotations

import math

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._memory import at_limit, expands, setting, snippet
from perfkit.reports.format import time_us, times_text
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for input: XProf's 5 and 20 %
_INFORM = Limits(warning_share=math.inf, critical_share=math.inf)
_FEWEST_STEPS = 2  # one step, or a recording without steps, may be the first, which must allocate
_MOST_CALLS = 4
_NO_CACHE = "PYTORCH_NO_CUDA_MEMORY_CACHING"


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time charged to memory calls of the driver; at memory's limit other rules tell of it."""
    if at_limit(diagnosis):
        return None
    cost = idle_us(diagnosis, Cause.ALLOCATOR)
    if cost <= 0:
        return None
    places = places_of(diagnosis, Cause.ALLOCATOR)
    calls = [call for call in diagnosis.host_calls if call.role == Cause.ALLOCATOR.value]
    return Advice(
        title=f"Allocating device memory idles the GPU {of_step(diagnosis, cost)}",
        cause=Cause.ALLOCATOR,
        cost_us=cost,
        limits=LIMITS if diagnosis.steps.count >= _FEWEST_STEPS else _INFORM,
        evidence=[
            *(fact(f"{c.name}: {times_text(c.count_per_step)} and {time_us(c.total_us)} per step",
                   c.count_per_step, "1/step") for c in calls[:_MOST_CALLS]),
            *place_facts(places),
        ],
        remedy=_remedy(diagnosis),
        places=places,
        fix="allocator",
    )  # fmt: skip


def _remedy(diagnosis: Diagnosis) -> Remedy:
    variables = diagnosis.setup.variables if diagnosis.setup else {}
    if _NO_CACHE in variables:
        return Remedy(
            text=f"{_NO_CACHE} turns the caching allocator off: unset it outside of debugging.",
            snippet=f"unset {_NO_CACHE}",
            applies_to="PyTorch",
        )
    if expands(diagnosis):
        return Remedy(
            text=(
                f"Segments expand already ({setting(diagnosis)}): call no empty_cache() in the "
                "loop, and make shapes repeat by padding or bucketing."
            ),
            applies_to="PyTorch",
        )
    return Remedy(
        text=(
            "Let the caching allocator keep its memory: expandable segments, no empty_cache() "
            "in the loop, and shapes that repeat."
        ),
        snippet=snippet(diagnosis),
        applies_to="PyTorch",
    )
