"""Matrix products have sizes that tensor cores cannot load whole.

What it detects
    GEMMs in 16 bits, TF32 or FP8 with an inner or output size that is no multiple of 16 bytes
    (8 elements in 16 bits, 4 in TF32, 16 in FP8), and whose kernel shows that it paid: it ran off
    the tensor cores, or its name says that it loads fewer elements at once (align1, align2). Needs
    recorded shapes, and a GPU whose peak rates are known ([tool.perfkit.peaks] adds them).

Why it costs
    Operands are loaded 16 bytes at a time. Where rows do not start at such a boundary, the library
    takes a kernel with smaller loads, or one without tensor cores.

What to do
    Pad the size: vocabulary to a multiple of 64, classes, heads and hidden sizes to one of 8;
    pad features once in the collate function. Transformers pads a vocabulary by
    resize_token_embeddings(pad_to_multiple_of=64).

When not to
    Products limited by memory gain little, and the batch's own size matters only where it is
    the inner one. Counted is the time beyond 80 % of the peak rates, about the best that GEMMs
    reach: a small one stays below that with any shape.

References
    https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/index.html
    (requirements of tensor cores)
    https://github.com/stas00/ml-engineering (training/performance: dimensions, 50257 to 50304;
    compute/accelerator: maximum achievable matmul FLOPS)
"""

from __future__ import annotations

import re

from perfkit.model.compute_facts import MatrixOperator
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._compute import FAULT, REACHABLE, is_amd, of_compute
from perfkit.reports.format import time_us, times_text
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = FAULT
_ELEMENTS = {"fp16": 8, "bf16": 8, "tf32": 4, "fp8": 16, "int8": 16}  # in 16 bytes
_SMALL_LOADS = re.compile(r"align([124])(?!\d)")
_SHORTEST_US = 5.0  # of a kernel: a shorter one is not mended by its shape


def check(diagnosis: Diagnosis) -> Advice | None:
    """What products of odd sizes take beyond the time that can be reached."""
    if diagnosis.compute is None or is_amd(diagnosis):
        return None
    odd = [o for o in diagnosis.compute.operators if _is_odd(o)]
    if not odd:
        return None
    cost = of_compute(diagnosis, sum(_beyond_us(o) for o in odd))
    return Advice(
        title=f"Matrix products of sizes that tensor cores cannot load whole lose up to "
        f"{of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[_evidence(o) for o in odd[:4]],
        remedy=_remedy(odd[0]),
        places=[],
    )


def _is_odd(one: MatrixOperator) -> bool:
    elements = _ELEMENTS.get(one.format or "")
    if one.kind != "gemm" or elements is None or one.k is None or one.n is None:
        return False
    loads = _SMALL_LOADS.search(one.kernel)
    paid = one.tensor_cores is False or (loads is not None and int(loads[1]) < elements)
    return paid and bool(one.k % elements or one.n % elements) and _beyond_us(one) > 0


def _beyond_us(one: MatrixOperator) -> float:
    if one.ideal_us is None:
        return 0.0
    return one.total_us - max(one.ideal_us / REACHABLE, _SHORTEST_US * one.count_per_step)


def _evidence(one: MatrixOperator) -> Evidence:
    cores = "off the tensor cores" if one.tensor_cores is False else "with small loads"
    text = (
        f"{one.name} of {one.shapes} in {one.format}, {times_text(one.count_per_step)}, runs "
        f"{cores}: {time_us(one.total_us)} per step, {time_us(one.ideal_us or 0.0)} at peak"
    )
    return fact(text, one.total_us, "us/step")


def _remedy(one: MatrixOperator) -> Remedy:
    elements = _ELEMENTS[one.format or "fp16"]
    size = next(s for s in (one.n or 0, one.k or 0) if s % elements)
    padded = -(-size // elements) * elements
    return Remedy(
        text=f"Pad the size {size} to {padded}, a multiple of {elements} (64 is better still).",
        snippet=f"padded = (size + {elements - 1}) // {elements} * {elements}  # {size}: {padded}",
        applies_to="tensor cores",
    )
