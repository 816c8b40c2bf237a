"""The HTML report's section on an inference window."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.inference_facts import InferenceFacts, Latency
from perfkit.reports.format import count, time_us
from perfkit.reports.html_tags import Html, section, table, tag, text
from perfkit.reports.inference_summary import (
    PHASES,
    batch_text,
    inference_lines,
    reads_text,
    tells_something,
)
from perfkit.reports.summary import has_steps, worded

_BY = {
    "names": "The names of the engine's ranges tell the phase.",
    "shapes": "The shapes of the operators tell the phase.",
    "kernels": "The kernels tell the phase: some exist for one phase alone.",
    "token loop": "The phase is inferred: tokens are sampled one after another within a step.",
}
_ONE_RANK = "Latencies are of the window's steps, not of requests: queueing is not in a trace."


def inference(diagnosis: Diagnosis) -> Html:
    """The section; nothing where the window trains, or no more is known than that it does not."""
    facts = diagnosis.inference
    if facts is None or not tells_something(facts):
        return Html("")
    said = (
        *inference_lines(diagnosis),
        _BY.get(facts.told_by or "", ""),
        worded(diagnosis, f"Memory moves {reads_text(facts.reads)}.") if facts.reads else "",
        _ONE_RANK,
    )
    notes = (tag("p", text(line), class_="quiet") for line in said if line)
    return section("inference", "Inference", *notes, _latencies(diagnosis, facts))


def _latencies(diagnosis: Diagnosis, facts: InferenceFacts) -> Html:
    header = ("of", "what", "number", "p50", "p90", "p99", "longest")
    step = "a step" if has_steps(diagnosis) else "the recording"
    found = ((step, facts.steps), ("a token", facts.tokens))
    rows = [_row(name, "", latency) for name, latency in found if latency is not None]
    rows += [
        _row(f"a step of {PHASES[s.phase]}", worded(diagnosis, batch_text(s)), s.wall)
        for s in facts.served
    ]
    return table("Latency", header, rows, 2) if rows else Html("")


def _row(name: str, what: str, latency: Latency) -> list[Html]:
    times = (latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us)
    return [text(name), text(what), text(count(latency.count)), *(text(time_us(t)) for t in times)]
