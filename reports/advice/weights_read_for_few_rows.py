"""Weights are read from memory for fewer rows than computing could serve in that time.

What it detects
    In an inference window: matrix products whose weights take longer to read, at the device's
    peak bandwidth, than the products take at its peak rate, because few rows (tokens of a decode
    step, samples of a small batch) share a read. From half of the rows on at which both take as
    long it is silent. Both times are bounds from shapes and a table of peaks, not measurements.

Why it costs
    A step reads every weight once, whatever the batch. Twice the rows take hardly longer while
    reading is what limits, so each token or sample costs half.

What to do
    Let more requests share a step: continuous batching with more sequences at once, requests
    gathered for a few milliseconds. Where latency is all that counts: fewer bytes of weights
    (8- or 4-bit weights), or several tokens a read (speculative decoding).

When not to
    Where one request is all there is, or its latency must not grow at all. A larger batch needs
    memory for its keys and values. What is charged is the reading time beyond computing, which
    more rows share: the step itself gets no shorter by them.

References
    https://docs.nvidia.com/deeplearning/performance/dl-performance-gpu-background/index.html
    (arithmetic intensity, memory and math limits)
    https://www.usenix.org/conference/osdi22/presentation/yu (Orca: batching by iteration)
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.model.inference_facts import InferenceFacts
from perfkit.reports.format import count, time_us
from perfkit.reports.inference_summary import reads_text, rows_text
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # a chance, not a fault
_MOST_OF_BALANCED = 0.5  # at the peak rates twice the rows still cost no time

_ENGINES = {
    "vLLM": Remedy(
        text=(
            "Send more requests at once and let a step hold more sequences; with few requests "
            "read fewer bytes: 8- or 4-bit weights, or speculative decoding."
        ),
        snippet="vllm serve MODEL --max-num-seqs 256     # and as many concurrent clients",
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text=(
            "Send more requests at once and let more of them run; with few requests read fewer "
            "bytes: 8- or 4-bit weights, or speculative decoding."
        ),
        snippet="python -m sglang.launch_server --model-path MODEL --max-running-requests 256",
        applies_to="SGLang",
    ),
}
_TOKENS = Remedy(
    text=(
        "Generate for several requests at once, best in an engine with continuous batching (vLLM, "
        "SGLang); with few requests read fewer bytes: 8- or 4-bit weights, speculative decoding."
    ),
    applies_to="token generation",
)
_SAMPLES = Remedy(
    text=(
        "Gather requests for a few milliseconds and run them as one batch, as serving frameworks "
        "do (dynamic batching); with single requests read fewer bytes: 8-bit weights."
    ),
    applies_to="PyTorch inference",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of reading weights beyond computing with them."""
    facts = diagnosis.inference
    reads = facts.reads if facts else None
    if facts is None or reads is None or not reads.beyond_us or not reads.balanced_rows:
        return None
    if reads.rows > _MOST_OF_BALANCED * reads.balanced_rows:
        return None
    cost = reads.beyond_us
    return Advice(
        title=f"Reading weights for only {rows_text(reads)} takes {of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(reads_text(reads), reads.bound_us, "us/step"),
            fact(f"from {count(reads.balanced_rows)} rows on, computing takes as long as reading",
                 reads.balanced_rows, "rows"),
            fact(f"beyond computing, reading takes {time_us(cost)} per step", cost, "us/step"),
        ],
        remedy=_remedy(facts),
        places=[],
    )  # fmt: skip


def _remedy(facts: InferenceFacts) -> Remedy:
    if facts.engine in _ENGINES:
        return _ENGINES[facts.engine]
    return _SAMPLES if facts.phase == "forward" else _TOKENS
