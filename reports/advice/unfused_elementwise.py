"""Element-wise kernels run one after another where one would do.

What it detects
    Element-wise kernels whose stream had another one right before them: chains that a compiler
    writes as a single kernel. Of each two, the time of the shorter one is counted, from 5 us on:
    what moves in less time stays in the cache. Silent where the model is compiled already.

Why it costs
    Each reads its input from memory and writes its result there, for a handful of operations an
    element. Joined, the result of the first stays in registers: it is neither written nor read
    again, which saves at most the time of the shorter of the two. What launches cost is not
    counted; where the GPU waits for them, launch-bound tells it.

What to do
    torch.compile on the model, or on the function that holds the chain; fused kernels for what is
    common (RMSNorm, rotary embedding, SwiGLU, cross entropy).

When not to
    Neighbours on a stream need not depend on one another: the sums of gradients do not, for one.
    Shapes that change each step make torch.compile compile again (dynamic=True). The optimizer's
    kernels have a rule of their own.

References
    https://docs.pytorch.org/docs/stable/torch.compiler.html
    https://docs.vllm.ai/en/latest/design/torch_compile/
    https://github.com/stas00/ml-engineering (training/performance: what fusing returns)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import CHANCE, engine, of_compute
from perfkit.reports.advice._serving import serves
from perfkit.reports.format import count, time_us
from perfkit.reports.gains import is_within_error
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = CHANCE


def check(diagnosis: Diagnosis) -> Advice | None:
    """What joining neighbours could save at most."""
    found = diagnosis.waste.chains if diagnosis.waste else None
    if found is None or diagnosis.framework.compiled:
        return None
    cost = of_compute(diagnosis, found.total_us)
    return Advice(
        title=f"Element-wise kernels that their neighbours could include take up to "
        f"{of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"element-wise kernels per step that follow another one on their stream: "
                 f"{count(found.count_per_step)}; the shorter ones of each two take "
                 f"{time_us(found.total_us)}", found.total_us, "us/step")
        ],
        gain_note=_with_launches(diagnosis, cost),
        remedy=(_ENGINES.get(engine(diagnosis)) if serves(diagnosis) else None) or _COMPILE,
        places=[],
    )  # fmt: skip


def _with_launches(diagnosis: Diagnosis, cost_us: float) -> str:
    """What the fix of nearly the same name says, where that is more than the cost."""
    fixes = diagnosis.whatif.fixes if diagnosis.whatif else []
    gain = next((row.gain_us for row in fixes if row.fix == "fusion"), None)
    if gain is None or is_within_error(gain) or (gain.expected or 0.0) <= cost_us:
        return ""
    return (
        "time of kernels alone: what-if says "
        f"{time_us(gain.expected)} for fusion, with launches and the optimizer's kernels"
    )


_COMPILE = Remedy(
    text="Compile the model, or the functions that hold these chains.",
    snippet="model = torch.compile(model)  # dynamic=True where shapes change",
    applies_to="PyTorch 2.0 and newer",
)
_ENGINES = {
    "vLLM": Remedy(
        text="Let the engine compile the model, which it does unless --enforce-eager forbids it.",
        snippet="vllm serve MODEL    # without --enforce-eager",
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text="Let the engine compile the model for the small batches of decoding.",
        snippet="python -m sglang.launch_server --model-path MODEL --enable-torch-compile",
        applies_to="SGLang",
    ),
}
