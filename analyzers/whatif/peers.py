"""How long collectives waited for other ranks, as far as one rank's trace shows it.

A collective of some size never needs longer to move its data than one of that size or of more, of
the same kind, type and group. What it lasts beyond that is the wait for ranks that came later: a
faster network does not shorten it, and what a fix on this rank gives depends on theirs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analyzers.collective_calls import told_by
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.graph.model import NEVER, Edge, Edges, Graph
from perfkit.model.trace import Int64s

_SHARED = 2
"""Two transfers that share a link need twice as long: only what lasts longer has waited."""


def waits(facts: Facts) -> Int64s:
    """Nanoseconds at the begin of each operation in which it waited for peers; shape (work,)."""
    found = np.zeros(len(facts.work), dtype=np.int64)
    mine = np.flatnonzero(facts.work.is_communication)
    told = told_by(facts, facts.work.rows[mine])
    mine, told = mine[told >= 0], told[told >= 0]
    table = facts.trace.collectives
    size = np.maximum(table.in_elements, table.out_elements)[told]
    alike = np.stack((table.name, table.dtype, table.group_size), axis=1)[told].astype(np.int64)
    known = (size > 0) & (table.group_size[told] > 1)
    mine, size, alike = mine[known], size[known], alike[known]
    if not len(mine):
        return found
    took = facts.work.end[mine] - facts.work.start[mine]
    needed = _shortest_of_its_size(alike, size, took)
    found[mine] = np.where(took > _SHARED * needed, took - needed, 0)
    return found


def _shortest_of_its_size(alike: Int64s, size: Int64s, took: Int64s) -> Int64s:
    """Of those alike that are as large or larger, the shortest; shape (collectives,)."""
    kind = np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((-size, kind))
    # Within one size all count, so each is given what the last of its size has.
    last = np.flatnonzero(np.diff(kind[order], append=-1) | np.diff(size[order], append=-1))
    shortest = np.empty(len(order), dtype=np.int64)
    for group in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        shortest[group] = np.minimum.accumulate(took[group])
    of_size = last[np.searchsorted(last, np.arange(len(order)))]
    found = np.empty(len(order), dtype=np.int64)
    found[order] = shortest[order[of_size]]
    return found


def held_by_peers(graph: Graph, first: int, waiting: Int64s) -> Graph:
    """The graph with edges for peers that keep their pace, to these points that wait for them.

    They come as long after the `first` collective of all as they came. As built the edges hold
    nothing: what the waits took is a rest, so that peers follow this rank.
    """
    later = waiting[waiting > first]
    source = np.full(len(later), first, dtype=np.int64)
    kind = np.full(len(later), Edge.PEER, dtype=np.int8)
    more = Edges(source, later, np.full(len(later), NEVER, dtype=np.int64), kind)
    names = ("source", "target", "lag", "kind")
    both = (np.concatenate([getattr(e, n) for e in (graph.edges, more)]) for n in names)
    return replace(graph, edges=Edges(*both))
