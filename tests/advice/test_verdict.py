"""The sentence that leads the report."""

from __future__ import annotations

import pytest

from perfkit.model.diagnosis import Diagnosis, Gain
from perfkit.reports.advice import advise
from tests.advice.builder import copies, diagnosis, matrix
from tests.advice.test_predicted import predicting

CASES = [
    (
        diagnosis({"dataloader": 3300}),
        "The GPU computes 67.0 % of each 10.0 ms step; "
        "it waits 3.30 ms per step (33.0 %) for the next batch.",
    ),
    (
        diagnosis({"kernel_gap": 200}),
        "The GPU computes 98.0 % of each 10.0 ms step and is busy 98.0 % of it; "
        "nothing stands out as worth fixing.",
    ),
    (
        diagnosis({"unknown": 4000, "dataloader": 700}, fidelity={"unknown_share": 0.4}),
        "The GPU computes 53.0 % of each 10.0 ms step; "
        "40.0 % cannot be explained, because records are missing.",
    ),
    (
        diagnosis({"compile": 3000, "dataloader": 700}),
        "The GPU computes 63.0 % of each 10.0 ms step; 30.0 % goes to compilation and start-up.",
    ),
    (
        diagnosis({"sync": 400, "kernel_gap": 900}),
        "The GPU computes 87.0 % of each 10.0 ms step; "
        "the largest part of the rest is gap between queued kernels (9.0 %).",
    ),
    (
        diagnosis(kernel_summary=matrix(6000, 0.0)),
        "The GPU computes 100.0 % of each 10.0 ms step and is busy 100.0 % of it; "
        "float32 matrix kernels off the tensor cores take 6.00 ms per step (60.0 %).",
    ),
    (
        diagnosis({"launch": 900, "kernel_gap": 200}),
        "The GPU computes 89.0 % of each 10.0 ms step; the largest part of the rest: "
        "it idles 900 us per step (9.0 %) because the host launches too slowly.",
    ),
    (
        diagnosis(
            {"launch": 600, "kernel_gap": 500},
            copy=700,
            copies=copies("pageable", 700),
            whatif=predicting("copies", gain=Gain(bound=100.0, expected=80.0)),
        ),
        "The GPU computes 82.0 % of each 10.0 ms step; the largest part of the rest: "
        "copies from or to pageable memory cost 700 us per step (7.0 %).",
    ),
    (
        diagnosis(copy=3500, copies=copies("pinned", 3500)),
        "The GPU computes 65.0 % of each 10.0 ms step; 35.0 % goes to copies that nothing hides.",
    ),
    (
        diagnosis(copy=3500, copies=copies("pageable", 3500)),
        "The GPU computes 65.0 % of each 10.0 ms step; "
        "copies from or to pageable memory cost 3.50 ms per step (35.0 %).",
    ),
    (
        diagnosis({"unobserved_gpu_work": 10_000}, device={"kind": "none"}),
        "The trace holds no GPU records (see the notes): nothing can be said of the GPU.",
    ),
    (
        diagnosis({"python": 2000}, device={"kind": "cpu"}),
        "On the CPU (the trace has no GPU work), operators run 80.0 % of each 10.0 ms step; "
        "20.0 % goes to Python between operators.",
    ),
    (
        diagnosis(steps={"mean_us": 0.0}),
        "The trace covers no time: there is nothing to judge.",
    ),
]


@pytest.mark.parametrize(("case", "sentence"), CASES)
def test_verdict(case: Diagnosis, sentence: str) -> None:
    assert advise(case).verdict == sentence
