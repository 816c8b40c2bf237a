"""Python between operators on a CPU: long gaps, where a program works, apart from short ones."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analyzers.cpu import main_thread
from perfkit.analyzers.facts import Facts
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.names import matching
from perfkit.analyzers.pieces import Pieces
from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Place, PythonGaps
from perfkit.model.trace import Int64s, Kind

LONG_GAP_NS = 1_000_000
"""Python between two operators takes microseconds to tens of them; from here on it is work."""
_NO_PLACE = re.compile(r"^ProfilerStep|^Optimizer\.|^perfkit_record$")
_MOST_PLACES = 4
_MOST_GAPS = 500
_MOST_OF_IT = 0.5
_NOWHERE = "outside of any named range"


def python_gaps(facts: Facts) -> PythonGaps | None:
    """What the CPU did outside of operators in the counted steps; None on a GPU."""
    if facts.device_kind != "cpu":
        return None
    start, end = _gaps(facts.counted_pieces.of(Cause.PYTHON))
    length = end - start
    long = length >= LONG_GAP_NS
    return PythonGaps(
        total_us=facts.per_step_us(length.sum()),
        long_gap_us=LONG_GAP_NS / 1000,
        long_us=facts.per_step_us(length[long].sum()),
        long_per_step=int(long.sum()) / facts.mean_over,
        places=_places(facts, start[long], end[long]),
    )


def _gaps(pieces: Pieces) -> tuple[Int64s, Int64s]:
    """Starts and ends of gaps: pieces that touch are of one."""
    apart = pieces.start[1:] > pieces.end[:-1]
    some = np.full(min(len(pieces.start), 1), True)
    return (
        pieces.start[np.concatenate((some, apart))],
        pieces.end[np.concatenate((apart, some))],
    )


def _places(facts: Facts, gap_start: Int64s, gap_end: Int64s) -> list[Place]:
    """The narrowest range of the program around most of each gap, by time, and its line."""
    trace = facts.trace
    rows = np.flatnonzero((trace.kind == Kind.ANNOTATION) & ~matching(trace, _NO_PLACE)[trace.name])
    rows = rows[np.argsort(trace.dur[rows], kind="stable")]
    opens, closes = spans(trace, rows)
    found: dict[tuple[str, int], list[int]] = {}
    longest = np.argsort(gap_start - gap_end, kind="stable")[:_MOST_GAPS]
    gap_start, gap_end = gap_start[longest], gap_end[longest]
    lines = _lines(facts, gap_start, gap_end)
    gaps = zip(gap_start.tolist(), gap_end.tolist(), lines.tolist(), strict=True)
    for start, end, line in gaps:
        inside = np.minimum(closes, end) - np.maximum(opens, start)
        around = rows[inside >= _MOST_OF_IT * (end - start)]
        name = trace.names[trace.name[around[0]]] if len(around) else _NOWHERE
        found.setdefault((name, line), []).append(end - start)
    ranked = sorted(found.items(), key=lambda item: -sum(item[1]))[:_MOST_PLACES]
    return [
        Place(
            cause=Cause.PYTHON.value,
            name=name,
            count_per_step=len(lengths) / facts.mean_over,
            idle_us=facts.per_step_us(sum(lengths)),
            line=facts.lines.texts[line] if line >= 0 else None,
        )
        for (name, line), lengths in ranked
    ]


def _lines(facts: Facts, start: Int64s, end: Int64s) -> Int64s:
    """The line of the main thread that fills most of each gap, -1 for none."""
    main = np.full(len(start), main_thread(facts.host))
    return facts.lines.most_of(main, start, end)
