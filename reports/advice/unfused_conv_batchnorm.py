"""At inference, batch normalization runs as a kernel of its own behind each convolution.

What it detects
    Kernels of batch normalizations right behind a convolution, in a window without backward pass
    and optimizer. Silent where one of them takes statistics of its batch (train mode).

Why it costs
    In eval mode the normalization is a fixed scale and shift of each channel. It reads and writes
    the whole activation for what the convolution's weights could hold.

What to do
    Fold it into the convolution once, after loading: fuse_conv_bn_eval; or let a compiler do it
    (torch.compile with freezing, TensorRT).

When not to
    In training, where the statistics are of the batch. Weights that training goes on with must not
    be folded: fold a copy.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_eval.html
    https://docs.pytorch.org/tutorials/intermediate/fx_conv_bn_fuser.html
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import FAULT, of_compute
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = FAULT


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of normalizations that weights could hold."""
    found = diagnosis.waste.inference_norm if diagnosis.waste else None
    if found is None or not diagnosis.framework.inference:
        return None
    cost = of_compute(diagnosis, found.total_us)
    return Advice(
        title=f"Batch normalization behind convolutions takes {of_step(diagnosis, cost)} of "
        "inference",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{count(found.count_per_step)} kernels of it per step, "
                 f"{time_us(found.total_us)}", found.total_us, "us/step")
        ],
        remedy=Remedy(
            text="Fold each batch normalization into its convolution after loading the weights.",
            snippet=(
                "from torch.nn.utils import fuse_conv_bn_eval\n"
                "model.eval()\n"
                "block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()"
            ),
            applies_to="PyTorch inference",
        ),
        places=[],
    )  # fmt: skip
