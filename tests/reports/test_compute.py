"""Matrix work in the terminal, in HTML and in Markdown."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.model.compute_facts import Avoidable, ComputeFacts, MatrixClass, Peak, WasteFacts
from perfkit.model.diagnosis import Diagnosis
from perfkit.reports import html, markdown, terminal
from perfkit.reports.compute_summary import compute_lines, mfu_text, rate_text
from tests.advice.kernel_facts import computing, product, tiled
from tests.reports.diagnoses import make_diagnosis
from tests.reports.hostile import HOSTILE

PEAK = Peak(tflops={"bf16": 312.0, "fp32": 19.5}, memory_gb_per_s=2039.0, source="data sheet")
GEMMS = MatrixClass(kind="gemm", total_us=40_000.0, flops_per_step=6.4e12, tflops=160.0,
                    peak_share=0.513, tensor_core_share=0.98)  # fmt: skip


def facts(**changes: Any) -> ComputeFacts:
    usual = {"tflops": 36.0, "told_share": 0.703, "mfu": 0.115, "peak": PEAK, "classes": [GEMMS]}
    return computing(product(9000.0, 4100.0, peak_share=0.32), tiled(3000.0, 1300.0, 0.51),
                     **(usual | changes))  # fmt: skip


def with_facts(found: ComputeFacts | None, **more: Any) -> Diagnosis:
    return make_diagnosis(compute=found, **more)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "MFU at least 11.5 %; shapes tell 70.3 % of its time."),
        ({"told_share": 1.0}, "36 TFLOP/s over the step, MFU at least 11.5 %."),
        ({"told_share": None}, "MFU at least 11.5 %."),
        ({"told_share": None, "mfu": 0.0002}, "MFU at least 0.02 %."),
        ({"told_share": None, "mfu": 0.00002}, "MFU above 0 %."),
        (
            {"mfu": None, "peak": None},
            "[tool.perfkit.peaks] can give the peak rates of NVIDIA A100",
        ),
        ({"mfu": 1.3}, "more than the peak rates known for NVIDIA A100"),
    ],
)
def test_one_line_says_rate_and_share_of_the_peak(changes: dict[str, Any], words: str) -> None:
    (line,) = compute_lines(with_facts(facts(**changes)))
    assert line.startswith("Matrix work: at least 36 TFLOP/s over the step, ")
    assert words in line


def test_work_that_runs_twice_is_said_to_count() -> None:
    waste = WasteFacts(recompute=Avoidable(count_per_step=19.0, total_us=1300.0))
    assert "11.5 %, recomputed work included" in compute_lines(with_facts(facts(), waste=waste))[0]


@pytest.mark.parametrize("found", [None, facts(flops_per_step=0.0)])
def test_nothing_is_said_without_flops(found: ComputeFacts | None) -> None:
    told = with_facts(found)
    page = html.render(told)
    assert compute_lines(told) == []
    assert 'id="compute"' not in page
    assert "Matrix work" not in terminal.render(told, width=100, color=False)
    assert "Matrix work" not in markdown.render(told)


def test_a_share_that_cannot_be_is_no_tile() -> None:
    assert mfu_text(with_facts(facts())) == "at least 11.5 %"
    assert mfu_text(with_facts(facts(mfu=1.3))) is None
    assert "<dt>MFU</dt>" in html.render(with_facts(facts()))
    assert "<dt>MFU</dt>" not in html.render(with_facts(facts(mfu=None)))


def test_the_page_says_what_it_is_a_lower_bound_of() -> None:
    page = html.render(with_facts(facts()))
    assert "It is a lower bound of what the GPU computed" in page
    assert "bf16 312, fp32 19.5; memory 2,039 GB/s (data sheet)" in page
    for cell in ("51.3 %", "98.0 %", "6.4 TFLOP", "8192x768 · 768x50257", "32.0 %", "51.0 %"):
        assert cell in page


def test_names_of_operators_are_text() -> None:
    page = html.render(with_facts(computing(product(1.0, None, name=HOSTILE), mfu=0.1)))
    assert HOSTILE not in page


def test_terminal_and_comment_have_the_line() -> None:
    told = with_facts(facts())
    assert "MFU at least 11.5 %" in " ".join(terminal.render(told, width=100, color=False).split())
    assert "- Matrix work: at least 36 TFLOP/s" in markdown.render(told)


def test_rates_in_the_unit_that_suits_them() -> None:
    rates = [0.0431, 0.9999, 36.0, 612.4, 1979.0]
    assert [rate_text(rate) for rate in rates] == [
        "43.1 GFLOP/s", "1 TFLOP/s", "36 TFLOP/s", "612 TFLOP/s", "1,979 TFLOP/s",
    ]  # fmt: skip
