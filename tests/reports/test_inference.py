"""An inference window in the terminal, in HTML and in Markdown."""

from __future__ import annotations

import pytest

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.inference_facts import InferenceFacts, PassShape
from perfkit.reports import html, markdown, terminal
from perfkit.reports.inference_summary import inference_lines
from tests.advice.serving import inference, latency, reads, served
from tests.reports.diagnoses import make_diagnosis
from tests.reports.runs import make_run

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


def test_shapes_tell_batch_and_tokens_where_no_engine_does() -> None:
    shaped = inference("prefill", told_by="shapes", shape=PassShape(
        sequences=16, tokens=559, context=559))  # fmt: skip
    decode = inference(told_by="shapes", shape=PassShape(sequences=8, tokens=1, context=900))
    images = inference("forward", shape=PassShape(sequences=4))
    assert "prefill; batch 16 of 559 tokens; steps" in inference_lines(window(shaped))[0]
    assert "batch 8 of 1 token, 900 of context" in inference_lines(window(decode))[0]
    assert "forward passes; batch 4; steps" in inference_lines(window(images))[0]


def test_the_page_labels_the_bound_of_memory() -> None:
    page = html.render(window(inference(reads=reads(1, 900.0, cache_bytes=2e9), told_by="shapes")))
    assert "16.0 GB of weights and 2.00 GB of keys and values per step for one row" in page
    assert "at least 4.78 ms at the peak bandwidth of 3,350 GB/s (a bound)" in page
    unknown = reads(1, None, bound_us=None, memory_gb_per_s=None)
    assert "(a bound)" not in html.render(window(inference(reads=unknown, told_by="shapes")))


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
