"""Facts on kernels for the rules' tests: avoidable work and matrix operators of a 10 ms step."""

from __future__ import annotations

from typing import Any

from perfkit.model.compute_facts import (
    AttentionFacts,
    Avoidable,
    ComputeFacts,
    MatrixOperator,
    OptimizerFacts,
    WasteFacts,
)


def wasting(**parts: Any) -> WasteFacts:
    """These parts alone."""
    return WasteFacts(**parts)


def work(us: float, count: float = 40.0) -> Avoidable:
    return Avoidable(count_per_step=count, total_us=us)


def optimizer(total_us: float, idle_us: float = 0.0, **facts: Any) -> OptimizerFacts:
    """A foreach Adam."""
    usual: dict[str, Any] = {
        "form": "foreach", "kernels_per_step": 80.0,
        "operators": ["add", "addcdiv", "addcmul", "div", "lerp", "mul", "sqrt"],
    }  # fmt: skip
    return OptimizerFacts(total_us=total_us, idle_us=idle_us, **(usual | facts))


def attention(between_us: float, *, in_sdpa: bool = False) -> AttentionFacts:
    return AttentionFacts(count_per_step=12.0, product_us=1500.0, between_us=between_us,
                          in_sdpa=in_sdpa)  # fmt: skip


def product(total_us: float, ideal_us: float | None, **facts: Any) -> MatrixOperator:
    """The product with a vocabulary that is not padded, by a kernel that loads single elements."""
    usual: dict[str, Any] = {
        "name": "aten::mm", "kind": "gemm", "shapes": "8192x768 · 768x50257", "format": "bf16",
        "count_per_step": 1.0, "flops": 6.3e11, "batch": 1, "m": 8192, "n": 50257, "k": 768,
        "kernel": "cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_tn_align1",
        "tensor_cores": True, "tflops": 100.0, "bound": "compute",
    }  # fmt: skip
    return MatrixOperator(total_us=total_us, ideal_us=ideal_us, **(usual | facts))


def tiled(total_us: float, ideal_us: float, tile_share: float | None, **facts: Any
          ) -> MatrixOperator:  # fmt: skip
    """A product of 110 tiles on 108 multiprocessors."""
    usual: dict[str, Any] = {
        "shapes": "2816x4096 · 4096x1280", "m": 2816, "n": 1280, "k": 4096,
        "kernel": "ampere_bf16_s16816gemm_bf16_256x128_ldg8_f2f_stages_64x3_tn", "tile": "256x128",
    }  # fmt: skip
    return product(total_us, ideal_us, tile_share=tile_share, **(usual | facts))


def computing(*operators: MatrixOperator, **facts: Any) -> ComputeFacts:
    return ComputeFacts(**{"flops_per_step": 1e12, "tflops": 100.0, "classes": [],
                           "operators": list(operators), **facts})  # fmt: skip
