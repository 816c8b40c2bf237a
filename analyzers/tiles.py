"""How well a GEMM's shape fills whole tiles, and its tiles whole waves of the multiprocessors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from perfkit.analyzers.operator_work import Work

# cuBLAS and CUTLASS name the tile of a block: 128x256 in s16816gemm_f16_128x256_32x3.
_TILE = re.compile(r"(?:gemm|cudnn)_\w*?(\d{2,3})x(\d{2,3})(?:x\d+)?_|tilesize(\d+)x(\d+)x\d+")
# These cut the inner dimension or hand out tiles as blocks become free: waves are not what counts.
_OTHER_SCHEDULE = re.compile(r"split_?k|stream_?k|segment_k|nvjet|Cijk", re.IGNORECASE)


@dataclass(frozen=True)
class Tiles:
    """The tile, and the share of it, and of whole waves, that the shape fills."""

    tile: str
    share: float


def tiles_of(work: Work, kernel: str, multiprocessors: int | None) -> Tiles | None:
    """None where the kernel's name tells no tile, or there are too few tiles for one wave."""
    found = _TILE.search(kernel)
    if not found or not work.sizes or not multiprocessors or _OTHER_SCHEDULE.search(kernel):
        return None
    batch, m, n, _ = work.sizes
    high, wide = (int(size) for size in found.groups() if size)
    # Column order swaps the sides; the better fit is what the library would have taken.
    tiles = batch * min(_tiles(m, high) * _tiles(n, wide), _tiles(m, wide) * _tiles(n, high))
    if tiles < multiprocessors:
        return None
    waves = math.ceil(tiles / multiprocessors)
    filled = batch * m * n / (tiles * high * wide)
    return Tiles(f"{high}x{wide}", filled * tiles / (waves * multiprocessors))


def _tiles(size: int, tile: int) -> int:
    return math.ceil(size / tile)
