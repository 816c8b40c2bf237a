"""What a window without backward and optimizer serves, and how fast: latencies, batch, phase.

Times are microseconds, counts are means over the counted steps, shares are 0..1; an absent value
was not told by the trace, which is not the same as 0.
"""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun

Phase = Literal["prefill", "decode", "mixed", "forward"]
"""Prompts read, tokens generated one by one, both in one step, or a model without tokens."""
ToldBy = Literal["names", "shapes", "kernels", "token loop"]


class Latency(Noun, frozen=True, kw_only=True):
    """The distribution of `count` measured times."""

    count: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


class ServedSteps(Noun, frozen=True, kw_only=True):
    """The counted steps of one phase, from the ranges that a serving engine leaves.

    `prompts` and `generations` are requests per step; tokens are those computed in a step, of
    prompts and of generations; `context_tokens` are the cached tokens that a step's generations
    look at.
    """

    phase: Phase
    wall: Latency
    prompts: float
    generations: float
    prompt_tokens: float | None = None
    generated_tokens: float | None = None
    context_tokens: float | None = None


class PassShape(Noun, frozen=True, kw_only=True):
    """What the shapes of attention or convolutions say of a forward pass.

    `sequences` is the batch; `tokens` are computed of each sequence, which looks at `context`.
    """

    sequences: int
    tokens: int | None = None
    context: int | None = None


class WeightReads(Noun, frozen=True, kw_only=True):
    """Matrix products with weights, per step, and bounds at the device's peak rates.

    `rows` is what a typical read of weights serves, tokens or samples; from `balanced_rows` on,
    computing takes as long as reading. `beyond_us` is what reading takes beyond computing.
    """

    weight_bytes: float
    cache_bytes: float | None = None
    """Keys and values that attention reads."""
    rows: int
    balanced_rows: int | None = None
    bound_us: float | None = None
    """No step can be shorter: weights and cache at the peak memory bandwidth."""
    beyond_us: float | None = None
    memory_gb_per_s: float | None = None


class InferenceFacts(Noun, frozen=True, kw_only=True):
    """An inference window.

    `steps` has the latency of steps and `tokens` that of the tokens of a loop inside of them;
    `graph_share` is the share of kernel time that CUDA graphs replayed, `autograd_nodes` how many
    operators a step made autograd record, at least.
    """

    phase: Phase
    told_by: ToldBy | None = None
    engine: str | None = None
    steps: Latency | None = None
    tokens: Latency | None = None
    tokens_per_step: float | None = None
    served: list[ServedSteps] = []
    graph_share: float | None = None
    shape: PassShape | None = None
    reads: WeightReads | None = None
    autograd_nodes: float | None = None
