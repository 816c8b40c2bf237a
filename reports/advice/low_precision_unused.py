"""Matrix kernels run in plain float32 on a GPU whose tensor cores could do them.

What it detects
    Matrix multiplications and convolutions whose kernel names show float32 on ordinary cores,
    on a GPU that has tensor cores. Names that do not tell (many Triton kernels) count for
    neither side, and TF32, which runs on tensor cores, is no reason to complain. Silent where a
    tenth of the matrix work is in 16 bits or fewer: mixed precision is on.

Why it costs
    Tensor cores do 16-bit products 8 to 16 times as fast as float32 units do float32 (A100: 312
    against 19.5 TFLOP/s), and TF32 8 times; half the bytes move besides.

What to do
    bf16 autocast on Ampere and newer, fp16 autocast with a GradScaler on Volta and Turing; or
    only allow TF32, which changes no code: torch.set_float32_matmul_precision("high").

When not to
    Where float32's 24 bits are needed (some solvers, physics, evaluation of small differences).
    Kernels limited by memory gain at most the halved traffic, so the bound is not a promise.

References
    https://docs.pytorch.org/docs/stable/amp.html
    https://docs.pytorch.org/docs/stable/generated/torch.set_float32_matmul_precision.html
    NVIDIA A100 data sheet (peak rates); XProf hints below 10 % of device time in 16 bits.
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, KernelClass, Remedy
from perfkit.reports.advice._serving import serves
from perfkit.reports.format import share, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step, share_of_step

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # a chance, not a fault
_MATRIX = ("gemm", "convolution")
_MOST_TENSOR_CORE_SHARE = 0.10  # XProf's 10 %
_LEAST_MATRIX_SHARE = 0.10  # of the step: below it, precision is not what limits
_FIRST_TENSOR_CORES = 7  # compute capability of Volta
_FIRST_BF16 = 8
_AT_LEAST_AS_FAST = 2.0  # half the bytes: what a kernel limited by memory gains


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of matrix kernels off the tensor cores."""
    major = _capability(diagnosis)
    matrix = [c for c in _classes(diagnosis) if c.tensor_core_share is not None]
    time = sum(c.total_us for c in matrix)
    on_cores = sum(c.total_us * (c.tensor_core_share or 0.0) for c in matrix)
    if major is None or major < _FIRST_TENSOR_CORES or not time:
        return None
    if on_cores > _MOST_TENSOR_CORE_SHARE * time or _mixed(diagnosis):
        return None
    if share_of_step(diagnosis, time) < _LEAST_MATRIX_SHARE:
        return None
    return _advice(diagnosis, time - on_cores, major, matrix)


def _mixed(diagnosis: Diagnosis) -> bool:
    """Whether 16 bits are in use, or Triton's own matrix kernels, whose names tell no format."""
    low = diagnosis.framework.low_precision_share or 0.0
    matrix = [k for k in diagnosis.kernels if k.kind in _MATRIX]
    untold = sum(k.total_us for k in matrix if k.name.startswith("triton_"))
    return max(low, untold / (sum(k.total_us for k in matrix) or 1.0)) > _MOST_TENSOR_CORE_SHARE


def _capability(diagnosis: Diagnosis) -> int | None:
    """Major compute capability of an NVIDIA GPU; AMD's numbers mean something else."""
    device = diagnosis.device
    name = device.name or "AMD"
    # GeForce GTX 16 reports 7.5 and has no tensor cores
    if device.compute_capability is None or "AMD" in name or "GTX" in name:
        return None
    major = device.compute_capability.partition(".")[0]
    return int(major) if major.isdigit() else None


def _classes(diagnosis: Diagnosis) -> list[KernelClass]:
    summary = diagnosis.kernel_summary
    return [c for c in summary.classes if c.kind in _MATRIX] if summary else []


def _advice(diagnosis: Diagnosis, time: float, major: int, matrix: list[KernelClass]) -> Advice:
    return Advice(
        title=f"Float32 matrix kernels off the tensor cores take {of_step(diagnosis, time)}",
        cause="compute",
        cost_us=time * (1 - 1 / _AT_LEAST_AS_FAST),
        limits=LIMITS,
        evidence=[fact("half of that time is counted: at half the bytes alone it would go")] + [
            fact(f"{c.kind}: {time_us(c.total_us)} per step, {share(c.tensor_core_share)} of it "
                 "on tensor cores", c.tensor_core_share, "share")
            for c in matrix
        ],
        remedy=_remedy(major, serves(diagnosis)),
        places=[],
    )  # fmt: skip


def _remedy(major: int, is_serving: bool) -> Remedy:
    if is_serving:
        form = "bfloat16" if major >= _FIRST_BF16 else "float16"
        return Remedy(
            text=f"Serve the model in {form}; or allow TF32 where the GPU has it (Ampere on).",
            snippet=f"model = model.to(torch.{form}).eval()",
            applies_to="PyTorch inference",
        )
    return _bf16() if major >= _FIRST_BF16 else _fp16()


def _bf16() -> Remedy:
    return Remedy(
        text="Run forward and loss under bf16 autocast; or allow TF32, which changes no code.",
        snippet=(
            'with torch.autocast("cuda", dtype=torch.bfloat16):\n'
            "    loss = criterion(model(batch), target)\n"
            '# or, without touching the model: torch.set_float32_matmul_precision("high")'
        ),
        applies_to="Ampere and newer",
    )


def _fp16() -> Remedy:
    return Remedy(
        text="Run forward and loss under fp16 autocast, and scale the loss.",
        snippet=(
            'scaler = torch.amp.GradScaler("cuda")\n'
            'with torch.autocast("cuda", dtype=torch.float16):\n'
            "    loss = criterion(model(batch), target)\n"
            "scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()"
        ),
        applies_to="Volta and Turing",
    )
