"""Streams that keep in step with the legacy default stream.

What is launched to the default stream waits for all that blocking streams were given before, and
they wait for it (CUDA driver API, "Stream synchronization behavior"). No trace says which streams
block. Those of PyTorch's pool do not (c10/cuda/CUDAStream.cpp: cudaStreamNonBlocking), nor do those
of NCCL, which come from there. So a stream counts as blocking where order was never broken and
operations were held up, at both sides, by nothing else that the trace shows.
"""

from __future__ import annotations

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.graph.model import Edge, Edges
from perfkit.analyzers.graph.points import Points
from perfkit.analyzers.graph.streams import MOST_GAP_NS, Queue, edges, stream_waits
from perfkit.analyzers.launches import Launches
from perfkit.model.trace import Int64s, Trace

_DEFAULT = (7, 0)
"""Ids of the default stream in traces of NVIDIA's GPUs and of AMD's: the first that is there."""
_FEWEST_HELD = 5  # operations, at each side: once may be chance


def default_stream_edges(
    trace: Trace, work: GpuWork, calls: Launches, points: Points, queue: Queue, gap: int
) -> tuple[Edges, int]:
    """Between the default stream and each that blocks, and the number of those."""
    others, default = _streams(trace, queue)
    waits = trace.ts[stream_waits(trace)]
    none = np.empty(0, dtype=np.int64)
    found = [(none, none)]
    for other in others:
        for_other, for_default = _turns(other, default), _turns(default, other)
        if all(_is_held(work, calls, queue, waits, *turn) for turn in (for_other, for_default)):
            found += [turn[:2] for turn in (for_other, for_default)]
    source, target = (np.concatenate(parts) for parts in zip(*found, strict=True))
    source, target = points.operation[queue.order[source]], points.operation[queue.order[target]]
    return edges(source, target, gap, Edge.DEFAULT_STREAM), len(found) // 2


def _streams(trace: Trace, queue: Queue) -> tuple[list[Int64s], Int64s]:
    """Positions in the queue of the other streams' operations, and of the default stream's."""
    streams = queue.streams()
    ids = [trace.lanes[queue.lane[mine[0]]].stream for mine in streams]
    default = next((ids.index(i) for i in _DEFAULT if i in ids), None)
    if default is None:
        return [], np.empty(0, dtype=np.int64)
    return [mine for i, mine in enumerate(streams) if i != default], streams[default]


def _turns(mine: Int64s, other: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Where the next operation is `mine` and the one before was the other's; shapes (turns,).

    The other's, mine, and the one before mine on its stream, -1 for the first.
    """
    after = np.searchsorted(other, mine)  # of the other's operations those before
    turn = np.flatnonzero(np.diff(after, prepend=0))
    before = np.append(mine, -1)[turn - 1]
    return other[after[turn] - 1], mine[turn], np.where(turn > 0, before, -1)


def _is_held(
    work: GpuWork, calls: Launches, queue: Queue, waits: Int64s,
    source: Int64s, target: Int64s, before: Int64s,
) -> bool:  # fmt: skip
    """Whether `target` always began after `source`, and for some of them nothing else says why."""
    op, held = queue.order[source], queue.order[target]
    end, start, launched = work.end[op], work.start[held], queue.launched[target]
    apart = calls.call[op] != calls.call[held]  # a CUDA graph has an order of its own
    if (start < end)[apart].any():
        return False
    own_end = np.where(before >= 0, work.end[queue.order[before]], -1)
    since = np.where(before >= 0, queue.launched[before], -1)
    ready = np.maximum(own_end, launched)
    idle = (end - ready > MOST_GAP_NS) & (start - end <= MOST_GAP_NS)
    told = np.searchsorted(waits, launched) > np.searchsorted(waits, since)
    return int(np.count_nonzero(apart & idle & ~told)) >= _FEWEST_HELD
