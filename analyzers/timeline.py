"""The events of one step as bars, for a reader who wants to see it."""

from __future__ import annotations

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.kernel_names import kind_of
from perfkit.model.cause import CAUSES
from perfkit.model.diagnosis import Timeline, TimelineEvent
from perfkit.model.trace import Int64s, Kind

_MOST_EVENTS = 3000
_MOST_GAPS = 1500
_LONGEST_NAME = 160
_SHOWN = (Kind.OPERATOR, Kind.ANNOTATION, Kind.RUNTIME, Kind.OVERHEAD, Kind.SYNC)


def timeline_of_step(facts: Facts) -> Timeline | None:
    """The counted step nearest the median wall time; its longest events, and its idle gaps."""
    if not facts.mean_over or not len(facts.trace):
        return None
    step = _typical(facts)
    start, end = int(facts.windows.start[step]), int(facts.windows.end[step])
    rows = _inside(facts, start, end)
    kept = np.sort(rows[np.argsort(-facts.trace.dur[rows], kind="stable")[:_MOST_EVENTS]])
    lanes = _lanes(facts, kept)
    position = {lane: i for i, lane in enumerate(lanes)}
    return Timeline(
        step=facts.windows.labels[step],
        wall_us=(end - start) / 1000,
        lanes=[facts.trace.lanes[lane].label for lane in lanes],
        events=[_event(facts, row, position, start, end) for row in kept.tolist()],
        gaps=_gaps(facts, start, end),
        omitted_events=len(rows) - len(kept),
    )


def _typical(facts: Facts) -> int:
    wall = facts.times.wall[facts.counted]
    return int(facts.counted[np.argmin(np.abs(wall - np.median(wall)))])


def _inside(facts: Facts, start: int, end: int) -> Int64s:
    trace = facts.trace
    shown = np.isin(trace.kind, _SHOWN) | trace.is_gpu_work
    return np.flatnonzero(shown & (trace.ts < end) & (trace.end > start))


def _lanes(facts: Facts, rows: Int64s) -> list[int]:
    """Threads first, then streams, each in order of work."""
    lanes = np.unique(facts.trace.lane[rows]).tolist()
    return sorted(lanes, key=lambda i: (facts.trace.lanes[i].is_gpu, facts.trace.lanes[i].label))


def _event(facts: Facts, row: int, position: dict[int, int], start: int, end: int) -> TimelineEvent:
    trace = facts.trace
    name = trace.names[trace.name[row]]
    kind = Kind(trace.kind[row])
    begin = max(int(trace.ts[row]), start)
    return TimelineEvent(
        lane=position[int(trace.lane[row])],
        name=name[:_LONGEST_NAME],
        kind=kind_of(name).value if kind is Kind.KERNEL else kind.name.lower(),
        start_us=(begin - start) / 1000,
        dur_us=(min(int(trace.ts[row] + trace.dur[row]), end) - begin) / 1000,
    )


def _gaps(facts: Facts, start: int, end: int) -> list[TimelineEvent]:
    pieces = facts.pieces.take((facts.pieces.start >= start) & (facts.pieces.end <= end))
    longest = np.argsort(pieces.start - pieces.end, kind="stable")[:_MOST_GAPS]
    pieces = pieces.take(np.sort(longest))
    return [
        TimelineEvent(
            lane=-1,
            name=CAUSES[code].text,
            kind=CAUSES[code].value,
            start_us=(a - start) / 1000,
            dur_us=(b - a) / 1000,
        )
        for a, b, code in zip(
            pieces.start.tolist(), pieces.end.tolist(), pieces.cause.tolist(), strict=True
        )
    ]
