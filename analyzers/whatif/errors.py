"""How far predictions of each fix have been off, as shares of the predicted gain.

Half-widths that held nine times in ten against the runs that `benchmarks/accuracy.py` scores.
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
