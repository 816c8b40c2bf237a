"""Scores of what idle time is charged to."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.scoring import hta_baselines
from benchmarks.scoring.charges import TRUTH, Charged, dose_lines
from benchmarks.scoring.detection import Hits, Seen, hits, macro, share
from benchmarks.scoring.results import Results, Row, percents, row, seen
from benchmarks.scoring.runs import Run

_METHODS = ("perfkit", "occupant")


def detection(results: Results) -> list[Row]:
    """Causes by name: precision, recall, F1, and the largest one."""
    by_method = {m: seen(results, m, results.runs) for m in _METHODS}
    scored = {m: list(hits(s).values()) for m, s in by_method.items()}
    tops = {m: share(run.is_top_right for run in s) for m, s in by_method.items()}
    first = {m: right for m, (right, _) in tops.items()}
    n = len(results.runs)
    return [
        row("causes named: precision, macro", n, _each(scored, lambda h: h.precision), ">= 0.95"),
        row("causes named: recall, macro", n, _each(scored, lambda h: h.recall), ">= 0.95"),
        row("causes named: F1, macro", n, _each(scored, lambda h: h.f1), ">= 0.95"),
        percents("top cause right", tops["perfkit"][1], first, ">= 90 %"),
    ]


def _each(scored: dict[str, list[Hits]], value: Callable[[Hits], float]) -> dict[str, float]:
    return {method: macro([value(hit) for hit in found]) for method, found in scored.items()}


def classes(results: Results) -> list[Row]:
    """HTA names no cause: all methods by its three categories, where it was asked."""
    asked = [run for run in results.runs if "HTA" in run.found_us]
    if not asked:
        return []
    scored = {}
    for method in (*_METHODS, "HTA"):
        runs = [_by_class(run, method) for run in asked]
        scored[method] = macro([hit.f1 for hit in hits(runs).values()])
    return [row("host wait, kernel wait or other: F1, macro", len(asked), scored)]


def _by_class(run: Run, method: str) -> Seen:
    found = run.found_us[method]
    if method != "HTA":
        found = hta_baselines.by_class(found)
    return Seen(run.step_us, hta_baselines.by_class(run.true_us), found, {})


def alarms(results: Results) -> list[Row]:
    """What is said of runs in which nothing may be blamed; and what must be said."""
    quiet = results.quiet
    causes = {m: share(bool(s.false_causes) for s in seen(results, m, quiet))[0] for m in _METHODS}
    warned = {"perfkit": share(bool(run.alarms) for run in quiet)[0]}
    must = [(run, code) for run in results.singles for code in run.expected]
    fired = {"perfkit": share(code in dict(run.findings) for run, code in must)[0]}
    return [
        percents("quiet runs with a false cause", len(quiet), causes, "<= 5 %"),
        percents("quiet runs with a warning", len(quiet), warned, "<= 5 %"),
        percents("findings that must fire, fired", len(must), fired, "100 %"),
    ]


def doses(results: Results) -> list[Row]:
    """The worst lines of all faults."""
    lines = {m: dose_lines(results.clean, results.singles, m) for m in _METHODS}
    n, truth = len(lines["perfkit"]), dose_lines(results.clean, results.singles, TRUTH)
    slopes = {charged.fault: charged.line.slope for charged in truth}

    def off(charged: Charged) -> float:
        return abs(charged.line.slope - slopes[charged.fault])

    return [
        row("dose response: slope off the truth's by at most", n, _worst(lines, max, off), "0.1"),
        row("dose response: smallest slope", n, _worst(lines, min, _slope), ">= 0.9"),
        row("dose response: largest slope", n, _worst(lines, max, _slope), "<= 1.1"),
        row("dose response: smallest R2", n, _worst(lines, min, lambda c: c.line.r2), ">= 0.98"),
        percents(
            "dose response: largest intercept, of the step",
            n,
            _worst(lines, max, lambda c: abs(c.intercept_share)),
            "<= 1 %",
        ),
    ]


def _slope(charged: Charged) -> float:
    return charged.line.slope


def _worst(
    lines: dict[str, list[Charged]],
    pick: Callable[[list[float]], float],
    value: Callable[[Charged], float],
) -> dict[str, float]:
    return {m: pick([value(charged) for charged in found]) for m, found in lines.items() if found}
