"""Scores of what stays unknown, of damaged traces, and of recorded programs."""

from __future__ import annotations

from benchmarks.scoring.detection import share
from benchmarks.scoring.predictions import percentile
from benchmarks.scoring.results import PUBLIC, RECORDED, Results, Row, percents, row
from benchmarks.scoring.runs import NOT_KNOWN, Damaged

_WORTH = 0.005  # of the step: idle time below it says nothing
_CLEAR = 1.1  # times the repaired step: a fault that costs less cannot be told from noise


def unknown(results: Results) -> list[Row]:
    """Share of the step without a cause."""
    shares = {"perfkit": max(run.unknown_share for run in results.runs)}
    found = [percents("unknown share, largest", len(results.runs), shares)]
    read = [trace.unknown_share for trace in results.public if not trace.refused]
    for name, q in (("median", 50), ("p95", 95), ("largest", 100)) if read else ():
        value = {"perfkit": percentile(read, q)}
        found.append(percents(f"unknown share, {name}", len(read), value, of=PUBLIC))
    return found


def damage(results: Results) -> list[Row]:
    """Where the time of damaged records goes."""
    if not results.damaged:
        return []
    named = {"perfkit": max(max(named_growth(one).values()) for one in results.damaged)}
    idler = [one for one in results.damaged if one.idle_growth > _WORTH]
    kept = {"perfkit": share(unknown_growth(one) > one.idle_growth - _WORTH for one in idler)[0]}
    return [
        percents("damaged: most that a cause grows", len(results.damaged), named, "0 %"),
        percents("damaged: all further idle time is unknown", len(idler), kept, "100 %"),
    ]


def named_growth(one: Damaged) -> dict[str, float]:
    """Growth of the causes that perfkit names, as shares of the step."""
    return {cause: grown for cause, grown in one.growth.items() if cause not in NOT_KNOWN}


def unknown_growth(one: Damaged) -> float:
    """Growth of what perfkit calls unknown or unobserved, as a share of the step."""
    return sum(one.growth[cause] for cause in NOT_KNOWN)


def recorded(results: Results) -> list[Row]:
    """Real programs with a fault, and repaired."""
    pairs = results.recorded
    if not pairs:
        return []
    top, first = share(p.is_top_right for p in pairs), share(p.is_finding_first for p in pairs)
    warned = share(bool(p.alarms_fixed) for p in pairs)[0]
    return [
        percents("top cause right", top[1], {"perfkit": top[0]}, ">= 90 %", of=RECORDED),
        percents("known finding first", first[1], {"perfkit": first[0]}, "100 %", of=RECORDED),
        percents("repaired runs with a warning", len(pairs), {"perfkit": warned}, of=RECORDED),
        _charged(results),
        _errors(results),
        _covered(results),
        _apart(results),
    ]


def _charged(results: Results) -> Row:
    charged = [
        pair.charged_ms / (pair.measured_ms[0] - pair.measured_ms[1])
        for pair in results.recorded
        if pair.charged_ms is not None and pair.measured_ms[0] > _CLEAR * pair.measured_ms[1]
    ]
    value = {"perfkit": percentile(charged, 50)}
    return row("charged / measured increase, median", len(charged), value, "0.9-1.1", of=RECORDED)


def _errors(results: Results) -> Row:
    errors = {
        method: [p.predicted[method].error for p in results.recorded if method in p.predicted]
        for method in ("perfkit", "subtract")
    }
    medians = {method: percentile(found, 50) for method, found in errors.items()}
    count = len(errors["perfkit"])
    return percents("what-if error, median", count, medians, "<= 5 %", of=RECORDED)


def _covered(results: Results) -> Row:
    said = [pair.predicted.get("perfkit") for pair in results.recorded]
    covered, count = share(p.is_covered for p in said if p is not None)
    return percents("truth inside [low, high]", count, {"perfkit": covered}, "85-97 %", of=RECORDED)


def _apart(results: Results) -> Row:
    apart = [share for pair in results.recorded for share in pair.apart]
    value = {"perfkit": percentile(apart, 90)}
    return percents("two runs of one program apart, p90", len(apart), value, of=RECORDED)
