"""The dependency graph of one rank: points in time, and what each of them had to wait for.

A point is the start of a GPU operation, or on a thread the start or the end of a call, or a mark.
It follows the point before it on its lane (a thread or a stream) and any number of edges:

    time = max(end(prev) + lag, end(source) + edge lag for each edge) + rest

where end = time + dur, and dur is 0 on threads. Lags are the least that the hardware or the program
needs; `rest` is what no edge explains, so that the recorded times solve these equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from perfkit.model.trace import Bools, Int8s, Int32s, Int64s


class Point(IntEnum):
    """What a point is. At equal times they come in this order."""

    START = 0
    """A call on a thread begins."""
    OPERATION = 1
    """An operation on the GPU begins."""
    END = 2
    """A call on a thread returns."""
    MARK = 3
    """Anything else on a thread: the border of a step, the begin or the end of a wait."""


class Edge(IntEnum):
    """Why one point waits for another."""

    LAUNCH = 0
    QUEUE = 1
    """A launch call waits for room in the launch queue (back-pressure)."""
    EVENT = 2
    """An operation waits for another stream."""
    SYNC = 3
    """A synchronizing call waits for operations."""
    COPY = 4
    """A blocking copy holds its call until it is done."""
    ALLOCATOR = 5
    """Memory is returned to the driver once the device is drained."""
    THREAD = 6
    """One thread waits for another: forward for backward, and back."""
    DATA = 7
    """A batch comes when a worker has made it, or at the pace of the loader."""
    DRIVER = 8
    """Calls of two threads overlap: the driver lets one through after the other."""
    DEFAULT_STREAM = 9
    """The legacy default stream and a blocking stream wait for one another."""
    PEER = 10
    """A collective waits for other ranks, should they keep their pace; only in what-ifs."""


RECORDED = (Edge.LAUNCH, Edge.SYNC, Edge.COPY)
"""Edges that records prove; the others are inferred."""

NEVER = -(1 << 50)
"""The lag of an edge that holds nothing up."""


@dataclass(frozen=True)
class Edges:
    """Shapes (edges,); `source` and `target` are points, `lag` nanoseconds after the source."""

    source: Int64s
    target: Int64s
    lag: Int64s
    kind: Int8s

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Int64s | Bools) -> Edges:
        """Some of the edges."""
        return Edges(self.source[rows], self.target[rows], self.lag[rows], self.kind[rows])


@dataclass(frozen=True)
class Repairs:
    """What of the recorded times contradicted the graph, in counts."""

    violations: int
    """Recorded edges whose source ended after their target began: left out."""
    recorded_edges: int
    reordered: int
    """Points whose time stamps had to be ordered by what they depend on."""


@dataclass(frozen=True)
class Graph:
    """Points in an order in which each comes after all it waits for; shapes (points,).

    Times are nanoseconds. `lane` is one of the trace's, or behind those a loader worker. `row` is
    the event's row in the trace (-1 for marks), `prev` the point before it on its lane, -1 for the
    first; a point that waits for nothing stays where it was.
    """

    time: Int64s
    dur: Int64s
    kind: Int8s
    row: Int64s
    lane: Int32s
    prev: Int64s
    lag: Int64s
    rest: Int64s
    edges: Edges
    repairs: Repairs

    def __len__(self) -> int:
        return len(self.time)

    @property
    def is_operation(self) -> Bools:
        """Shape (points,)."""
        return np.asarray(self.kind == Point.OPERATION)
