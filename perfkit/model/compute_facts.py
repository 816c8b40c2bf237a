"""What matrix operators computed, how near to the device's peak, and work that need not be done.

Times are microseconds per step unless said, FLOPs count a multiplication and an addition as two;
shares are 0..1; an absent value was not told by the trace.
"""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun

MatrixKind = Literal["gemm", "convolution", "attention"]
Format = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8"]
Bound = Literal["compute", "memory"]
OptimizerForm = Literal["fused", "foreach", "for-loop"]


class Peak(Noun, frozen=True, kw_only=True):
    """Dense peak rates of a device: TFLOP/s by number format, and memory bandwidth in GB/s."""

    tflops: dict[Format, float]
    memory_gb_per_s: float
    source: str


class MatrixOperator(Noun, frozen=True, kw_only=True):
    """All calls of one operator with the same shapes; FLOPs and bytes are of one call.

    `m`, `n`, `k` are of the product that a GEMM computes `batch` times. `bound` is what limits it
    at the peak rates; `tile_share` the share of whole tiles and whole waves of blocks that the
    shape fills, of the tile that the kernel's name tells.
    """

    name: str
    kind: MatrixKind
    shapes: str
    format: Format | None = None
    count_per_step: float
    total_us: float
    flops: float
    bytes: float | None = None
    batch: int | None = None
    m: int | None = None
    n: int | None = None
    k: int | None = None
    kernel: str
    tensor_cores: bool | None = None
    tflops: float
    peak_share: float | None = None
    bound: Bound | None = None
    ideal_us: float | None = None
    """Of all calls of a step: at the peak rate of what bounds them."""
    tile: str | None = None
    tile_share: float | None = None


class MatrixClass(Noun, frozen=True, kw_only=True):
    """Operators of one class whose shapes are known: `total_us` is theirs."""

    kind: MatrixKind
    total_us: float
    flops_per_step: float
    tflops: float
    peak_share: float | None = None
    tensor_core_share: float | None = None


class ComputeFacts(Noun, frozen=True, kw_only=True):
    """Matrix work of the mean step.

    `mfu` is the share of the step that the FLOPs of the known operators would take at the peak
    rates of their formats: a lower bound, as work whose shapes are not told is missing, and one
    that counts recomputed work. `told_share` is the share of matrix kernels' time that is known.
    """

    flops_per_step: float
    tflops: float
    told_share: float | None = None
    peak: Peak | None = None
    mfu: float | None = None
    classes: list[MatrixClass]
    operators: list[MatrixOperator]


class Avoidable(Noun, frozen=True, kw_only=True):
    """Kernels of one kind of work that another way of saying the same would not need."""

    count_per_step: float
    total_us: float


class OptimizerFacts(Noun, frozen=True, kw_only=True):
    """What `Optimizer.step` launches; `idle_us` is GPU idle time while the host was inside.

    `operators` are the kinds of arithmetic it asks for one by one, such as "addcdiv".
    """

    form: OptimizerForm
    kernels_per_step: float
    total_us: float
    idle_us: float
    operators: list[str] = []


class AttentionFacts(Noun, frozen=True, kw_only=True):
    """Attention written out as two products around a softmax.

    `between_us` is the time of the kernels that are no products: scale, mask, softmax, dropout,
    and the softmax of the backward pass.
    """

    count_per_step: float
    product_us: float
    between_us: float
    in_sdpa: bool = False
    """Whether scaled_dot_product_attention itself fell back to this form."""


class WasteFacts(Noun, frozen=True, kw_only=True):
    """Work of the mean step that has a cheaper form; None where none was seen."""

    layout: Avoidable | None = None
    """Transposes between NCHW and NHWC inside of convolutions."""
    zeroing: Avoidable | None = None
    """Memsets and fills launched by `zero_grad`."""
    zeroing_idle_us: float | None = None
    """GPU idle time per step while the host launched those."""
    recompute: Avoidable | None = None
    """Kernels of forward operators that ran again inside of the backward pass."""
    chains: Avoidable | None = None
    """Element-wise kernels that follow another one on their stream, both of some length; of each
    two, the shorter one's time, which is the most that joining them saves."""
    inference_norm: Avoidable | None = None
    """Batch normalization behind a convolution, where nothing trains."""
    optimizer: OptimizerFacts | None = None
    attention: AttentionFacts | None = None
