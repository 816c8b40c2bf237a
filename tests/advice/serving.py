"""Inference windows for the rules' tests."""

from __future__ import annotations

from typing import Any

from perfkit.model.inference_facts import (
    InferenceFacts,
    Latency,
    Phase,
    ServedSteps,
    WeightReads,
)


def latency(p50_us: float, count: int = 20) -> Latency:
    """A narrow distribution around this time."""
    return Latency(count=count, p50_us=p50_us, p90_us=1.1 * p50_us, p99_us=1.2 * p50_us,
                   max_us=1.3 * p50_us)  # fmt: skip


def served(phase: Phase, p50_us: float, count: int = 20, **facts: Any) -> ServedSteps:
    """Steps of 32 generations, or of a prompt of 2000 tokens, or of both."""
    prompts, generations = float(phase != "decode"), 32.0 * (phase != "prefill")
    usual = {"prompts": prompts, "generations": generations, "prompt_tokens": 2000 * prompts,
             "generated_tokens": generations}  # fmt: skip
    return ServedSteps(phase=phase, wall=latency(p50_us, count), **(usual | facts))


def inference(phase: Phase = "decode", **facts: Any) -> InferenceFacts:
    """A window that serves."""
    return InferenceFacts(**{"phase": phase, "steps": latency(10_000.0), **facts})


def reads(rows: int, beyond_us: float | None, **facts: Any) -> WeightReads:
    """16 GB of weights on an H100, where 295 rows are in balance."""
    return WeightReads(**{"weight_bytes": 16e9, "rows": rows, "balanced_rows": 295,
                          "bound_us": 4776.0, "beyond_us": beyond_us, "memory_gb_per_s": 3350.0,
                          **facts})  # fmt: skip
