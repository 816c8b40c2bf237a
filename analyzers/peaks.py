"""Dense peak rates of GPUs by their exact names: no sparsity, 32-bit accumulation.

From the vendors' data sheets, as collected by ml-engineering (compute/accelerator), torchtitan
(tools/utils.py) and PyTorch Lightning (fabric/utilities/throughput.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from perfkit.model.compute_facts import Format, Peak

_ML_ENGINEERING = "https://github.com/stas00/ml-engineering (compute/accelerator)"
_LIGHTNING = "https://github.com/Lightning-AI/pytorch-lightning (throughput.py)"
_TORCHTITAN = "https://github.com/pytorch/torchtitan (torchtitan/tools/utils.py)"


def _peak(source: str, memory_gb_per_s: float, half: float, fp32: float, **more: float) -> Peak:
    """`half` is the rate of fp16 and bf16; `more` are other formats."""
    rates: dict[Format, float] = {"fp32": fp32, "fp16": half, "bf16": half, **more}  # type: ignore[dict-item]
    return Peak(
        tflops={form: rate for form, rate in rates.items() if rate},
        memory_gb_per_s=memory_gb_per_s,
        source=source,
    )


_V100_SXM = _peak(_LIGHTNING, 900, 125, 15.7, bf16=0)
_V100_PCIE = _peak(_LIGHTNING, 900, 112, 14, bf16=0)
_A100_40 = _peak(_ML_ENGINEERING, 1555, 312, 19.5, tf32=156, int8=624)
_H100_SXM = _peak(_ML_ENGINEERING, 3350, 989, 67, tf32=494.5, fp8=1979, int8=1979)
_H200 = _peak(_ML_ENGINEERING, 4800, 989, 67, tf32=494.5, fp8=1979, int8=1979)
_MI300X = _peak(_ML_ENGINEERING, 5300, 1307, 163.4, tf32=653.7, fp8=2615, int8=2615)

PEAKS: dict[str, Peak] = {
    "Tesla V100-SXM2-16GB": _V100_SXM,
    "Tesla V100-SXM2-32GB": _V100_SXM,
    "Tesla V100-PCIE-16GB": _V100_PCIE,
    "Tesla V100-PCIE-32GB": _V100_PCIE,
    "Tesla T4": _peak(_LIGHTNING, 320, 65, 8.1, bf16=0, int8=130),
    "NVIDIA A100-SXM4-40GB": _A100_40,
    "NVIDIA A100-PCIE-40GB": _A100_40,
    "NVIDIA A100-SXM4-80GB": _peak(_ML_ENGINEERING, 2039, 312, 19.5, tf32=156, int8=624),
    "NVIDIA A100 80GB PCIe": _peak(_ML_ENGINEERING, 1935, 312, 19.5, tf32=156, int8=624),
    "NVIDIA A10": _peak(_LIGHTNING, 600, 125, 31.2),
    "NVIDIA A10G": _peak(_LIGHTNING, 600, 125, 31.2),
    "NVIDIA L4": _peak(_LIGHTNING, 300, 121, 30.3, tf32=60, fp8=242, int8=242),
    "NVIDIA L40S": _peak(_ML_ENGINEERING, 864, 362, 91.6, tf32=183, fp8=733, int8=733),
    "NVIDIA H100 80GB HBM3": _H100_SXM,
    "NVIDIA H100 PCIe": _peak(_ML_ENGINEERING, 2000, 756, 51, tf32=378, fp8=1513, int8=1513),
    "NVIDIA H200": _H200,
    "NVIDIA B200": _peak(_ML_ENGINEERING, 8000, 2250, 80, tf32=1125, fp8=4500, int8=4500),
    "NVIDIA GB200": _peak(_ML_ENGINEERING, 8000, 2500, 80, tf32=1250, fp8=5000, int8=5000),
    "AMD Instinct MI300X": _MI300X,
    "AMD Instinct MI325X":
        _peak(_ML_ENGINEERING, 6000, 1307, 163.4, tf32=653.7, fp8=2615, int8=2615),
    "AMD Instinct MI250X": _peak(_TORCHTITAN, 1638, 191.5, 47.9, int8=191.5),
}  # fmt: skip
"""Of what the profiler calls one device: of an MI250X, half of the card."""


def peak_of(name: str | None, own: Mapping[str, Peak]) -> Peak | None:
    """The peak of the device of this name; a project's `own` come first."""
    return own.get(name or "") or PEAKS.get(name or "")
