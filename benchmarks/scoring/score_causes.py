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
    truth = {one.fault: one for one in dose_lines(results.clean, results.singles, TRUTH)}
    n = len(lines["perfkit"])

    def ratio(one: Charged) -> float:
        slope = truth[one.fault].line.slope
        return one.line.slope / slope if slope else float("nan")

    def lost_r2(one: Charged) -> float:
        return truth[one.fault].line.r2 - one.line.r2

    def intercept(one: Charged) -> float:
        return abs(one.intercept_share - truth[one.fault].intercept_share)

    return [
        row("dose response: smallest slope / the truth's", n, _worst(lines, min, ratio), ">= 0.9"),
        row("dose response: largest slope / the truth's", n, _worst(lines, max, ratio), "<= 1.1"),
        row("dose response: R2 below the truth's", n, _worst(lines, max, lost_r2), "<= 0.02"),
        percents(
            "dose response: intercept off the truth's, of the step",
            n,
            _worst(lines, max, intercept),
            "<= 1 %",
        ),
    ]


def _worst(
    lines: dict[str, list[Charged]],
    pick: Callable[[list[float]], float],
    value: Callable[[Charged], float],
) -> dict[str, float]:
    return {m: pick([value(charged) for charged in found]) for m, found in lines.items() if found}
