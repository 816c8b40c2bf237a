"""How the mean step with a fix would differ in another run of the program, and what is unexplained.

Another recording meets other steps, other clocks of the GPU and another pace of the host. What the
step depends on after the fix, the binding path says: where the GPU sets the pace, the host's does
not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot, sqrt

import numpy as np

from perfkit.analyzers.graph.binding import bindings, path_to
from perfkit.analyzers.graph.model import Graph
from perfkit.analyzers.whatif.errors import GPU_SIGMA, HOST_SIGMA
from perfkit.model.trace import Int64s

_NINE_IN_TEN = 1.645  # standard deviations to each side
_FEWEST = 4  # steps whose spread says something


@dataclass(frozen=True)
class Path:
    """What a replayed stretch is made of, as shares of it: the path that sets its length."""

    gpu: float
    host: float
    unexplained: float
    """Residuals that no edge and no wait for peers explains."""


def path_of(graph: Graph, time: Int64s, waited: Int64s) -> Path:
    """The path in a graph whose points happen at `time`; `waited` is for peers, shape (points,)."""
    if not len(graph):
        return Path(0.0, 0.0, 0.0)
    before, _ = bindings(replace(graph, time=time))
    points = path_to(int(np.argmax(time + graph.dur)), before)
    earlier = points[1:]
    length = max(int(time[points[0]] + graph.dur[points[0]] - time[points[-1]]), 1)
    gpu = int(graph.dur[earlier].sum() + graph.dur[points[0]])
    rest = int(np.maximum(graph.rest - waited, 0)[points[:-1]].sum())
    held = int(waited[points[:-1]].sum())
    host = max(length - gpu - rest - held, 0)
    return Path(gpu / length, host / length, rest / length)


def between_runs(path: Path, steps: Int64s) -> float:
    """Half of the width in which nine of ten other runs lie, as a share of the step.

    It is of the difference of two runs, and `steps` are the step times of one of them.
    """
    clocks = hypot(path.gpu * GPU_SIGMA, path.host * HOST_SIGMA)
    return _NINE_IN_TEN * sqrt(2) * hypot(clocks, sampling(steps))


def sampling(steps: Int64s) -> float:
    """Standard deviation of the mean step over recordings of this length, as a share of it.

    It is the one of a circular block bootstrap, for which nothing needs to be drawn: the variance
    of block means over the number of blocks. Blocks have n^(1/3) steps (Hall, Horowitz and Jing,
    Biometrika 82, 1995). 0 where there are too few steps to tell.
    """
    count = len(steps)
    if count < _FEWEST:
        return 0.0
    size = round(count ** (1 / 3))
    around = np.concatenate((steps, steps[: size - 1])).astype(np.float64)
    means = np.convolve(around, np.full(size, 1 / size), mode="valid")
    return float(means.std() * sqrt(size / count) / max(float(means.mean()), 1.0))
