"""Batches that loader workers make beside the training: when they come does not follow the step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.graph.streams import edges
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.names import matching
from perfkit.model.trace import Int64s

_WORKERS = re.compile(r"enumerate\(DataLoader\)#\w*MultiProcessing")
_READY_NS = 200_000
"""A batch that was ready is handed over within this."""


@dataclass(frozen=True)
class Batches:
    """Waits of the main thread for batches of loader workers; shapes (waits,), nanoseconds."""

    start: Int64s
    end: Int64s

    def __len__(self) -> int:
        return len(self.start)


def batches(host: Host, main: int) -> Batches:
    """Waits long enough to show that the batch was not ready."""
    mine = host.thread == main
    rows = host.rows[mine][matching(host.trace, _WORKERS)[host.trace.name[host.rows[mine]]]]
    start, end = spans(host.trace, rows)
    long = end - start > _READY_NS
    return Batches(start[long], end[long])


def batch_edges(points: Points, arrivals: Int64s) -> Edges:
    """From each late batch to the next: the loader keeps its pace, whatever the training does."""
    source, target = arrivals[:-1], arrivals[1:]
    return edges(source, target, points.time[target] - points.time[source], Edge.DATA)
