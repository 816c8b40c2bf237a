"""What Holistic Trace Analysis (HTA) says of the same trace, through perfkit's bridge to it.

Its idle categories know no cause: `host_wait` stands for all of them. Its critical path is edited
for a what-if as one would by hand: the edges that a fix removes get no weight, and the longest path
is found again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.scoring.predictions import Prediction
from perfkit.analyzers import hta
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.hta_quiet import hta_calls
from perfkit.errors import PerfkitError

HOST = "host_wait"
CLASSES = {
    "kernel_gap": "kernel_wait",
    "unknown": "other",
    "unobserved_gpu_work": "other",
    "communication": "",
    "exposed copies": "",
}
"""HTA's category for perfkit's names; all others are `host_wait`, "" is no idle time."""
_INSTANCE = 3  # a step in the middle


@dataclass(frozen=True)
class _Edge:
    nodes: tuple[int, int]
    kind: str
    name: str
    on_gpu: bool
    weight: float


@dataclass(frozen=True)
class _Edit:
    """Edges of events with such names, or of a kind, keep this share of their weight."""

    names: str = ""
    on_gpu: bool = False
    kind: str = ""
    keep: float = 0.0

    def touches(self, edge: _Edge) -> bool:
        if self.kind and edge.kind == self.kind:
            return True
        named = bool(self.names and edge.name and re.search(self.names, edge.name))
        return named and edge.on_gpu == self.on_gpu and edge.kind == "OPERATOR_KERNEL"


_COMPUTE = "^(?!nccl|Mem)"
_EDITS = {
    "dataloader": _Edit("DataLoader"),
    "sync": _Edit("Synchronize|item|_local_scalar_dense", kind="SYNC_DEPENDENCY"),
    "copies": _Edit("Memcpy"),
    "allocator": _Edit("(Malloc|Free)$"),
    "checkpoint": _Edit("checkpoint"),
    "gc": _Edit("Python GC"),
    "cuda-graphs": _Edit(".", kind="KERNEL_LAUNCH_DELAY"),
    "overlap": _Edit("^nccl", on_gpu=True),
    "communication=2": _Edit("^nccl", on_gpu=True, keep=0.5),
    "kernels=2": _Edit(_COMPUTE, on_gpu=True, keep=0.5),
    "kernels:gemm=2": _Edit("gemm", on_gpu=True, keep=0.5),
    "host=2": _Edit(".", keep=0.5),
}


@dataclass(frozen=True)
class Answer:
    """HTA's idle time by its categories, its what-ifs, and why something is missing."""

    found_us: dict[str, dict[str, float]]
    predicted: dict[str, list[Prediction]]
    skipped: list[str]


def answers(facts: Facts, fixed_us: Mapping[str, float], step_us: float) -> Answer:
    """Everything HTA can say; it needs the extra `hta`."""
    answer = Answer({}, {}, [])
    try:
        answer.found_us["HTA"] = _idle_us(facts)
        answer.predicted["HTA path"] = _what_ifs(facts, fixed_us, step_us)
    except PerfkitError as error:
        answer.skipped.append(str(error))
    return answer


def by_class(times_us: Mapping[str, float]) -> dict[str, float]:
    """Idle time by perfkit's names as HTA's categories would have it."""
    total = {HOST: 0.0, "kernel_wait": 0.0, "other": 0.0}
    for cause, us in times_us.items():
        group = CLASSES.get(cause, HOST)
        if group:
            total[group] += us
    return total


def _idle_us(facts: Facts) -> dict[str, float]:
    """Idle time of the busiest stream by category, per step; HTA leaves the last step out."""
    analysis = hta.trace_analysis(facts.trace)
    with hta_calls("break idle time down"):
        table, _ = analysis.get_idle_time_breakdown(ranks=None, visualize=False)
    work, lanes = facts.work, facts.trace.lanes
    busy: dict[int, int] = {}
    for row in work.rows.tolist():
        stream = lanes[facts.trace.lane[row]].stream
        busy[stream] = busy.get(stream, 0) + int(facts.trace.dur[row])
    table = table[table["stream"] == max(busy, key=lambda stream: busy[stream])]
    steps = max(len(facts.windows) - 1, 1)
    rows = zip(table["idle_category"], table["idle_time"], strict=True)
    return {str(category): float(us) / steps for category, us in rows}


def _what_ifs(facts: Facts, fixed_us: Mapping[str, float], step_us: float) -> list[Prediction]:
    """The step less what the longest path loses with the fix's edges edited."""
    graph = _graph(facts)
    edges, before = _edges(graph), _longest(graph, {})
    return [
        Prediction(fix, step_us, true, step_us - before + _longest(graph, _edited(edges, fix)))
        for fix, true in fixed_us.items()
        if fix in _EDITS
    ]


def _graph(facts: Facts) -> Any:
    analysis = hta.trace_analysis(facts.trace)
    with hta_calls("find the critical path"):
        rank = facts.trace.info.rank or 0
        graph, found = analysis.critical_path_analysis(rank, "ProfilerStep", _INSTANCE)
    if not found:
        raise PerfkitError("Holistic Trace Analysis finds no critical path: nothing to edit.")
    return graph


def _edges(graph: Any) -> list[_Edge]:
    """All edges with what each is due to."""
    streams, names = graph.trace_df["stream"], graph.symbol_table.sym_table
    found = []
    for u, v, data in graph.edges(data=True):
        event = graph.get_event_attribution_for_edge(data["object"])
        known = event is not None and event in streams.index
        name = names[int(graph.trace_df["name"].loc[event])] if known else ""
        on_gpu = bool(known and streams.loc[event] >= 0)
        found.append(_Edge((u, v), data["object"].type.name, name, on_gpu, data["weight"]))
    return found


def _edited(edges: list[_Edge], fix: str) -> dict[tuple[int, int], float]:
    edit = _EDITS[fix]
    return {edge.nodes: edit.keep * edge.weight for edge in edges if edit.touches(edge)}


def _longest(graph: Any, weights: Mapping[tuple[int, int], float]) -> float:
    """Length of HTA's critical path with some edges' weights replaced."""
    before = {nodes: graph.edges[nodes]["weight"] for nodes in weights}
    _weigh(graph, weights)
    with hta_calls("find the critical path"):
        graph.critical_path()
    path = pairwise(graph.critical_path_nodes)
    length = float(sum(graph.edges[nodes]["weight"] for nodes in path))
    _weigh(graph, before)
    return length


def _weigh(graph: Any, weights: Mapping[tuple[int, int], float]) -> None:
    for nodes, weight in weights.items():
        graph.edges[nodes]["weight"] = weight
