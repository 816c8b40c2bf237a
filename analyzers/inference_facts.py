"""Windows without backward and optimizer: what they serve and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.names import LONGEST, matching, used
from perfkit.analyzers.pass_shapes import PassShapes, pass_shapes
from perfkit.analyzers.served import SERVED, Served, served
from perfkit.analyzers.steps import step_of
from perfkit.analyzers.weight_reads import weight_reads
from perfkit.model.compute_facts import ComputeFacts
from perfkit.model.diagnosis import Framework, Kernel
from perfkit.model.inference_facts import InferenceFacts, Latency, Phase, ServedSteps, ToldBy
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Int64s, Kind

_ENGINES = (
    ("vLLM", re.compile(r"^vllm(::|/)|/vllm/v1/")),
    (
        "SGLang",
        re.compile(r"^sgl_kernel::|^sglang::|(^|/)sglang/srt/|^step\[(?i:EXTEND|DECODE|MIXED)\b"),
    ),
    ("ATOM", re.compile(r"^(prefill|decode)\[bs=")),
    ("TensorRT-LLM", re.compile(r"^trtllm::|(^|/)tensorrt_llm/|^\[Executor\] _forward_step")),
    ("Transformers", re.compile(r"(^|/)transformers/generation/utils\.py")),
)
_GRAPH_LAUNCH = re.compile(r"(cuda|hip)GraphLaunch")
# A sampled token each; multinomial calls argmax, so the first that occurs is the one that counts.
_SAMPLES = tuple(re.compile(rf"^aten::{name}$") for name in ("multinomial", "argmax"))
_FEWEST_TOKENS = 4  # a step: fewer are no loop
# Attention kernels that their libraries have for one phase alone.
_DECODE = re.compile(
    r"BatchDecode|paged_attention_(v[12]|ll4mi)|decode_attention|mla_decode|flash_?decod"
    r"|masked_multihead_attention|\bmmha\b",
    re.IGNORECASE,
)
_PREFILL = re.compile(r"BatchPrefill|context_attention|_prefill", re.IGNORECASE)
_ONE_VECTOR = re.compile(r"gemv", re.IGNORECASE)
_MOST_OF_IT = 0.5


def inference_facts(
    facts: Facts, framework: Framework, kernels: list[Kernel], compute: ComputeFacts | None
) -> InferenceFacts | None:
    """None for a window that trains, and where operators are missing to tell."""
    if not framework.inference:
        return None
    groups = _served(facts)
    token_gaps, tokens = _token_loop(facts)
    shapes = pass_shapes(facts)
    phase, told_by = _phase(shapes, groups, kernels, is_loop=tokens is not None)
    return InferenceFacts(
        phase=phase,
        told_by=told_by,
        engine=_engine(facts),
        steps=_latency(facts.times.wall[facts.counted]),
        tokens=_latency(token_gaps),
        tokens_per_step=tokens,
        served=groups,
        graph_share=_graph_share(facts),
        shape=shapes.shape,
        reads=weight_reads(compute, decodes=phase == "decode") if compute else None,
        autograd_nodes=shapes.autograd_nodes,
    )


def _latency(times: Int64s) -> Latency | None:
    """Of nanoseconds; None without any."""
    if not len(times):
        return None
    p50, p90, p99 = (np.percentile(times, (50, 90, 99)) / 1000).tolist()
    return Latency(count=len(times), p50_us=p50, p90_us=p90, p99_us=p99,
                   max_us=int(times.max()) / 1000)  # fmt: skip


def _engine(facts: Facts) -> str | None:
    trace = facts.trace
    host = np.isin(trace.kind, (Kind.OPERATOR, Kind.PYTHON, Kind.ANNOTATION))
    names = [trace.names[i][:LONGEST] for i in used(trace, host)]
    return next((label for label, p in _ENGINES if any(map(p.search, names))), None)


def _served(facts: Facts) -> list[ServedSteps]:
    """The counted steps that bear an engine's range, by phase."""
    trace = facts.trace
    rows = np.flatnonzero(matching(trace, SERVED)[trace.name] & (trace.kind == Kind.ANNOTATION))
    step = step_of(trace.ts[rows], facts.windows)
    rows, step = rows[np.isin(step, facts.counted)], step[np.isin(step, facts.counted)]
    step, first = np.unique(step, return_index=True)
    told = [served(trace.names[i]) for i in trace.name[rows[first]].tolist()]
    pairs = [(one, wall) for one, wall in zip(told, facts.times.wall[step].tolist(), strict=True)
             if one is not None]  # fmt: skip
    phases: tuple[Phase, ...] = ("prefill", "mixed", "decode")
    groups = (_group(phase, [p for p in pairs if p[0].phase == phase]) for phase in phases)
    return [group for group in groups if group is not None]


def _group(phase: Phase, pairs: list[tuple[Served, int]]) -> ServedSteps | None:
    wall = _latency(np.array([wall for _, wall in pairs], dtype=np.int64))
    if wall is None:
        return None
    told = [one for one, _ in pairs]
    return ServedSteps(
        phase=phase,
        wall=wall,
        prompts=float(np.mean([s.prompts for s in told])),
        generations=float(np.mean([s.generations for s in told])),
        prompt_tokens=_mean(s.prompt_tokens for s in told),
        generated_tokens=_mean(s.generated_tokens for s in told),
        context_tokens=_mean(s.context_tokens for s in told),
    )


def _mean(values: Iterable[int | None]) -> float | None:
    told = [value for value in values if value is not None]
    return float(np.mean(told)) if told else None


def _token_loop(facts: Facts) -> tuple[Int64s, float | None]:
    """Nanoseconds between the sampled tokens of a step, and tokens per step; None without loop."""
    trace = facts.trace
    for pattern in _SAMPLES:
        rows = np.flatnonzero(matching(trace, pattern)[trace.name] & (trace.kind == Kind.OPERATOR))
        times = np.sort(trace.ts[rows])
        times = times[facts.in_counted(times)]
        if len(times):
            break
    if len(times) < _FEWEST_TOKENS * facts.mean_over:
        return np.empty(0, dtype=np.int64), None
    step = step_of(times, facts.windows)
    return np.diff(times)[step[1:] == step[:-1]], len(times) / facts.mean_over


def _phase(
    shapes: PassShapes, groups: list[ServedSteps], kernels: list[Kernel], *, is_loop: bool
) -> tuple[Phase, ToldBy | None]:
    """The phase of most of the time, by the surest of the signs."""
    if groups:
        found = {group.phase for group in groups}
        return (found.pop() if len(found) == 1 else "mixed"), "names"
    by_kernels = _phase_of(kernels)
    if shapes.phase is not None:
        return shapes.phase, "shapes"
    if is_loop:
        return "decode", "token loop"
    return (by_kernels, "kernels") if by_kernels else ("forward", None)


def _phase_of(kernels: list[Kernel]) -> Phase | None:
    """By attention kernels of one phase alone, or by products with one vector."""
    decodes, prefills = (
        any(p.search(k.name[:LONGEST]) for k in kernels if k.kind == KernelKind.ATTENTION)
        for p in (_DECODE, _PREFILL)
    )
    if decodes and prefills:
        return "mixed"
    if decodes or prefills:
        return "decode" if decodes else "prefill"
    products = [k for k in kernels if k.kind == KernelKind.GEMM]
    vector = sum(k.total_us for k in products if _ONE_VECTOR.search(k.name[:LONGEST]))
    return "decode" if vector > _MOST_OF_IT * sum(k.total_us for k in products) else None


def _graph_share(facts: Facts) -> float | None:
    """Share of kernel time that CUDA graphs replayed; None without kernels."""
    trace, work = facts.trace, facts.work
    keep = facts.in_counted(work.start) & (trace.kind[work.rows] == Kind.KERNEL)
    rows, call = work.rows[keep], facts.calls.call[keep]
    whole = int(trace.dur[rows].sum())
    if not whole:
        return None
    by_graph = matching(trace, _GRAPH_LAUNCH)[trace.name[call]] & (call >= 0)
    return float(trace.dur[rows][by_graph | (trace.graph[rows] > 0)].sum()) / whole
