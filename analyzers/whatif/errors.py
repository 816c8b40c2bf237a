"""How far a prediction of each fix may be off, as shares of the predicted gain.

On simulated runs predictions are closer (docs/accuracy.md), but the simulator shares the replay's
physics, and the recorded pairs were off by a tenth. So no half-width is below what either showed,
and those of fixes that change what runs on the GPU are as wide as published errors of such models
(Daydream, ATC'20: 7 to 13 %, 16 % for communication), or wider where the code to come is unknown.
"""

from __future__ import annotations

_OF_GAIN = {
    "dataloader": 0.10,
    "copies": 0.25,
    "sync": 0.15,
    "cuda-graphs": 0.30,
    "fusion": 0.50,
    "overlap": 0.30,
    "communication": 0.10,
    "kernels": 0.05,
    "allocator": 0.15,
    "gc": 0.10,
    "checkpoint": 0.15,
    "host": 0.10,
}
OF_STEP = 0.005
"""Of the step: what no prediction was better than."""


def of_gain(fixes: list[str]) -> float:
    """The largest of these fixes' errors."""
    return max((_OF_GAIN[fix] for fix in fixes), default=0.0)
