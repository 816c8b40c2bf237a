"""Convolutions turn their tensors from NCHW to NHWC and back.

What it detects
    Kernels that only transpose between the two layouts (nchwToNhwc, nhwcToNchw; MIOpen's
    batched_transpose), which cuDNN and MIOpen put around a convolution whose fast kernels want
    the other layout.

Why it costs
    Every such kernel reads and writes a whole activation, and computes nothing.

What to do
    Keep model and input in channels_last (channels_last_3d for 3-D convolutions): the layout then
    passes through the whole network, and the convolutions find what their kernels want.

When not to
    Where a part of the model works on NCHW alone (custom kernels, views that flatten), copies
    appear there instead. Grouped and depthwise convolutions on AMD GPUs, and all of them on
    Radeon, may have no fast kernel for channels_last: measure.

References
    https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (channels_last)
    https://github.com/pytorch/pytorch/pull/170947 (where NHWC is the default on ROCm)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import FAULT, is_amd, of_compute
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = FAULT

_SNIPPET = (
    "model = model.to(memory_format=torch.channels_last)\n"
    "images = images.to(device, memory_format=torch.channels_last, non_blocking=True)"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of transposes between layouts."""
    found = diagnosis.waste.layout if diagnosis.waste else None
    if found is None:
        return None
    cost = of_compute(diagnosis, found.total_us)
    return Advice(
        title=f"Convolutions transpose their tensors between NCHW and NHWC for "
        f"{of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{count(found.count_per_step)} transposes per step take "
                 f"{time_us(found.total_us)}", found.total_us, "us/step")
        ],
        remedy=_amd() if is_amd(diagnosis) else _nvidia(),
        places=[],
    )  # fmt: skip


def _nvidia() -> Remedy:
    return Remedy(
        text="Put the model into channels_last before the loop, and inputs as they are copied.",
        snippet=_SNIPPET,
        applies_to="cuDNN convolutions",
    )


def _amd() -> Remedy:
    return Remedy(
        text=(
            "Put the model and its input into channels_last, and let PyTorch hand that layout to "
            "MIOpen: PYTORCH_MIOPEN_SUGGEST_NHWC=1, which builds for ROCm 7 take for granted on "
            "Instinct GPUs."
        ),
        snippet=(
            "# in the environment: PYTORCH_MIOPEN_SUGGEST_NHWC=1\n"
            f"#                     PYTORCH_MIOPEN_SUGGEST_NHWC_BATCHNORM=1\n{_SNIPPET}"
        ),
        applies_to="MIOpen convolutions",
    )
