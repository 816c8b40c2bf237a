"""An inference window in the terminal, in HTML and in Markdown."""

from __future__ import annotations

import pytest

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.inference_facts import InferenceFacts
from perfkit.reports import html, markdown, terminal
from perfkit.reports.inference_summary import inference_lines
from tests.advice.serving import inference, latency, served
from tests.reports.diagnoses import make_diagnosis, make_run

DECODE = inference(told_by="names", engine="vLLM", graph_share=0.97,
                   served=[served("decode", 3000.0, context_tokens=64_000.0)])  # fmt: skip


def window(facts: InferenceFacts | None) -> Diagnosis:
    return make_diagnosis(inference=facts)


def test_one_line_says_phase_batch_latency_and_graphs() -> None:
    (line,) = inference_lines(window(DECODE))
    assert line == (
        "Inference: decode by vLLM; 32 generations per step, 2,000 tokens of context; steps p50 "
        "10.0 ms, p90 11.0, p99 12.0 of 20; 97.0 % of kernel time from CUDA graphs."
    )


def test_phases_are_counted_where_there_are_several() -> None:
    both = inference("mixed", told_by="names", served=[served("mixed", 9e3), served("decode", 6e3)])
    (line,) = inference_lines(window(both))
    assert "20 steps of prefill and decode; 20 steps of decode" in line


@pytest.mark.parametrize(
    "facts",
    [None, inference("forward", steps=latency(9000.0, 1)), inference("forward", steps=None)],
)
def test_nothing_is_said_of_a_window_that_trains_or_says_nothing(
    facts: InferenceFacts | None,
) -> None:
    assert inference_lines(window(facts)) == []
    assert 'id="inference"' not in html.render(window(facts))


def test_every_report_has_it() -> None:
    case = window(DECODE)
    assert "decode by vLLM" in terminal.render(case, width=100, color=False)
    assert "decode by vLLM" in markdown.render(case)
    page = html.render(case)
    assert 'id="inference"' in page
    assert "a step of decode" in page


def test_the_screen_still_holds_the_report() -> None:
    case = make_diagnosis(inference=DECODE, run=make_run())
    for width in (80, 100):
        assert len(terminal.render(case, width=width, color=False).splitlines()) <= 40


def test_a_hostile_engine_stays_text() -> None:
    facts = inference(told_by="names", engine="<script>alert(1)</script>")
    assert "<script>alert(1)" not in html.render(window(facts))
