"""Autograd records a forward pass that nothing runs backward.

What it detects
    A window without backward and optimizer whose matrix operators were recorded by autograd: the
    profiler writes autograd's sequence number beside an operator only where gradients are on, and
    the number grows with each operator that autograd records. Needs shapes (record_shapes=True).

Why it costs
    Every recorded operator makes a node and saves its inputs, so activations stay in memory until
    the output is gone: less room for batch or cache. The host pays for each node besides, which
    counts where it is the slower side. The trace does not tell how much, so no time is charged.

What to do
    Run the model under torch.inference_mode(), or torch.no_grad() where outputs enter autograd
    again. model.eval() does not turn autograd off; it changes dropout and batch normalization.

When not to
    Where only the forward part of training steps was recorded, gradients are wanted. Frozen
    models that pass gradients to their inputs need autograd, too.

References
    https://docs.pytorch.org/docs/stable/notes/autograd.html (inference mode, eval mode)
    https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.format import count
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # memory, and no measured time
_FEWEST_NODES = 1.0  # a step: any node is one too many where nothing runs backward


def check(diagnosis: Diagnosis) -> Advice | None:
    """Operators that autograd recorded."""
    facts = diagnosis.inference
    if facts is None or facts.autograd_nodes is None or facts.autograd_nodes < _FEWEST_NODES:
        return None
    nodes = round(facts.autograd_nodes)
    return Advice(
        title=f"Autograd records {count(nodes)} operators per step, and nothing runs backward",
        cause="compute",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[
            fact(
                f"autograd's sequence number grows by {count(nodes)} per step from the first to "
                "the last matrix operator; under inference mode there is none",
                nodes,
                "1/step",
            ),
        ],
        remedy=Remedy(
            text=(
                "Run the model under torch.inference_mode(): no nodes, no saved activations. "
                "model.eval() alone does not do it."
            ),
            snippet="model.eval()\nwith torch.inference_mode():\n    output = model(batch)",
            applies_to="PyTorch inference",
        ),
        places=[],
        severity="info",
    )
