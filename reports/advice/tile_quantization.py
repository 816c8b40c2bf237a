"""Matrix products leave multiprocessors idle in their last wave.

What it detects
    GEMMs limited by computation whose output, cut into the tiles that the kernel's name tells,
    fills less than three quarters of whole tiles and whole waves of the GPU's multiprocessors.
    Kernels that split the inner dimension or hand out tiles as they go do not count. Needs
    recorded shapes, and a GPU whose peak rates are known ([tool.perfkit.peaks] adds them).

Why it costs
    A tile that is partly outside of the output takes as long as a whole one, and 109 tiles on
    108 multiprocessors take as long as 216.

What to do
    Choose batch, sequence or hidden size so that rows times columns of tiles come just below a
    multiple of the multiprocessors; torch.compile(mode="max-autotune") tries other tiles.

When not to
    The library may have better kernels for this shape in another version. Waves are counted for
    the tile in the kernel's name; no more is counted than what the product takes beyond 80 % of
    the peak rate, about the best that GEMMs reach.

References
    https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/index.html
    (tile and wave quantization)
    https://github.com/stas00/ml-engineering (training/performance: tile and wave quantization;
    compute/accelerator: maximum achievable matmul FLOPS)
"""

from __future__ import annotations

from perfkit.model.compute_facts import MatrixOperator
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._compute import CHANCE, REACHABLE, of_compute
from perfkit.reports.format import count, share, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = CHANCE
_LEAST_FILLED = 0.75  # a quarter lost: neighbouring sizes differ by less than that otherwise


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of products during which part of the GPU has no tile."""
    operators = diagnosis.compute.operators if diagnosis.compute else []
    poor = [o for o in operators if (o.tile_share or 1) < _LEAST_FILLED and _lost_us(o) > 0]
    if not poor:
        return None
    cost = of_compute(diagnosis, sum(_lost_us(o) for o in poor))
    return Advice(
        title=f"Tiles of matrix products leave multiprocessors idle for {of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[_evidence(o) for o in poor[:4]],
        remedy=_remedy(poor[0], diagnosis.device.sm_count or 0),
        places=[],
    )


def _lost_us(one: MatrixOperator) -> float:
    """While tiles are missing; 0 where memory is the limit, which no tile changes."""
    if one.bound != "compute" or one.ideal_us is None or one.tile_share is None:
        return 0.0
    return min(one.total_us * (1 - one.tile_share), one.total_us - one.ideal_us / REACHABLE)


def _remedy(one: MatrixOperator, multiprocessors: int) -> Remedy:
    return Remedy(
        text=(
            "Change the free size (batch or sequence) so that tiles fill whole waves"
            f"{_instead(one, multiprocessors)}, or let autotuning try other tiles."
        ),
        snippet='model = torch.compile(model, mode="max-autotune")',
        applies_to="PyTorch 2.0 and newer",
    )


def _instead(one: MatrixOperator, multiprocessors: int) -> str:
    """The most rows that need a wave less; nothing where each wave would do less with them."""
    if not (one.m and one.n and one.tile and multiprocessors):
        return ""
    high, wide = (int(size) for size in one.tile.split("x"))
    rows, columns, high = min(
        ((-(-one.m // h), (one.batch or 1) * -(-one.n // w), h)
         for h, w in ((high, wide), (wide, high))),
        key=lambda cut: cut[0] * cut[1],
    )  # fmt: skip
    fewer = -(-rows * columns // multiprocessors) - 1
    fits = fewer * multiprocessors // columns * high
    if not fewer or fits * (fewer + 1) <= one.m * fewer:
        return ""
    return f" ({fits:,} rows in place of {one.m:,} need {fewer} in place of {fewer + 1})"


def _evidence(one: MatrixOperator) -> Evidence:
    text = (
        f"{one.name} of {one.shapes}, {count(one.count_per_step)} times, "
        f"{time_us(one.total_us)} per step: tiles of {one.tile} fill {share(one.tile_share)} of "
        "their waves"
    )
    return fact(text, one.tile_share, "share")
