"""What the scripts of the HTML report read: columns of numbers and names, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from perfkit.model.diagnosis import Diagnosis, Kernel, StepRow, Timeline, TimelineEvent
from perfkit.model.run_facts import RunFacts
from perfkit.reports import html_whatif, summary
from perfkit.reports.format import clean
from perfkit.reports.palette import COLORS, OTHER, idle_key
from perfkit.reports.summary import UNKNOWN

MOST_STEPS = 400
# "<" and the like end or open elements; U+2028 and U+2029 end lines in older JavaScript
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def payload(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything the charts and the kernel table show."""
    return {
        "colors": COLORS,
        "other": OTHER,
        "unknown": UNKNOWN,
        "run": _run(diagnosis.run),
        "whatif": html_whatif.payload(diagnosis),
        "steps": _steps(diagnosis.step_rows[:MOST_STEPS]),
        "timeline": _timeline(diagnosis.timeline) if diagnosis.timeline else None,
        "kernels": [
            [clean(k.name), clean(k.kind), *map(_number, _measures(k))] for k in diagnosis.kernels
        ],
    }


def _run(run: RunFacts | None) -> list[dict[str, Any]] | None:
    if run is None or run.steps is None or not run.steps.points:
        return None
    return [
        {
            "step": point.step,
            "wall": _number(point.wall_us),
            "max": _number(point.max_us),
            "data": _number(point.data_us),
            "profiled": point.profiled,
        }
        for point in run.steps.points
    ]


def encoded(data: dict[str, Any]) -> str:
    """JSON that cannot end or open an element of the page it stands in."""
    plain = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return plain.translate(_ESCAPES)


def _measures(kernel: Kernel) -> tuple[float, ...]:
    return kernel.launches_per_step, kernel.total_us, kernel.mean_us, kernel.share


def _number(value: float) -> float | None:
    """Six decimals are below what was measured; JSON knows no infinity."""
    return round(value, 6) if math.isfinite(value) else None


def _steps(rows: Sequence[StepRow]) -> dict[str, Any]:
    return {
        "labels": [clean(row.step) for row in rows],
        "counted": [row.counted for row in rows],
        "wall": [_number(row.wall_us) for row in rows],
        "series": [*_part_series(rows), *_idle_series(rows)],
    }


def _part_series(rows: Sequence[StepRow]) -> list[dict[str, Any]]:
    return [
        _series(part, part, [getattr(row.breakdown_us, part) for row in rows])
        for part in summary.PARTS
    ]


def _idle_series(rows: Sequence[StepRow]) -> Iterable[dict[str, Any]]:
    totals: dict[str, float] = {}
    for row in rows:
        for cause, us in row.idle_us.items():
            totals[cause] = totals.get(cause, 0.0) + us
    ranked = sorted(totals, key=lambda cause: (idle_key(cause) == UNKNOWN, -totals[cause]))
    return (
        _series(
            idle_key(cause),
            "idle: " + summary.cause_text(cause),
            [row.idle_us.get(cause, 0.0) for row in rows],
        )
        for cause in ranked
    )


def _series(key: str, label: str, us: list[float]) -> dict[str, Any]:
    return {"key": key, "label": label, "us": [_number(value) for value in us]}


def _timeline(timeline: Timeline) -> dict[str, Any]:
    return {
        "wall": _number(timeline.wall_us),
        "lanes": [clean(lane) for lane in timeline.lanes],
        "events": _columns(timeline.events),
        "gaps": _columns(timeline.gaps),
    }


def _columns(events: Sequence[TimelineEvent]) -> dict[str, Any]:
    """Each name and kind once, and its position in every event."""
    names, name = _interned(clean(event.name) for event in events)
    kinds, kind = _interned(clean(event.kind) for event in events)
    return {
        "names": names,
        "kinds": kinds,
        "name": name,
        "kind": kind,
        "lane": [event.lane for event in events],
        "start": [_number(event.start_us) for event in events],
        "dur": [_number(event.dur_us) for event in events],
    }


def _interned(values: Iterable[str]) -> tuple[list[str], list[int]]:
    position: dict[str, int] = {}
    places = [position.setdefault(value, len(position)) for value in values]
    return list(position), places
