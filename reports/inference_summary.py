"""An inference window in words: what it serves, and the latency of its steps and tokens."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.inference_facts import (
    InferenceFacts,
    Latency,
    PassShape,
    ServedSteps,
    WeightReads,
)
from perfkit.reports.format import clean, count, share, size, time_us, times_us
from perfkit.reports.summary import worded

PHASES = {
    "prefill": "prefill",
    "decode": "decode",
    "mixed": "prefill and decode",
    "forward": "forward passes",
}
_LEAST_GRAPH_SHARE = 0.01


def inference_lines(diagnosis: Diagnosis) -> list[str]:
    """One line; none for a window that trains, or of which nothing but that is known."""
    facts = diagnosis.inference
    if facts is None or not tells_something(facts):
        return []
    parts = [_what(facts), *_batches(facts), *_latencies(facts), *_graphs(facts)]
    return [worded(diagnosis, f"Inference: {'; '.join(parts)}.")]


def tells_something(facts: InferenceFacts) -> bool:
    """Whether more is known than that nothing trains."""
    several = facts.steps is not None and facts.steps.count > 1
    return bool(facts.told_by or facts.engine or several or facts.shape)


def latency_text(latency: Latency) -> str:
    """Such as "p50 3.10 ms, p90 3.40, p99 9.00 of 40"."""
    p50, p90, p99 = times_us([latency.p50_us, latency.p90_us, latency.p99_us])
    return f"p50 {p50}, p90 {p90}, p99 {p99} of {count(latency.count)}"


def batch_text(served: ServedSteps) -> str:
    """Requests and tokens of a step of one phase."""
    parts = [
        _requests(served.prompts, "prompt", served.prompt_tokens),
        _requests(served.generations, "generation", served.generated_tokens),
    ]
    text = " and ".join(part for part in parts if part) + " per step"
    if served.context_tokens and served.generations:
        text += f", {count(round(served.context_tokens / served.generations))} tokens of context"
    return text


def shape_text(shape: PassShape) -> str:
    """Such as "batch 16 of 559 tokens", or of one token each that looks at many."""
    text = f"batch {shape.sequences}"
    if shape.tokens is None:
        return text
    plural = "" if shape.tokens == 1 else "s"
    text += f" of {count(shape.tokens)} token{plural}"
    seen = shape.context is not None and shape.context != shape.tokens
    return f"{text}, {count(shape.context)} of context" if seen else text


def rows_text(reads: WeightReads) -> str:
    """The tokens or samples that a read of weights serves."""
    return "one row" if reads.rows == 1 else f"{count(reads.rows)} rows"


def reads_text(reads: WeightReads) -> str:
    """What memory must move for a step, and the bound that this sets, where the peak is known."""
    cache = f" and {size(reads.cache_bytes)} of keys and values" if reads.cache_bytes else ""
    text = f"{size(reads.weight_bytes)} of weights{cache} per step for {rows_text(reads)}"
    if reads.bound_us is None or reads.memory_gb_per_s is None:
        return text
    return (
        f"{text}: at least {time_us(reads.bound_us)} at the peak bandwidth of "
        f"{count(reads.memory_gb_per_s)} GB/s (a bound)"
    )


def _requests(number: float, noun: str, tokens: float | None) -> str:
    if not number:
        return ""
    of = f" of {count(tokens)} tokens" if tokens and tokens != number else ""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}{of}"


def _what(facts: InferenceFacts) -> str:
    by = f" by {clean(facts.engine)}" if facts.engine else ""
    return f"{PHASES[facts.phase]}{by}"


def _batches(facts: InferenceFacts) -> list[str]:
    if not facts.served:
        return [shape_text(facts.shape)] if facts.shape else []
    if len(facts.served) > 1:
        return [f"{count(s.wall.count)} steps of {PHASES[s.phase]}" for s in facts.served]
    return [batch_text(facts.served[0])]


def _latencies(facts: InferenceFacts) -> list[str]:
    found = (("steps", facts.steps), ("tokens", facts.tokens))
    return [f"{name} {latency_text(t)}" for name, t in found if t is not None and t.count > 1]


def _graphs(facts: InferenceFacts) -> list[str]:
    if facts.graph_share is None or facts.graph_share < _LEAST_GRAPH_SHARE:
        return []
    return [f"{share(facts.graph_share)} of kernel time from CUDA graphs"]
