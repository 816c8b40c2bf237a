"""The tables of the HTML report below its charts."""

from __future__ import annotations

import json
from typing import Any

from perfkit.model.diagnosis import Breakdown, Diagnosis, KernelSummary
from perfkit.reports import summary
from perfkit.reports.format import count, share, size, time_us
from perfkit.reports.gates import gates, repaired_text
from perfkit.reports.html_sections import places_table
from perfkit.reports.html_tags import Html, code, join, meter, section, table, tag, text
from perfkit.reports.palette import COLORS

_NOTHING = Html("")


def idle_places(diagnosis: Diagnosis) -> Html:
    """Where idle time was spent, over all causes."""
    if not diagnosis.places:
        return _NOTHING
    ranked = sorted(diagnosis.places, key=lambda place: -place.idle_us)
    caption = "What the launching thread was in while the device was idle"
    return section("places", "Idle time by place", places_table(diagnosis, caption, ranked))


def kernel_classes(diagnosis: Diagnosis) -> Html:
    """Kernels by class, with the counts over all of them."""
    kernels = diagnosis.kernel_summary
    if kernels is None:
        return _NOTHING
    header = summary.headings(
        diagnosis, "class", "total per step", "share", "launches per step", "tensor cores"
    )
    rows = [
        [
            text(row.kind),
            text(time_us(row.total_us)),
            meter(row.share, COLORS["compute"], share(row.share)),
            text(count(row.launches_per_step)),
            text(share(row.tensor_core_share)),
        ]
        for row in kernels.classes
    ]
    listed = table("Kernels by class", header, rows, 1)
    return join((tag("p", text(summary.worded(diagnosis, _kernel_facts(kernels)))), listed))


def _kernel_facts(kernels: KernelSummary) -> str:
    return (
        f"{count(kernels.launches_per_step)} kernels per step, median {time_us(kernels.median_us)};"
        f" {share(kernels.under_10us_share)} of them are shorter than 10 us."
    )


def transfers(diagnosis: Diagnosis) -> Html:
    """Communication and copies, with what of them computation did not hide."""
    content = [_overlap(diagnosis), _collectives(diagnosis), _copies(diagnosis)]
    shown = [part for part in content if part]
    return section("transfers", "Communication and copies", *shown) if shown else _NOTHING


def _overlap(diagnosis: Diagnosis) -> Html:
    overlap = diagnosis.overlap
    if overlap is None:
        return _NOTHING
    facts = (
        ("Communication", overlap.communication_us, overlap.communication_hidden_share),
        ("Copies", overlap.copy_us, overlap.copy_hidden_share),
    )
    said = (
        f"{name}: {time_us(total)} per step, {share(hidden)} of it behind computation."
        for name, total, hidden in facts
        if hidden is not None
    )
    words = summary.worded(diagnosis, " ".join(said))
    return tag("p", text(words)) if words else _NOTHING


def _collectives(diagnosis: Diagnosis) -> Html:
    header = summary.headings(
        diagnosis,
        "collective",
        "data",
        "ranks",
        "per step",
        "bytes per step",
        "total",
        "not hidden",
    )
    rows = [
        [
            code(row.name),
            text(row.dtype or "-"),
            text(count(row.group_size)),
            text(count(row.count_per_step)),
            text(size(row.bytes_per_step)),
            text(time_us(row.total_us)),
            text(time_us(row.exposed_us)),
        ]
        for row in diagnosis.collectives
    ]
    return table("Collectives", header, rows, 2) if rows else _NOTHING


def _copies(diagnosis: Diagnosis) -> Html:
    header = summary.headings(
        diagnosis,
        "direction",
        "host memory",
        "per step",
        "bytes per step",
        "total",
        "not hidden",
        "idle caused",
    )
    rows = [
        [
            text(row.direction),
            text(row.memory),
            text(count(row.count_per_step)),
            text(size(row.bytes_per_step)),
            text(time_us(row.total_us)),
            text(time_us(row.exposed_us)),
            text(time_us(row.idle_us)),
        ]
        for row in diagnosis.copies
    ]
    return table("Copies", header, rows, 2) if rows else _NOTHING


def host_calls(diagnosis: Diagnosis) -> Html:
    """Driver calls that can hold up the device."""
    header = summary.headings(diagnosis, "call", "role", "per step", "time inside", "idle caused")
    rows = [
        [
            code(row.name),
            text(row.role),
            text(count(row.count_per_step)),
            text(time_us(row.total_us)),
            text(time_us(row.idle_us)),
        ]
        for row in diagnosis.host_calls
    ]
    if not rows:
        return _NOTHING
    return section("host", "Calls on the host", table("Driver calls", header, rows, 2))


def ranks(diagnosis: Diagnosis) -> Html:
    """The ranks side by side, and whom the others waited for."""
    if len(diagnosis.ranks) < 2:
        return _NOTHING
    header = ("rank", "step", *summary.PARTS, "idle")
    rows = [
        [text(str(row.rank)), *(text(time_us(us)) for us in _times(row.breakdown_us))]
        for row in diagnosis.ranks
    ]
    content = [table("Mean step of each rank", header, rows, 1)]
    if diagnosis.blame:
        content.append(places_table(diagnosis, "Waited for", diagnosis.blame))
    return section("ranks", "Ranks", *content)


def _times(parts: Breakdown) -> list[float]:
    times = [parts.compute, parts.communication, parts.copy, parts.idle]
    return [sum(times), *times]


def outliers(diagnosis: Diagnosis) -> Html:
    """Steps far above the median."""
    found = diagnosis.outliers
    if found is None or not found.steps:
        return _NOTHING
    period = "" if found.period is None else f" Every {count(found.period)} steps."
    header = ("step", "grew most", "wall time", "over the median")
    rows = [
        [
            code(row.step),
            text(summary.cause_text(row.grew)),
            text(time_us(row.wall_us)),
            text(time_us(row.excess_us)),
        ]
        for row in found.steps
    ]
    said = f"Slow steps cost {time_us(found.cost_us)} per step on average.{period}"
    return join((tag("p", text(said)), table("Slow steps", header, rows, 2)))


def fidelity(diagnosis: Diagnosis) -> Html:
    """How far the numbers can be trusted."""
    facts = diagnosis.fidelity
    rows: list[tuple[str, str]] = [
        (
            "unknown or unobserved",
            f"{share(facts.unknown_share)} of the {summary.whole_text(diagnosis)}",
        ),
        ("GPU operations without a launch", count(facts.orphan_kernels)),
        ("launches without a GPU record", count(facts.unmatched_launches)),
        ("GPU events", count(facts.gpu_events)),
        ("host events", count(facts.host_events)),
        ("synchronization records", "yes" if facts.has_sync_events else "no"),
    ]
    if facts.replay is not None:
        blocking = count(facts.replay.blocking_streams)
        rows.append(("streams in step with the default stream", blocking))
        rows.append(("time stamps repaired", repaired_text(facts.replay)))
    notes = [*summary.fidelity_facts(diagnosis), *summary.excluded_facts(diagnosis)]
    listed = tag("ul", *(tag("li", text(note)) for note in notes)) if notes else _NOTHING
    replayed = _gates(diagnosis)
    return section("fidelity", "How far to trust this", listed, _pairs(rows), replayed)


def _gates(diagnosis: Diagnosis) -> Html:
    """Each gate of the replay with what was measured, and whether it let predictions through."""
    header = ("gate of the replay", "outcome", "measured", "at most")
    rows = [
        [
            text(gate.name),
            tag("strong", Html("passed" if gate.passed else "failed")),
            text(gate.value_text),
            text(gate.most_text),
        ]
        for gate in gates(diagnosis.fidelity)
    ]
    return (
        table("What a replay must reproduce before it predicts", header, rows, 2)
        if rows
        else _NOTHING
    )


def environment(diagnosis: Diagnosis) -> Html:
    """What ran, and where the numbers come from."""
    known = [("source", summary.source_facts(diagnosis)), *_framework(diagnosis)]
    said = [(key, _value(value)) for key, value in diagnosis.environment.items()]
    return section("environment", "Environment", _pairs([*known, *said]))


def _framework(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    framework = diagnosis.framework
    facts = {
        "device": summary.device_facts(diagnosis),
        "compute capability": diagnosis.device.compute_capability,
        "parallelism": ", ".join(framework.parallelism),
        "data loader": framework.data_loader,
        "optimizer": framework.optimizer,
        "compiled": "yes" if framework.compiled else "no",
        "CUDA graphs": "yes" if framework.cuda_graphs else "no",
        "mode": "inference" if framework.inference else None,
        "16 bits or fewer": _low_precision(framework.low_precision_share),
    }
    return [(key, value) for key, value in facts.items() if value]


def _low_precision(value: float | None) -> str | None:
    return None if value is None else f"{share(value)} of the kernel time whose names tell"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _pairs(rows: list[tuple[str, str]]) -> Html:
    items = [tag("div", tag("dt", text(key)), tag("dd", text(value, 600))) for key, value in rows]
    return tag("dl", *items, class_="pairs")
