"""How another run of the same program differs: its draws, its clocks, and when rare events come."""

from __future__ import annotations

from dataclasses import replace
from math import exp, lcm, sqrt
from random import Random

from .program import Pace, Scenario

GPU_SIGMA = 0.01
"""Standard deviation of the GPU's pace from run to run, on one GPU whose clocks nobody locked.

Programs vary between 0.3 % (https://github.com/pytorch/pytorch/pull/5799, one machine) and 2 %: 141
of 157 tests of TorchBench on an A100 kept (max - min) / min of 15 runs below 7 %, which normal
draws of 2 % do (https://github.com/pytorch/benchmark/issues/1519, threshold in its
userbenchmark/model-stableness). In between lie A100s whose noise a threshold of 1 % did not clear
(https://github.com/pytorch/pytorch/pull/189913), and kernels that ranged over 4 % from day to day
(https://github.com/meta-pytorch/tritonbench/pull/143). Another GPU of the same kind is another
matter: 8 % on average (Sinha et al., SC'22, https://arxiv.org/abs/2208.11035).
"""
HOST_SIGMA = 0.02
"""The same of the host's pace: of TorchBench's 284 tests 71 of a CPU and 3 of a GPU ranged over
more than 7 % in 20 runs (https://github.com/pytorch/benchmark/pull/671). If half are of CPUs, the
middle one had 2 %. Runs recorded for perfkit, which shared two cores, vary more (docs/accuracy.md).
"""
_HOST_PARTS = (
    "dataset_us", "collate_us", "worker_batch_us", "worker_slow_us", "storage_us", "stall_us",
    "gc_us", "checkpoint_prepare_us", "checkpoint_write_us",
)  # fmt: skip
"""What the host does beside the launches, which its pace is not of."""


def another_run(program: Scenario, seed: int) -> tuple[Scenario, int]:
    """The program as another run meets it, and that run's seed.

    The run that is compared with it has the usual pace, so the paces here differ from that as those
    of two runs differ from each other.
    """
    draw = Random(f"{seed}/another run/{program}")
    host, gpu, network = (
        exp(draw.gauss(0.0, sqrt(2) * sigma)) for sigma in (HOST_SIGMA, GPU_SIGMA, GPU_SIGMA)
    )
    pace, parts = program.pace, {name: getattr(program, name) / host for name in _HOST_PARTS}
    changed = Pace(pace.host * host, pace.kernels * gpu, pace.gemm, pace.communication * network)
    phase = draw.randrange(_period(program))
    return replace(program, **parts, pace=changed, phase=phase), draw.getrandbits(32)


def _period(program: Scenario) -> int:
    """Steps after which all that is rare has come around."""
    s = program
    return lcm(
        *(n or 1 for n in (s.stall_every, s.worker_slow_every, s.gc_every, s.checkpoint_every))
    )
