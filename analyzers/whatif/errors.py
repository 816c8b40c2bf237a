"""How far a prediction of each fix may be off, in the run at hand and against another run.

Replay may be wrong about the run at hand by a share of the gain, which goes by the kind of fix. On
recorded pairs waits for data were predicted within 3 % of what was injected, and what two runs gain
differs by 6 % in the middle of all pairs and 20 % at p90, noise of the machine included: 0.10 for
dataloader and gc, 0.15 for checkpoint lie between. Sync and allocator, which only a GPU shows, are
assumed to be like that. For what fixes change on the GPU others published maxima, not 90 %
half-widths (Daydream, ATC'20: 7 to 13 %, 16 % for communication, 23 to 34 % for what overlaps with
it), so overlap is too wide for most programs. Kernels, host or communication so many times as fast
are a given: 0.05 and 0.10 are for what that does to their neighbours. Where the code to come is
unknown (copies, cuda-graphs, fusion) the share is an assumption. On simulated runs predictions are
closer (docs/accuracy.md), but the simulator shares the replay's physics: nothing is from there.
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
"""Of the step: less than that no prediction is trusted to tell, in the run at hand."""

GPU_SIGMA = 0.01
"""Standard deviation of GPU time from run to run, on one GPU whose clocks nobody locked.

Tests vary by 0.3 % on one machine (pytorch/pytorch#5799); on A100s most of TorchBench's by less
than 2 % (pytorch/benchmark#1519: 141 of 157 had 15 runs within 7 %, as normal draws of 2 % do), and
some by about 1 % (pytorch/pytorch#189913). Another GPU of the same kind is more than another run:
8 % on average (Sinha et al., SC'22).
"""
HOST_SIGMA = 0.02
"""The same of the host's time: of TorchBench's 284 tests 71 of a CPU and 3 of a GPU ranged over
more than 7 % in 20 runs (pytorch/benchmark#671). If half are of CPUs, the middle one had 2 %."""


def of_gain(fixes: list[str]) -> float:
    """The largest of these fixes' errors."""
    return max((_OF_GAIN[fix] for fix in fixes), default=0.0)
