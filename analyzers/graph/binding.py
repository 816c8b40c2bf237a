"""What each point of a graph waited for last: the link that set its time."""

from __future__ import annotations

import numpy as np

from perfkit.analyzers.graph.build import Built
from perfkit.analyzers.graph.model import Edge, Graph
from perfkit.model.trace import Bools, Int64s

_NEVER = np.iinfo(np.int64).min


def bindings(graph: Graph) -> tuple[Int64s, Int64s]:
    """The point that each waited for last and the edge to it; shapes (points,).

    The edge is -1 where that was the point before on the lane; both are -1 where nothing was.
    """
    end, edges = graph.time + graph.dur, graph.edges
    found, link = graph.prev.copy(), np.full(len(graph), -1, dtype=np.int64)
    best = np.where(found >= 0, end[found] + graph.lag, _NEVER)
    bound = end[edges.source] + edges.lag
    order = np.argsort(bound, kind="stable")
    later = order[bound[order] > best[edges.target[order]]]
    found[edges.target[later]] = edges.source[later]  # the last one written is the latest
    link[edges.target[later]] = later
    return found, link


def path_to(point: int, before: Int64s) -> Int64s:
    """The points on the way from this one back to the first; `before` is as of `bindings`.

    They are found by steps that double in length.
    """
    path, before = np.array([point]), np.append(before, -1)  # before none is none
    while (further := before[path])[0] >= 0:
        path = np.concatenate((path, further[further >= 0]))
        before = before[before]
    return path


def bound_by_launch(built: Built, link: Int64s) -> Bools:
    """Whether the launch set the start of each operation, by its edge; shape (operations,)."""
    kind = np.append(built.graph.edges.kind, -1)[link[built.operation]]
    return np.asarray(kind == Edge.LAUNCH)
