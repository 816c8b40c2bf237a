"""GPU memory grows with every step.

What it detects
    What stays allocated after a step rises through the whole run: by a tenth of it or by 1 GiB,
    over 50 steps or more, the least held growing in every quarter of them. The first fifth of the
    steps, which allocate by nature, does not count.

Why it costs
    The run ends out of memory when the rest is used up, hours after it began. Before, the
    allocator frees its cache and tries again, and every such retry drains the GPU.

What to do
    Find what keeps tensors from one step to the next: a loss that is added up or appended
    without detach() keeps the graph of its step; lists of outputs; hooks and caches. A memory
    snapshot names the line that allocated what is still there.

When not to
    Data that is kept on the GPU on purpose and ends growing, such as a replay buffer.

References
    https://docs.pytorch.org/docs/stable/notes/faq.html (my model reports out of memory: history)
    https://docs.pytorch.org/docs/stable/torch_cuda_memory.html (snapshots)
    https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-profiler-rules.html
    (GPUMemoryIncrease: 10 %); TraceML confirms a creep of 1 GiB over 50 steps.
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import MemoryFacts
from perfkit.reports.advice._memory import available, leaks, peaks, ran_out
from perfkit.reports.format import count, size
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # no time measures it
_SNIPPET = (
    "losses.append(loss.detach())  # not: losses.append(loss), which keeps the step's graph\n"
    'with perfkit.profile("runs/leak", memory_snapshot=True) as p:  # then pytorch.org/memory_viz'
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Growth that goes on; a run that it has ended is out-of-memory's to tell."""
    memory = diagnosis.memory
    if memory is None or ran_out(diagnosis) or not leaks(memory):
        return None
    creep = memory.creep_bytes_per_step or 0.0
    return Advice(
        title=f"GPU memory grows by {size(creep)} a step{_ends(diagnosis, memory)}",
        cause="memory",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[_growth(memory), *peaks(diagnosis)],
        remedy=Remedy(
            text=(
                "Find what keeps tensors from step to step: detach() what is added up or appended, "
                "and look at a memory snapshot for the line that allocated it."
            ),
            snippet=_SNIPPET,
            applies_to="PyTorch",
        ),
        places=[],
        severity="warning",
    )


def _growth(memory: MemoryFacts) -> Evidence:
    text = f"{size(memory.grown_bytes)} more stay allocated after {memory.grown_steps} steps"
    return fact(text, memory.creep_bytes_per_step, "bytes/step")


def _ends(diagnosis: Diagnosis, memory: MemoryFacts) -> str:
    """How far the rest reaches."""
    there, creep = available(diagnosis), memory.creep_bytes_per_step
    if there is None or not creep:
        return ""
    left = max(there - memory.peak_allocated_bytes, 0.0) / creep
    return f": the rest lasts for {count(round(left))} steps"
