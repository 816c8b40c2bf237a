"""A Trace as the table of events that Holistic Trace Analysis works on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perfkit.model.trace import Int64s, Kind, Trace

if TYPE_CHECKING:
    import pandas as pd

Clock = Callable[[Int64s], NDArray[Any]]
"""Nanoseconds to the unit of the table."""

_STEP = re.compile(r"ProfilerStep\s*#\s*(\d{1,15})")
# HTA counts these among GPU events although they may lie on no stream.
_SYNCS_WITHOUT_STREAM = ("Context Sync", "Event Sync")


def microseconds(ns: Int64s) -> NDArray[np.float64]:
    """Microseconds in steps of 1/65536, off by less than a hundredth of a nanosecond; same shape.

    Doubles add such values without error. With plain thousandths, `ts + dur` of two events that
    end together may differ, which HTA takes for a wrong nesting.
    """
    return np.asarray(np.rint(ns * 65.536) / 65536, dtype=np.float64)


def nanoseconds(ns: Int64s) -> Int64s:
    """Times as they are, for what HTA only adds up."""
    return ns


def known_to_hta(trace: Trace) -> Trace:
    """The trace without events of no category, which HTA leaves out."""
    named = np.array([bool(name) for name in trace.names], dtype=np.bool_)
    return trace.take(named[trace.category])


def symbols(trace: Trace) -> list[str]:
    """Every name and category that an event bears."""
    used = np.unique(np.concatenate((trace.name, trace.category)))
    return [trace.names[i] for i in used.tolist()]


def frame_of(
    trace: Trace, origin_ns: int, symbol_ids: Mapping[str, int], clock: Clock
) -> pd.DataFrame:
    """One row per event in the order of the file, by HTA's column names.

    `ts`, `dur` and `end` are in the unit of `clock` from `origin_ns`; a position in the file is
    both the row's label and the column `index`. Arguments HTA can do without (shapes, counters)
    are not there, since a Trace does not hold them.
    """
    import pandas as pd

    order = np.argsort(trace.row, kind="stable")
    columns = _identity(trace, symbol_ids) | _times(trace, origin_ns, clock) | _arguments(trace)
    columns |= _links(trace, columns["stream"])
    return pd.DataFrame(
        {name: column[order] for name, column in columns.items()}, index=trace.row[order]
    )


def _identity(trace: Trace, symbol_ids: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    number = np.array([symbol_ids.get(name, -1) for name in trace.names], dtype=np.int64)
    return {
        "index": trace.row,
        "cat": number[trace.category],
        "name": number[trace.name],
        "pid": _numbers([lane.pid for lane in trace.lanes])[trace.lane],
        "tid": _numbers([lane.tid for lane in trace.lanes])[trace.lane],
        "stream": _streams(trace),
    }


def _numbers(texts: list[str]) -> NDArray[Any]:
    """Ids as the file writes them: numbers, or text among them."""
    values = [int(text) if re.fullmatch(r"-?\d{1,18}", text) else text for text in texts]
    all_numbers = all(isinstance(value, int) for value in values)
    return np.array(values, dtype=np.int64 if all_numbers else object)


def _streams(trace: Trace) -> Int64s:
    """The stream of GPU work and syncs, -1 for everything else."""
    # A wait for an event or for the whole device stands on thread -1.
    of_lane = [-1 if lane.tid == f"-{lane.stream}" else lane.stream for lane in trace.lanes]
    stream = np.array(of_lane, dtype=np.int64)[trace.lane]
    return np.where(trace.is_gpu_work | (trace.kind == Kind.SYNC), stream, -1)


def _times(trace: Trace, origin_ns: int, clock: Clock) -> dict[str, NDArray[Any]]:
    ts, end = clock(trace.ts - origin_ns), clock(trace.end - origin_ns)
    return {"ts": ts, "dur": end - ts, "end": end}


def _arguments(trace: Trace) -> dict[str, NDArray[Any]]:
    moved = (trace.kind > Kind.KERNEL) & (trace.bytes > 0) & (trace.dur > 0)
    return {
        "correlation": trace.corr,
        "bytes": trace.bytes,
        "memory_bw_gbps": np.where(moved, trace.bytes / np.maximum(trace.dur, 1), 0.0),
        "wait_on_stream": trace.wait_stream,
        "wait_on_cuda_event_record_corr_id": trace.wait_corr,
        "external_id": trace.external_id,
    }


def _links(trace: Trace, stream: Int64s) -> dict[str, NDArray[Any]]:
    """The label of the launch of a GPU event and of the event of a launch, and steps."""
    partner = _partners(trace, stream)
    nobody = np.minimum(trace.corr, 0)
    return {
        "index_correlation": np.where(partner >= 0, trace.row[partner], nobody),
        "iteration": _iterations(trace, stream, partner),
    }


def _partners(trace: Trace, stream: Int64s) -> Int64s:
    """Position of the event with the same correlation on the other side; -1 without one."""
    syncs = np.isin(np.array(trace.names, dtype=object), _SYNCS_WITHOUT_STREAM)
    on_gpu = ((stream >= 0) & (trace.corr >= 0)) | syncs[trace.name]
    linked = trace.corr != -1
    partner = np.full(len(trace), -1, dtype=np.int64)
    for side, other in ((linked & on_gpu, linked & ~on_gpu), (linked & ~on_gpu, linked & on_gpu)):
        partner[side] = _last(trace, np.flatnonzero(other), trace.corr[side])
    return partner


def _last(trace: Trace, among: Int64s, wanted: Int64s) -> Int64s:
    """Of the events `among`, the last in the file with each wanted correlation; -1 without one."""
    if not len(among):
        return np.full(len(wanted), -1, dtype=np.int64)
    among = among[np.lexsort((trace.row[among], trace.corr[among]))]
    corr = trace.corr[among]
    at = np.maximum(np.searchsorted(corr, wanted, side="right") - 1, 0)
    return np.where(corr[at] == wanted, among[at], -1)


def _iterations(trace: Trace, stream: Int64s, partner: Int64s) -> Int64s:
    """Step number of host events by time and of GPU events by their launch; -1 outside."""
    found = {i: m for i, name in enumerate(trace.names) if (m := _STEP.match(name))}
    marks = np.flatnonzero(np.isin(trace.name, list(found)))
    step = np.full(len(trace), -1, dtype=np.int64)
    end = trace.end
    for mark in marks[np.argsort(trace.row[marks], kind="stable")].tolist():
        inside = slice(*np.searchsorted(trace.ts, (trace.ts[mark], end[mark])).tolist())
        step[inside] = int(found[int(trace.name[mark])][1])
    launched = np.where(partner >= 0, step[partner], -1)
    return np.where(stream >= 0, launched, step)
