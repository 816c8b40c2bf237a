"""The one table: every score of every method over what was measured."""

from __future__ import annotations

from benchmarks.scoring import score_causes, score_fixes, score_rules, score_traces
from benchmarks.scoring.results import Results, Row
from benchmarks.scoring.told import Told


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
        *score_rules.rows(labelled(results)),
    ]


def labelled(results: Results) -> list[Told]:
    """All cases for whose label rules are scored; none where only some kinds were measured."""
    return [*score_rules.simulated(results.runs), *results.told] if results.told else []
