"""Scores of what fixes were predicted to return."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scoring.detection import macro, share
from benchmarks.scoring.predictions import Prediction, is_first_right, percentile, ranking
from benchmarks.scoring.results import Results, Row, percents, row
from benchmarks.scoring.runs import Run

_KEYS = {"perfkit": "perfkit", "subtract": "subtract", "HTA": "HTA path"}
"""A method's what-ifs by the column they stand in."""


def predictions(runs: Iterable[Run], method: str) -> list[Prediction]:
    """All of a method's predictions."""
    return [p for run in runs for p in run.predicted.get(method, [])]


def errors(results: Results) -> list[Row]:
    """Errors of the step after the fix, as shares of the true one."""
    said = {m: predictions(results.runs, key) for m, key in _KEYS.items()}
    steady = {"perfkit": predictions(results.runs, "perfkit, steady")}
    withheld = share(not run.predicted["perfkit"] for run in results.runs)[0]
    steps = [abs(run.measured_us / run.step_us - 1) for run in results.runs]
    n, runs = len(said["perfkit"]), len(results.runs)
    large = {m: [p for p in found if p.matters] for m, found in said.items()}
    some = len(large["perfkit"])
    return [
        percents("printed step, error, p90", runs, {"perfkit": percentile(steps, 90)}),
        percents("what-if withheld", runs, {"perfkit": withheld}),
        percents("what-if error, median", n, _errors(said, 50), "<= 5 %"),
        percents("what-if error, p90", n, _errors(said, 90), "<= 10 %"),
        percents("what-if error, fixes that matter, median", some, _errors(large, 50), "<= 5 %"),
        percents("what-if error, fixes that matter, p90", some, _errors(large, 90), "<= 10 %"),
        percents("what-if error in another run, median", n, _again(said, 50), "<= 5 %"),
        percents("what-if error in another run, p90", n, _again(said, 90), "<= 10 %"),
        percents("what-if error on steady steps, median", n, _errors(steady, 50), "<= 5 %"),
        percents("what-if error on steady steps, p90", n, _errors(steady, 90), "<= 10 %"),
    ]


def _errors(said: dict[str, list[Prediction]], q: float) -> dict[str, float]:
    return {m: percentile([p.error for p in found], q) for m, found in said.items()}


def _again(said: dict[str, list[Prediction]], q: float) -> dict[str, float]:
    return {"perfkit": percentile([p.again_error for p in said["perfkit"]], q)}


def intervals(results: Results) -> list[Row]:
    """Whether the truth lies where it was said to lie."""
    said = predictions(results.runs, "perfkit")
    covered, beaten = share(p.is_covered for p in said)[0], share(p.is_beaten for p in said)[0]
    same, width = share(p.is_same_covered for p in said)[0], percentile(map(_half, said), 50)
    return [
        percents("truth inside [low, high]", len(said), {"perfkit": covered}, "85-97 %"),
        percents("the same run inside [low, high]", len(said), {"perfkit": same}),
        percents("half the interval, median, of the step", len(said), {"perfkit": width}),
        percents("bound beaten by over 1 %", len(said), {"perfkit": beaten}, "<= 5 %"),
        *_workers(results),
    ]


def _half(prediction: Prediction) -> float | None:
    return prediction.half_width


def _workers(results: Results) -> list[Row]:
    """Runs whose loader has workers: as a Capture, and from the trace alone."""
    runs = [run for run in results.runs if "perfkit, trace alone" in run.predicted]
    found = []
    for what, method in (("Capture", "perfkit"), ("trace alone", "perfkit, trace alone")):
        said = [p for p in predictions(runs, method) if p.fix != "dataloader"]
        inside = {"perfkit": share(p.is_covered for p in said)[0]}
        worst = {"perfkit": percentile([p.error for p in said], 99)}
        if said:
            found += [
                percents(f"loader workers, {what}: what-if error, p99", len(said), worst),
                percents(f"loader workers, {what}: truth inside", len(said), inside),
            ]
    return found


def order(results: Results) -> list[Row]:
    """Whether the better fix is said to be better."""
    taus, firsts = {}, {}
    for method, key in _KEYS.items():
        runs = [run.predicted.get(key, []) for run in results.runs]
        taus[method] = macro([tau for tau in map(ranking, runs) if tau is not None])
        firsts[method] = share(map(is_first_right, runs))
    right = {m: part for m, (part, _) in firsts.items()}
    return [
        row("order of fixes, mean Kendall tau", len(results.runs), taus, ">= 0.8"),
        percents("top fix right", firsts["perfkit"][1], right, ">= 90 %"),
    ]


def class_errors(results: Results) -> dict[str, tuple[int, float, float]]:
    """By class of fix: predictions, and p90 of the error as a share of the gain and of the step."""
    by_class: dict[str, list[Prediction]] = {}
    for one in predictions(results.runs, "perfkit"):
        by_class.setdefault(fix_class(one.fix), []).append(one)
    return {
        name: (
            len(found),
            percentile([p.gain_error for p in found], 90),
            percentile([p.step_error for p in found], 90),
        )
        for name, found in sorted(by_class.items())
    }


def fix_class(fix: str) -> str:
    """`kernels` of `kernels:gemm=2`."""
    return fix.partition("=")[0].partition(":")[0]
