"""Steps that also read prompts make running generations wait.

What it detects
    In a serving engine's trace, whose ranges say what each step does: steps that read prompts and
    generate in one, and take five times as long as steps that only generate, or longer.

Why it costs
    Every generation in the batch gets its next token when the step ends. A prompt of thousands
    of tokens in it keeps all of them waiting: the tail of the latency between tokens.

What to do
    Let a step read fewer tokens of a prompt at a time (chunked prefill with a smaller token
    budget), or read prompts on other GPUs than those that generate.

When not to
    Where throughput counts and not latency: the same prompts are read either way, and small
    pieces use the GPU less well and delay the first token. A few short steps show little: it
    wants three of each kind.

References
    https://docs.vllm.ai/en/latest/configuration/optimization/ (chunked prefill)
    https://arxiv.org/abs/2403.02310 (Sarathi-Serve: stalls of generations, chunks against
    them, and five times a step without prompts as the strict objective)
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.inference_facts import InferenceFacts, ServedSteps
from perfkit.reports.format import time_us
from perfkit.reports.inference_summary import batch_text
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # latency against throughput
_TIMES_LONGER = 5.0  # Sarathi-Serve's strict objective for the time between tokens
_FEWEST_STEPS = 3
_REMEDIES = {
    "vLLM": Remedy(
        text=(
            "Lower the tokens a step may compute, so that prompts are read in smaller chunks; or "
            "run prefill and decode in separate instances."
        ),
        snippet="vllm serve MODEL --max-num-batched-tokens 2048",
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text=("Read prompts in smaller chunks; or run prefill and decode in separate instances."),
        snippet="python -m sglang.launch_server --model-path MODEL --chunked-prefill-size 2048",
        applies_to="SGLang",
    ),
}
_ANY = Remedy(text="Read prompts in chunks of bounded size between the steps of generations.")


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time by which steps with prompts are longer than steps without, per step."""
    facts = diagnosis.inference
    if facts is None:
        return None
    mixed, decode = _of(facts, "mixed"), _of(facts, "decode")
    if mixed is None or decode is None:
        return None
    if mixed.wall.p50_us < _TIMES_LONGER * decode.wall.p50_us:
        return None
    excess = mixed.wall.p50_us - decode.wall.p50_us
    cost = excess * mixed.wall.count / diagnosis.steps.count
    return Advice(
        title=f"Prompts make running generations wait {of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[_fact(mixed, "read prompts as well"), _fact(decode, "only generate")],
        remedy=_REMEDIES.get(facts.engine or "", _ANY),
        places=[],
    )


def _of(facts: InferenceFacts, phase: str) -> ServedSteps | None:
    steps = next((s for s in facts.served if s.phase == phase), None)
    return steps if steps is not None and steps.wall.count >= _FEWEST_STEPS else None


def _fact(steps: ServedSteps, what: str) -> Evidence:
    wall = steps.wall
    return fact(
        f"{wall.count} steps {what} ({batch_text(steps)}): half of them take "
        f"{time_us(wall.p50_us)} or more",
        wall.p50_us,
        "us",
    )
