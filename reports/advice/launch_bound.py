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
    alone, and what it returns at most is that time.

References
    https://docs.pytorch.org/docs/stable/generated/torch.compile.html
    https://docs.vllm.ai/en/latest/design/cuda_graphs/
    https://docs.pytorch.org/docs/stable/notes/cuda.html (CUDA graphs); XProf calls 3 % of the
    step in kernel launches moderate and 15 % high. Here Python and operators count too, so the
    limits are higher.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.compute_facts import OptimizerFacts
from perfkit.model.diagnosis import Diagnosis, Evidence, Framework, Place, Remedy
from perfkit.reports.advice._memory import room
from perfkit.reports.advice._optimizer import fewer_launches, holds_the_gpu_up, launches_fact
from perfkit.reports.advice._serving import launch_remedy, replays_graphs, serves
from perfkit.reports.format import count, share, time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # of the step; see References
HOST = (Cause.LAUNCH, Cause.DISPATCH, Cause.PYTHON)
_LONG_GAP_US = 1000.0  # nsys-ai's floor for a gap of its own; a slow launch takes tens
_MOST_SHARE = 0.5


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time of the host's own pace."""
    if diagnosis.device.kind != "gpu" or not diagnosis.fidelity.host_events:
        return None
    cost = max(idle_us(diagnosis, *HOST) - _searching_us(diagnosis), 0.0)
    places, work = places_of(diagnosis, *HOST), _host_work(diagnosis)
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


def _searching_us(diagnosis: Diagnosis) -> float:
    """What ddp-unused-parameter-search tells: DDP's search is no launch that could be cheaper."""
    found = diagnosis.collective_facts
    return found.unused_search.idle_us if found and found.unused_search else 0.0


def _remedy(diagnosis: Diagnosis, optimizer: OptimizerFacts | None) -> Remedy:
    if optimizer is None:
        return _by_framework(diagnosis)
    return fewer_launches(diagnosis.framework.optimizer or "", optimizer)


def _split(diagnosis: Diagnosis) -> list[Evidence]:
    parts = ", ".join(f"{c.text} {time_us(diagnosis.idle_us.get(c.value, 0.0))}" for c in HOST)
    return [fact(f"per step: {parts}")]


def _kernels(diagnosis: Diagnosis) -> list[Evidence]:
    summary = diagnosis.kernel_summary
    if summary is None:
        return []
    text = (
        f"{count(summary.launches_per_step)} kernels per step, half of them shorter than "
        f"{time_us(summary.median_us)}; {share(summary.under_10us_share)} are under 10 us"
    )
    return [fact(text, summary.under_10us_share, "share")]


def _host_work(diagnosis: Diagnosis) -> Remedy | None:
    """What to do where the host is busy with something that cheaper launches leave as it is."""
    long, cost = next(iter(places_of(diagnosis, *HOST)), None), idle_us(diagnosis, *HOST)
    if long is not None and _is_one_long_gap(long, cost):
        return Remedy(
            text=(
                f"Most of it is a few long waits in {long.name}, {time_us(_each_us(long))} each: "
                "see what the host does there; cheaper launches would not help."
            )
        )
    if replays_graphs(diagnosis):
        return launch_remedy(diagnosis)
    python = diagnosis.idle_us.get(Cause.PYTHON.value, 0.0)
    if python > 0.6 * cost and not holds_the_gpu_up(diagnosis, cost):
        return Remedy(
            text=(
                "Most of it is Python between operators: profile it (py-spy, with_stack=True) and "
                "move it out of the step, to a worker, or to every N steps."
            )
        )
    return None


def _is_one_long_gap(place: Place, cost_us: float) -> bool:
    named = place.cause != Cause.PYTHON.value  # Python between operators has a remedy of its own
    return named and place.idle_us > _MOST_SHARE * cost_us and _each_us(place) > _LONG_GAP_US


def _each_us(place: Place) -> float:
    return place.idle_us / (place.count_per_step or 1.0)


def _by_framework(diagnosis: Diagnosis) -> Remedy:
    framework = diagnosis.framework
    if serves(diagnosis) and not framework.compiled:
        return launch_remedy(diagnosis)
    return _by_training(framework)


def _by_training(framework: Framework) -> Remedy:
    if framework.compiled:
        return Remedy(
            text=(
                "The model is compiled already: record it as CUDA graphs, and look for graph "
                "breaks (TORCH_LOGS=graph_breaks)."
            ),
            snippet='model = torch.compile(model, mode="reduce-overhead")',
            applies_to="torch.compile",
        )
    name = framework.optimizer or "AdamW"
    return Remedy(
        text=(
            "Compile the model with CUDA graphs and use a fused optimizer; a larger batch makes "
            "each kernel longer at the same host cost."
        ),
        snippet=(
            'model = torch.compile(model, mode="reduce-overhead")\n'
            f"optimizer = torch.optim.{name}(model.parameters(), fused=True)"
        ),
        applies_to="PyTorch training",
    )
