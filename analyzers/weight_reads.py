"""Bounds of a forward pass that memory sets: weights and cached keys are read once a pass."""

from __future__ import annotations

import re
from collections import Counter

from perfkit.model.compute_facts import ComputeFacts, Format, MatrixOperator, Peak
from perfkit.model.inference_facts import WeightReads

_BYTES: dict[Format, int] = {
    "fp64": 8, "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1,
}  # fmt: skip
_WITH_WEIGHTS = ("aten::mm", "aten::addmm", "aten::_scaled_mm", "aten::_addmm_activation")
_LEAST_TOLD = 0.5  # of the time of matrix kernels
_FORWARD = re.compile(r"attention(_forward)?$")


def weight_reads(compute: ComputeFacts, *, decodes: bool) -> WeightReads | None:
    """None where half of the matrix work or more tells no shapes.

    `decodes`: attention's queries are single tokens, so that it moves little but the cache.
    """
    products = [o for o in compute.operators if o.name in _WITH_WEIGHTS and o.format]
    if not products or (compute.told_share or 0.0) < _LEAST_TOLD:
        return None
    weights = sum(_weight_bytes(o) * o.count_per_step for o in products)
    cache, peak = _cache_bytes(compute.operators) if decodes else None, compute.peak
    usual = _usual(products)
    return WeightReads(
        weight_bytes=weights,
        cache_bytes=cache,
        rows=usual.m or 0,
        balanced_rows=_balanced_rows(usual, peak),
        bound_us=_reading_us(weights + (cache or 0.0), peak) if peak else None,
        beyond_us=sum(_beyond_us(o, peak) for o in products) if peak else None,
        memory_gb_per_s=peak.memory_gb_per_s if peak else None,
    )


def _usual(products: list[MatrixOperator]) -> MatrixOperator:
    """One of the products of as many rows as most weights are read for."""
    weights: Counter[int | None] = Counter()
    for product in products:
        weights[product.m] += round(_weight_bytes(product) * product.count_per_step)
    rows = weights.most_common(1)[0][0]
    return next(product for product in products if product.m == rows)


def _weight_bytes(product: MatrixOperator) -> float:
    """Of one call; the second factor of a product holds the weights."""
    size = _BYTES[product.format] if product.format else 0
    return float((product.n or 0) * (product.k or 0) * size)


def _reading_us(moved: float, peak: Peak) -> float:
    return moved / (peak.memory_gb_per_s * 1e3)


def _beyond_us(product: MatrixOperator, peak: Peak) -> float:
    """Per step; at most what the calls took."""
    rate = peak.tflops.get(product.format) if product.format else None
    if not rate:
        return 0.0
    one = _reading_us(_weight_bytes(product), peak) - product.flops / (rate * 1e6)
    return min(max(one, 0.0) * product.count_per_step, product.total_us)


def _balanced_rows(product: MatrixOperator, peak: Peak | None) -> int | None:
    """Rows for which computing takes as long as reading the weights."""
    rate = peak.tflops.get(product.format) if peak and product.format else None
    if not peak or not rate or not product.format:
        return None
    return round(rate * 1e3 * _BYTES[product.format] / (2 * peak.memory_gb_per_s))


def _cache_bytes(operators: list[MatrixOperator]) -> float | None:
    """What attention reads and writes per step, which for single queries is the cache."""
    told = [o for o in operators if o.kind == "attention" and _FORWARD.search(o.name)]
    moved = [o.bytes * o.count_per_step for o in told if o.bytes is not None]
    return sum(moved) if moved else None
