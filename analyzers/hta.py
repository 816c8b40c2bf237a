"""Holistic Trace Analysis (HTA) on traces that perfkit has read.

HTA is optional (`pip install 'perfkit[hta]'`). Its own reader is slow and rounds nanoseconds away;
here it gets perfkit's columns instead. Works with HolisticTraceAnalysis 0.5 (pandas 2) and with its
continuation traceinsight 0.6 (pandas 2 and 3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from perfkit.analyzers.hta_frame import (
    Clock,
    frame_of,
    known_to_hta,
    microseconds,
    nanoseconds,
    symbols,
)
from perfkit.analyzers.hta_quiet import hta_calls
from perfkit.analyzers.kernel_names import kind_of
from perfkit.errors import PerfkitError
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Kind, Trace

if TYPE_CHECKING:
    import pandas as pd
    from hta.trace_analysis import TraceAnalysis

LEAST_COVERAGE = 0.9
"""Below it a path gets no verdict.

On public traces HTA 0.5.0 and 0.6.1 contradict each other about the same step where the shorter of
their paths explains 42 to 85 % of it; where both explain 98 % and more, they agree.
"""

_PACE = {
    "cpu_bound": "the host sets the pace",
    "gpu_compute_bound": "computing kernels set the pace",
    "gpu_communication_bound": "communication sets the pace",
    "gpu_kernel_launch_overhead": "the way from launch to kernel sets the pace",
    "gpu_kernel_kernel_overhead": "gaps between kernels set the pace",
    "none": "no time lies on it",
}


@dataclass(frozen=True)
class CriticalPath:
    """HTA's longest path through one step, and how far it can be trusted."""

    path_us: float
    """Sum of the path's edges."""
    step_us: float
    """Wall time of the annotation."""
    coverage: float
    """Part of the step that the path explains, 0..1; where the path outlasts the step (the GPU
    runs behind), of the time from the path's start to its end."""
    has_cuda_sync: bool
    """Whether the trace has the events that tie waits of the host to GPU work."""
    bound_by: dict[str, float]
    """Share of the path by HTA's kinds, largest first; sums to 1 unless empty."""
    verdict: str | None
    """What the path is made of; None when it explains too little."""
    text: str
    """All of it for a reader."""


def trace_analysis(traces: Trace | Mapping[int, Trace]) -> TraceAnalysis:
    """HTA's TraceAnalysis of one trace, or of the traces by rank, without reading a file again.

    Times are microseconds from the earliest event, with their nanoseconds. As always with HTA, the
    last ProfilerStep and GPU work without a launch are left out. Methods that open the trace file
    (overlays, counters written into a trace) need `info.source` to be a local path. Raises
    PerfkitError when HTA is not installed or cannot take the trace.
    """
    return _analysis(traces, microseconds)


def temporal_breakdown(traces: Trace | Mapping[int, Trace]) -> pd.DataFrame:
    """HTA's idle, compute and other GPU time per rank, from the first to the last kernel it keeps.

    Columns are HTA's (microseconds and per cent), one row per rank. Raises PerfkitError without GPU
    work, or when HTA is not installed or fails.
    """
    # Whole nanoseconds: HTA's assertions on sums do not hold with fractions of microseconds.
    analysis = _analysis(traces, nanoseconds)
    _require_gpu_work(analysis)
    with hta_calls("break the time down"):
        table: pd.DataFrame = analysis.get_temporal_breakdown(visualize=False)
    for column in [name for name in table.columns if name.endswith("(us)")]:
        table[column] = table[column] / 1000
    return table


def critical_path(
    trace: Trace, *, annotation: str = "ProfilerStep", instance: int = 0
) -> CriticalPath:
    """The longest path through one instance of an annotation (counted in time, from 0; -1: last).

    The last ProfilerStep is not among the instances, since HTA leaves it out. Raises PerfkitError
    when there is no such annotation, no GPU work, no HTA, or HTA finds no path.
    """
    analysis = _analysis(trace, microseconds)
    _require_gpu_work(analysis)
    rank = _rank(trace)
    marks = _marks(analysis, rank, annotation)
    place, step_us, name = _instance(marks, annotation, instance)
    with hta_calls("find the critical path"):
        graph, found = analysis.critical_path_analysis(rank, annotation, place)
    if not found:
        raise PerfkitError(
            f"Holistic Trace Analysis finds no path through {name}: choose another instance."
        )
    return _path(graph, name, step_us, has_cuda_sync=bool((trace.kind == Kind.SYNC).any()))


def _analysis(traces: Trace | Mapping[int, Trace], clock: Clock) -> TraceAnalysis:
    by_rank = {_rank(traces): traces} if isinstance(traces, Trace) else dict(traces)
    known = {rank: known_to_hta(trace) for rank, trace in by_rank.items()}
    if not any(len(trace) for trace in known.values()):
        raise PerfkitError("There is no event to analyze: give at least one recorded trace.")
    with hta_calls("take the trace"):
        from hta.trace_analysis import TraceAnalysis

        analysis = TraceAnalysis.__new__(TraceAnalysis)  # __init__ would read files
        analysis.t = _container({rank: t for rank, t in known.items() if len(t)}, clock)
    return analysis


def _rank(trace: Trace) -> int:
    return trace.info.rank or 0


def _container(traces: dict[int, Trace], clock: Clock) -> Any:
    """HTA's own Trace, filled and filtered."""
    from hta.common.trace import Trace as HtaTrace

    filled = HtaTrace(trace_files={}, trace_dir="/")
    filled.trace_files = {rank: trace.info.source for rank, trace in traces.items()}
    origin = min(int(trace.ts[0]) for trace in traces.values())
    for trace in traces.values():
        filled.symbol_table.add_symbols(symbols(trace))
    for rank, trace in traces.items():
        filled.traces[rank] = frame_of(trace, origin, filled.symbol_table.sym_index, clock)
        filled.meta_data[rank] = _metadata(trace, filled.symbol_table.sym_index)
    filled.align_and_filter_trace(include_last_profiler_step=False)
    filled.min_ts = origin / 1000
    for rank, frame in filled.traces.items():
        filled.traces[rank] = frame.set_index(frame["index"].to_numpy())
    filled.is_parsed = True
    return filled


def _metadata(trace: Trace, symbol_ids: dict[str, int]) -> dict[str, Any]:
    from hta.common import trace_parser

    metadata = {**trace.info.metadata, "baseTimeNanoseconds": trace.info.base_ns}
    if hasattr(trace_parser, "infer_gpu_type"):  # from 0.6
        metadata["device_type"] = trace_parser.infer_gpu_type(metadata, symbol_ids)
    return metadata


def _require_gpu_work(analysis: TraceAnalysis) -> None:
    for rank, frame in analysis.t.traces.items():
        if not (frame["stream"] != -1).any():
            raise PerfkitError(
                f"Rank {rank} has no GPU work that Holistic Trace Analysis counts: record two "
                "steps or more on a GPU."
            )


def _marks(analysis: TraceAnalysis, rank: int, annotation: str) -> pd.DataFrame:
    """Events whose names hold the annotation, in HTA's order, with names as text."""
    table = analysis.t.symbol_table
    named = table.sym_index.items() if annotation else ()  # HTA takes "" for the whole trace
    ids = {i: name for name, i in named if annotation in name}
    frame: pd.DataFrame = analysis.t.traces[rank]
    marks = frame[frame["name"].isin(list(ids))]
    on_gpu = table.sym_index.get("gpu_user_annotation", -1)
    return marks.assign(
        text=marks["name"].map(ids), on_host=(marks["stream"] == -1) & (marks["cat"] != on_gpu)
    )


def _instance(marks: pd.DataFrame, annotation: str, instance: int) -> tuple[int, float, str]:
    """HTA's number of the instance, its microseconds and its name.

    HTA also counts the copies of annotations that the profiler draws on the GPU.
    """
    host = marks.assign(place=range(len(marks)))[marks["on_host"]].sort_values("ts", kind="stable")
    if not len(host):
        raise PerfkitError(
            f"No annotation that Holistic Trace Analysis keeps has {annotation!r} in its name: "
            "give a part of another name."
        )
    if not -len(host) <= instance < len(host):
        raise PerfkitError(
            f"{annotation!r} has no instance {instance} among {len(host)}: choose one from 0 to "
            f"{len(host) - 1}."
        )
    row = host.iloc[instance]
    return int(row["place"]), float(row["dur"]), str(row["text"])


def _path(graph: Any, name: str, step_us: float, *, has_cuda_sync: bool) -> CriticalPath:
    nodes = graph.critical_path_nodes
    times = _times_by_kind(graph)
    path_us = sum(times.values())
    elapsed = float(graph.node_list[nodes[-1]].ts - graph.node_list[nodes[0]].ts)
    coverage = min(path_us / max(step_us, elapsed, 1e-3), 1.0)
    ordered = sorted(times.items(), key=lambda item: -item[1])
    bound_by = {kind: time / path_us for kind, time in ordered if time > 0}
    verdict = _verdict(coverage, bound_by, has_cuda_sync=has_cuda_sync)
    whole = f"{step_us:,.0f} us"
    if elapsed > step_us:
        whole += f" on the host, {elapsed:,.0f} us with the GPU work that outlasts it"
    head = f"HTA's critical path of {path_us:,.0f} us explains {coverage:.0%} of {name} ({whole})."
    text = " ".join((head, _about_sync(has_cuda_sync), verdict or _no_verdict(coverage)))
    return CriticalPath(path_us, step_us, coverage, has_cuda_sync, bound_by, verdict, text)


def _times_by_kind(graph: Any) -> dict[str, float]:
    """Microseconds on the path, by the weights the edges have now.

    HTA's own summary goes by those they were made with, which differ where it mended an edge.
    """
    times: defaultdict[str, float] = defaultdict(float)
    for edge in pairwise(graph.critical_path_nodes):
        weight = float(graph.edges[edge]["weight"])
        if weight:
            times[_kind(graph, edge)] += weight
    return times


_KIND_OF_EDGE = {
    "KERNEL_KERNEL_DELAY": "gpu_kernel_kernel_overhead",
    "KERNEL_LAUNCH_DELAY": "gpu_kernel_launch_overhead",
}


def _kind(graph: Any, edge: tuple[int, int]) -> str:
    type_name = graph.edges[edge]["object"].type.name
    if type_name in _KIND_OF_EDGE:
        return _KIND_OF_EDGE[type_name]
    event = graph.edge_to_event_map.get(edge, graph.node_list[edge[0]].ev_idx)
    if graph.trace_df.at[event, "stream"] < 0:
        return "cpu_bound"
    name = graph.symbol_table.get_sym_table()[graph.trace_df.at[event, "name"]]
    is_communication = kind_of(name) is KernelKind.COMMUNICATION
    return "gpu_communication_bound" if is_communication else "gpu_compute_bound"


def _verdict(coverage: float, bound_by: dict[str, float], *, has_cuda_sync: bool) -> str | None:
    kind = next(iter(bound_by), "none")
    # Without syncs any wait looks like a gap between kernels, so the gap says nothing.
    unexplained = kind == "gpu_kernel_kernel_overhead" and not has_cuda_sync
    if coverage < LEAST_COVERAGE or unexplained:
        return None
    return f"Of the path, {bound_by.get(kind, 0):.0%} is {kind}: {_PACE[kind]}."


def _about_sync(has_cuda_sync: bool) -> str:
    if has_cuda_sync:
        return "The trace has cuda_sync events."
    return (
        "The trace has no cuda_sync events, so that waits for the GPU are missing from the path "
        "(record with _ExperimentalConfig(enable_cuda_sync_events=True))."
    )


def _no_verdict(coverage: float) -> str:
    if coverage < LEAST_COVERAGE:
        return f"No verdict: with less than {LEAST_COVERAGE:.0%} explained, the rest may decide."
    return "No verdict: most of the path is gaps between kernels whose cause is not recorded."
