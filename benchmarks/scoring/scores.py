"""The one table: every score of every method over what was measured."""

from __future__ import annotations

from benchmarks.scoring import score_causes, score_fixes, score_traces
from benchmarks.scoring.results import Results, Row


def rows(results: Results) -> list[Row]:
    """From causes over what-ifs to real traces."""
    return [
        *score_causes.detection(results),
        *score_causes.classes(results),
        *score_causes.alarms(results),
        *score_causes.doses(results),
        *score_fixes.errors(results),
        *score_fixes.intervals(results),
        *score_fixes.order(results),
        *score_traces.unknown(results),
        *score_traces.damage(results),
        *score_traces.recorded(results),
    ]
