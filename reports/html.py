"""The report as one HTML file that loads nothing: attach it to a review, open it anywhere."""

from __future__ import annotations

from string import Template

from perfkit.model.diagnosis import Diagnosis
from perfkit.reports import (
    html_assets,
    html_compute,
    html_data,
    html_inference,
    html_run,
    html_sections,
    html_tables,
    html_whatif,
    summary,
)
from perfkit.reports.format import count, plural, time_us
from perfkit.reports.html_tags import Html, join, section, tag, text


def render(diagnosis: Diagnosis) -> str:
    """The whole page; verdict, breakdown and findings read without JavaScript too."""
    return Template(html_assets.template("report.html")).substitute(
        policy=html_assets.policy(),
        title=text(f"perfkit: {summary.file_name(diagnosis)}"),
        style=html_assets.template("report.css"),
        body=join(part for part in _body(diagnosis) if part),
        version=text(diagnosis.perfkit_version),
        data=html_data.encoded(html_data.payload(diagnosis)),
        plotly=html_assets.packed_plotly() if _has_charts(diagnosis) else "",
        script=html_assets.script(),
    )


def _has_charts(diagnosis: Diagnosis) -> bool:
    steps = diagnosis.run.steps if diagnosis.run else None
    return bool(diagnosis.step_rows or diagnosis.timeline or (steps and steps.points))


def _body(diagnosis: Diagnosis) -> list[Html]:
    return [
        html_sections.header(diagnosis),
        html_sections.tiles(diagnosis),
        html_sections.breakdown(diagnosis),
        html_sections.findings(diagnosis),
        html_whatif.whatif(diagnosis),
        html_inference.inference(diagnosis),
        html_run.run(diagnosis, _chart("run-steps", "Line of step times over the run")),
        _steps(diagnosis),
        _timeline(diagnosis),
        html_tables.idle_places(diagnosis),
        _kernels(diagnosis),
        html_compute.compute(diagnosis),
        html_tables.transfers(diagnosis),
        html_tables.host_calls(diagnosis),
        html_tables.ranks(diagnosis),
        html_tables.fidelity(diagnosis),
        html_tables.environment(diagnosis),
    ]


def _chart(name: str, label: str) -> Html:
    legend = tag("ul", id=f"{name}-legend", class_="legend", aria_label="Colours")
    waiting = tag("p", Html("Drawing needs JavaScript."), class_="quiet waiting")
    return join((legend, tag("div", waiting, id=name, class_="chart", aria_label=label)))


def _steps(diagnosis: Diagnosis) -> Html:
    if not diagnosis.step_rows:
        return Html("")
    said = "Hatched steps are left out of the means."
    steps = len(diagnosis.step_rows)
    if steps > html_data.MOST_STEPS:
        said += f" Only the first {html_data.MOST_STEPS} of {count(steps)} are drawn."
    return section(
        "per-step",
        "Step by step",
        tag("p", text(said), class_="quiet"),
        _chart("steps", "Stacked bar of every step"),
        html_tables.outliers(diagnosis),
    )


def _timeline(diagnosis: Diagnosis) -> Html:
    timeline = diagnosis.timeline
    if timeline is None:
        return Html("")
    said = f"{timeline.step} ({time_us(timeline.wall_us)})."
    if timeline.omitted_events:
        said += f" {plural(timeline.omitted_events, 'event')}, the shortest, are not drawn."
    said += " Drag to zoom, or focus the chart and press + - and the arrow keys; 0 shows it all."
    return section(
        "time-line",
        "Time line of one step",
        tag("p", text(said), class_="quiet"),
        _toolbar(),
        _chart("timeline", "Threads, streams and idle gaps over time"),
    )


def _toolbar() -> Html:
    actions = (
        ("in", "Zoom in"),
        ("out", "Zoom out"),
        ("left", "Earlier"),
        ("right", "Later"),
        ("gap", "Next idle gap"),
        ("all", "Whole step"),
    )
    buttons = (tag("button", text(name), type="button", data_zoom=key) for key, name in actions)
    status = tag("output", id="timeline-range", class_="quiet")
    return tag("div", *buttons, status, class_="toolbar needs-js", role="toolbar")


def _kernels(diagnosis: Diagnosis) -> Html:
    if not diagnosis.kernels:
        return Html("")
    return section(
        "kernels",
        "Kernels",
        html_tables.kernel_classes(diagnosis),
        Html(summary.worded(diagnosis, html_assets.template("kernels.html"))),
    )
