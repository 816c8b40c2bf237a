"""The host launches kernels more slowly than the GPU finishes them.

What it detects
    Idle GPU time before operations that were not launched yet, while the launching thread was
    in a launch call, in an operator, or in Python between operators, and had not just been held
    up by the GPU.

Why it costs
    A launch costs the host 5 to 10 us in eager PyTorch, an operator some tens. When kernels are
    shorter than that, the GPU finishes each before the next one arrives.

What to do
    Fewer, larger kernels or cheaper launches: `torch.compile(mode="reduce-overhead")` or CUDA
    graphs replay a whole region with one launch; fused or foreach optimizers; a larger batch
    makes each kernel longer at the same host cost; move Python work out of the step. A window
    that serves gets the setting of its engine (vLLM, SGLang, TensorRT-LLM) or of generate().

When not to
    When shapes change each step, CUDA graphs record again and again. When a few long gaps make
    the cost, look at their places first: a single slow Python function is not mended by
    compiling. Where most of the time passes in the optimizer's step, the remedy is its fused form
    alone, and what it returns at most is that time. Launches of zero_grad are zeroed-gradients'.

References
    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    https://docs.vllm.ai/en/latest/design/cuda_graphs/
    https://docs.pytorch.org/docs/stable/notes/cuda.html (CUDA graphs); XProf calls 3 % of the
    step in kernel launches moderate and 15 % high. Here Python and operators count too, so the
    limits are higher.
"""

from __future__ import annotations

from perfkit.model.compute_facts import OptimizerFacts
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._launches import (
    HOST,
    by_framework,
    host_work,
    launching_places,
    launching_us,
    zeroing_us,
)
from perfkit.reports.advice._memory import room
from perfkit.reports.advice._optimizer import fewer_launches, holds_the_gpu_up, launches_fact
from perfkit.reports.format import count, share, time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    of_step,
    place_facts,
)

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # of the step; see References


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time of the host's own pace."""
    if diagnosis.device.kind != "gpu" or not diagnosis.fidelity.host_events:
        return None
    cost, work = launching_us(diagnosis), host_work(diagnosis)
    places = launching_places(diagnosis)
    optimizer = None if work else holds_the_gpu_up(diagnosis, cost)
    return Advice(
        title=f"The GPU idles {of_step(diagnosis, cost)} because the host launches too slowly",
        cause=max(HOST, key=lambda cause: diagnosis.idle_us.get(cause.value, 0.0)),
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            *_split(diagnosis),
            *([launches_fact(optimizer)] if optimizer else []),
            *_kernels(diagnosis),
            *room(diagnosis),
            *place_facts(places),
        ],
        remedy=work or _remedy(diagnosis, optimizer),
        places=places,
        bound_us=min(optimizer.idle_us, cost) if optimizer else None,
        fix=None if work or optimizer else "cuda-graphs",
    )


def _remedy(diagnosis: Diagnosis, optimizer: OptimizerFacts | None) -> Remedy:
    if optimizer is None:
        return by_framework(diagnosis)
    return fewer_launches(diagnosis.framework.optimizer or "", optimizer)


def _split(diagnosis: Diagnosis) -> list[Evidence]:
    parts = ", ".join(f"{c.text} {time_us(diagnosis.idle_us.get(c.value, 0.0))}" for c in HOST)
    zeroing = zeroing_us(diagnosis)
    told = f"; {time_us(zeroing)} of it in zero_grad, which zeroed-gradients tells"
    return [fact(f"per step: {parts}{told if zeroing else ''}")]


def _kernels(diagnosis: Diagnosis) -> list[Evidence]:
    summary = diagnosis.kernel_summary
    if summary is None:
        return []
    text = (
        f"{count(summary.launches_per_step)} kernels per step, half of them shorter than "
        f"{time_us(summary.median_us)}; {share(summary.under_10us_share)} are under 10 us"
    )
    return [fact(text, summary.under_10us_share, "share")]
