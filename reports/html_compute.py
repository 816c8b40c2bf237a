"""The HTML report's section on matrix work against the device's peak."""

from __future__ import annotations

from perfkit.model.compute_facts import ComputeFacts, MatrixClass, MatrixOperator, Peak
from perfkit.model.diagnosis import Diagnosis
from perfkit.reports.compute_summary import compute_lines, rate_text
from perfkit.reports.format import count, share, size, time_us
from perfkit.reports.html_tags import Html, code, join, meter, section, table, tag, text
from perfkit.reports.palette import COLORS
from perfkit.reports.summary import headings

_MOST_OPERATORS = 15
_MEANING = (
    "MFU is the share of the step that the arithmetic of these operators would take at the "
    "device's dense peak rates. It is a lower bound of what the GPU computed: operators whose "
    "shapes are not told are missing, and element-wise work never counts. Of the peak, the best "
    "products reach about 80 %."
)


def compute(diagnosis: Diagnosis) -> Html:
    """The section; nothing where the trace tells no FLOPs."""
    facts, lines = diagnosis.compute, compute_lines(diagnosis)
    if facts is None or not lines:
        return Html("")
    said = (*lines, _MEANING, *([_peak_text(facts.peak)] if facts.peak else []))
    notes = (tag("p", text(line, 600), class_="quiet") for line in said)
    return section(
        "compute", "Matrix work", *notes, _classes(diagnosis, facts), _operators(diagnosis, facts)
    )


def _peak_text(peak: Peak) -> str:
    rates = ", ".join(f"{form} {rate:,g}" for form, rate in peak.tflops.items())
    return (
        f"Peak rates, dense, in TFLOP/s: {rates}; memory {peak.memory_gb_per_s:,.0f} GB/s "
        f"({peak.source})."
    )


def _classes(diagnosis: Diagnosis, facts: ComputeFacts) -> Html:
    header = headings(
        diagnosis, "class", "per step", "operations per step", "rate", "of peak", "on tensor cores"
    )
    rows = [_class(one) for one in sorted(facts.classes, key=lambda one: -one.total_us)]
    return table("Operators with known shapes by class", header, rows, 1)


def _class(one: MatrixClass) -> list[Html]:
    return [
        text(one.kind),
        text(time_us(one.total_us)),
        text(f"{one.flops_per_step / 1e12:.3g} TFLOP"),
        text(rate_text(one.tflops)),
        _meter(one.peak_share),
        text(share(one.tensor_core_share)),
    ]


def _operators(diagnosis: Diagnosis, facts: ComputeFacts) -> Html:
    header = headings(
        diagnosis, "operator", "format", "limited by", "times per step", "per step", "rate",
        "of peak", "bytes", "tensor cores", "waves filled",
    )  # fmt: skip
    shown = facts.operators[:_MOST_OPERATORS]
    caption = f"The {count(len(shown))} that take longest; bytes are of one call, at least"
    return table(caption, header, [_operator(one) for one in shown], 3)


def _operator(one: MatrixOperator) -> list[Html]:
    cores = {True: "yes", False: "no", None: "-"}[one.tensor_cores]
    shapes = tag("small", text(one.shapes), class_="quiet")
    return [
        join((code(one.name), shapes), " "),
        text(one.format or "-"),
        text(one.bound or "-"),
        text(count(one.count_per_step)),
        text(time_us(one.total_us)),
        text(rate_text(one.tflops)),
        _meter(one.peak_share),
        text(size(one.bytes)),
        text(cores),
        text(share(one.tile_share)),
    ]


def _meter(value: float | None) -> Html:
    return text("-") if value is None else meter(value, COLORS["compute"], share(value))
