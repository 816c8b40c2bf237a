"""What the one table is made of: by cause, fault, fix, damage and trace, and the worst misses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.scoring.charges import TRUTH, Charged, dose_lines
from benchmarks.scoring.detection import Hits, hits, share
from benchmarks.scoring.dose import line
from benchmarks.scoring.markdown import table
from benchmarks.scoring.predictions import Prediction, percentile
from benchmarks.scoring.real import Pair, Public
from benchmarks.scoring.results import Results, number, percent, seen
from benchmarks.scoring.runs import Damaged, Run
from benchmarks.scoring.score_fixes import predictions
from benchmarks.scoring.score_traces import named_growth, unknown_growth


def causes(results: Results) -> str:
    """Precision, recall and F1 of each cause."""
    mine = hits(seen(results, "perfkit", results.runs))
    other = hits(seen(results, "occupant", results.runs))
    head = ["cause", "runs with it", "precision", "recall", "F1", "F1 of gap occupant"]
    return table(head, (_cause(cause, mine, other) for cause in sorted({*mine, *other})))


def _cause(cause: str, mine: dict[str, Hits], other: dict[str, Hits]) -> list[str]:
    hit, theirs = mine.get(cause, Hits()), other.get(cause, Hits())
    scores = (hit.precision, hit.recall, hit.f1, theirs.f1)
    return [cause, str(hit.right + hit.missed), *map(number, scores)]


def doses(results: Results) -> str:
    """The line of each fault."""
    lines = {
        m: {one.fault: one for one in dose_lines(results.clean, results.singles, m)}
        for m in ("perfkit", TRUTH, "occupant")
    }
    head = ["fault", "charged to", "points", "slope", "R2", "intercept, of the step"]
    head += ["slope of the truth", "its R2", "its intercept", "slope of gap occupant"]
    rows = (
        [
            *(one.fault, ", ".join(one.causes), str(one.line.points)),
            *(*_line(one), *_line(lines[TRUTH][one.fault])),
            number(lines["occupant"][one.fault].line.slope),
        ]
        for one in lines["perfkit"].values()
    )
    return table(head, rows)


def _line(one: Charged) -> list[str]:
    return [number(one.line.slope), number(one.line.r2), percent(one.intercept_share)]


def fixes(results: Results) -> str:
    """Errors of each fix, by method."""
    head = ["fix", "predictions", "median error", "p90", "subtract: median", "p90", "HTA: median"]
    head += ["in [low, high]", "bound beaten"]
    said = {m: _by_fix(results, m) for m in ("perfkit", "subtract", "HTA path")}
    return table(head, (_fix(fix, said) for fix in sorted(said["subtract"])))


def _by_fix(results: Results, method: str) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = {}
    for prediction in predictions(results.runs, method):
        found.setdefault(prediction.fix, []).append(prediction)
    return found


def _fix(fix: str, said: dict[str, dict[str, list[Prediction]]]) -> list[str]:
    mine, simple, hta = (said[m].get(fix, []) for m in ("perfkit", "subtract", "HTA path"))
    errors = [
        _error(mine, 50), _error(mine, 90), _error(simple, 50), _error(simple, 90), _error(hta, 50)
    ]  # fmt: skip
    covered, beaten = share(p.is_covered for p in mine)[0], share(p.is_beaten for p in mine)[0]
    return [f"`{fix}`", str(len(mine)), *errors, percent(covered), percent(beaten)]


def _error(said: list[Prediction], q: float) -> str:
    return percent(percentile([p.error for p in said], q))


def damages(results: Results) -> str:
    """Means over the damaged runs, and the cause that grew most."""
    by_kind: dict[str, list[Damaged]] = {}
    for one in results.damaged:
        by_kind.setdefault(one.damage.label, []).append(one)
    head = ["damage", "traces", "GPU work lost, mean", "unknown grew, mean", "idle grew, mean"]
    head.append("cause that grew most")
    return table(head, (_damage(kind, found) for kind, found in by_kind.items()))


def _damage(kind: str, found: list[Damaged]) -> list[str]:
    lost = sum(one.lost_share for one in found) / len(found)
    unknown = sum(map(unknown_growth, found)) / len(found)
    idle = sum(one.idle_growth for one in found) / len(found)
    worst, cause = max((grown, c) for one in found for c, grown in named_growth(one).items())
    shown = [percent(lost), percent(unknown), percent(idle)]
    return [kind, str(len(found)), *shown, f"{cause} {percent(worst)}"]


def public(results: Results) -> str:
    """Each public trace; shares are of the step."""
    head = ["trace", "device", "steps", "mean step", "idle", "unknown", "replay gates that fail"]
    return table(head, map(_public, results.public))


def _public(trace: Public) -> list[str]:
    if trace.refused:
        return [trace.name, "refused", "", "", "", "", ""]
    shares = [percent(trace.idle_share), percent(trace.unknown_share)]
    failed = str(len(trace.replay_failed)) if trace.replay_failed else "none"
    step = f"{trace.step_us / 1000:.2f} ms"
    return [trace.name, trace.device, str(trace.steps), step, *shares, failed]


def recorded(results: Results) -> str:
    """Each recorded pair; ratios are faulty step over repaired step, unprofiled."""
    head = ["program", "cause", "largest found", "faulty / repaired", "perfkit", "subtract"]
    head += ["charged / increase", "note"]
    return table(head, map(_pair, results.recorded))


def _pair(pair: Pair) -> list[str]:
    faulty, fixed = pair.measured_ms
    said = [_ratio(pair, method) for method in ("perfkit", "subtract")]
    charged = "-" if pair.charged_ms is None else f"{pair.charged_ms / (faulty - fixed):.2f}"
    named = [pair.name, pair.cause or "none", pair.top]
    return [*named, f"{faulty / fixed:.2f}", *said, charged, pair.note]


def recorded_doses(results: Results) -> str:
    """The line of each recorded fault over its doses: milliseconds charged over the increase."""
    points: dict[str, list[tuple[float, float]]] = {}
    for pair in results.recorded:
        if pair.charged_ms is not None:
            more = pair.measured_ms[0] - pair.measured_ms[1]
            points.setdefault(pair.scenario, []).append((more, pair.charged_ms))
    head = ["program", "doses", "increase of the step, ms", "charged, ms", "slope", "R2"]
    lines = sorted((name, sorted(found)) for name, found in points.items() if len(found) > 1)
    return table(head, (_recorded_line(name, found) for name, found in lines))


def _recorded_line(name: str, points: list[tuple[float, float]]) -> list[str]:
    more, charged = zip(*points, strict=True)
    fitted = line(more, charged)
    told = [", ".join(f"{ms:.1f}" for ms in times) for times in (more, charged)]
    scores = ["-", "-"] if fitted is None else [number(fitted.slope), number(fitted.r2)]
    return [name, str(len(points)), *told, *scores]


def _ratio(pair: Pair, method: str) -> str:
    if method not in pair.predicted:
        return "-"
    one = pair.predicted[method]
    return f"{one.step_us / one.predicted_us:.2f}" if one.predicted_us > 0 else "no bound"


Miss = tuple[float, str, str]
"""How far off as a share of the step, what it is of (one of each is told), and in words."""


def misses(results: Results, most: int = 3) -> list[str]:
    """The worst of each kind, a line each; of a fault's doses and seeds only the worst one."""
    return [
        *_worst("cause", _wrong_causes(results), most),
        *_worst("what-if", _wrong_steps(results), most),
        *_worst("interval", _outside(results), most),
        *_worst("bound", _beaten(results), most),
        *_worst("damage", _grown(results), most),
    ]


def _worst(kind: str, found: Iterable[Miss], most: int) -> Iterator[str]:
    told: set[str] = set()
    for size, of, text in sorted(found, reverse=True):
        if of not in told and len(told) < most:
            told.add(of)
            yield f"{kind}: {text} ({percent(size)} of the step)"


def _wrong_causes(results: Results) -> Iterator[Miss]:
    for run in results.runs:
        (one,) = seen(results, "perfkit", [run])
        for cause in one.true_us:
            if one.is_true(cause) != one.is_found(cause):
                what = "missed" if one.is_true(cause) else "false"
                apart = abs(one.found_us[cause] - one.true_us[cause]) / run.step_us
                yield apart, f"{run.case.kind} {cause}", f"{run.case.label}: {cause} {what}"


def _wrong_steps(results: Results) -> Iterator[Miss]:
    for run, p in _predicted(results):
        yield p.step_error, _of(run, p), _said(run, p)


def _predicted(results: Results) -> Iterator[tuple[Run, Prediction]]:
    for run in results.runs:
        for prediction in run.predicted.get("perfkit", []):
            yield run, prediction


def _of(run: Run, p: Prediction) -> str:
    return f"{run.case.kind} {p.fix}"


def _said(run: Run, p: Prediction) -> str:
    times = f"{p.step_us:.0f} us, predicted {p.predicted_us:.0f}, true {p.true_us:.0f}"
    return f"{run.case.label}, {p.fix}: {times}"


def _outside(results: Results) -> Iterator[Miss]:
    for run, p in _predicted(results):
        if p.is_covered is False and p.low_us is not None and p.high_us is not None:
            apart = max(p.low_us - p.true_us, p.true_us - p.high_us) / p.step_us
            text = f"{_said(run, p)}, [{p.low_us:.0f}, {p.high_us:.0f}]"
            yield apart, _of(run, p), text


def _beaten(results: Results) -> Iterator[Miss]:
    for run, p in _predicted(results):
        if p.is_beaten and p.least_us is not None:
            text = f"{_said(run, p)}, bound {p.least_us:.0f}"
            yield (p.least_us - p.true_us) / p.step_us, _of(run, p), text


def _grown(results: Results) -> Iterator[Miss]:
    for one in results.damaged:
        for cause, grown in named_growth(one).items():
            of = f"{one.case.kind} {one.damage.kind}"
            yield grown, of, f"{one.case.label}, {one.damage.label}: {cause} grew"
