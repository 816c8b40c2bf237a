"""What replay predicts for a fix becomes the gain of the finding whose remedy it is."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.whatif import fixes_of
from perfkit.model.diagnosis import Diagnosis, Fix, Gain, WhatIf
from perfkit.reports.advice import advise
from tests.advice.builder import all_reduces, copies, diagnosis, place
from tests.advice.runs import run, saving

GAIN = Gain(bound=900.0, expected=700.0, low=600.0, high=800.0)
FIXED: list[tuple[str, str, dict[str, Any]]] = [
    ("dataloader-starvation", "dataloader", {"idle": {"dataloader": 900}}),
    ("host-sync-in-step", "sync", {"idle": {"sync": 900}}),
    ("launch-bound", "cuda-graphs", {"idle": {"launch": 700, "dispatch": 800}}),
    ("allocator-churn", "allocator", {"idle": {"allocator": 900}}),
    ("garbage-collection", "gc", {"idle": {"gc": 900}}),
    ("synchronous-checkpoint", "checkpoint", {"idle": {"checkpoint": 900}}),
    ("pageable-copy", "copies", {"copy": 900, "copies": copies("pageable", 900)}),
    ("exposed-communication", "overlap", {"communication": 900, "collectives": all_reduces(900)}),
]


def predicting(*fixes: str, gain: Gain = GAIN) -> WhatIf:
    rows = [Fix(fix=name, text=name, gain_us=gain, grade="A") for name in fixes]
    return WhatIf(steps=10, fixes=rows, combinations=[], order=[])


def gain_of(code: str, case: Diagnosis) -> Gain:
    return next(f.gain_us for f in advise(case).findings if f.code == code)


@pytest.mark.parametrize(("code", "fix", "case"), FIXED, ids=[case[0] for case in FIXED])
def test_the_gain_is_that_of_the_rules_fix(code: str, fix: str, case: dict[str, Any]) -> None:
    others = [name for _, name, _ in FIXED if name != fix]
    told = predicting(*others, gain=Gain(bound=1.0, expected=0.5))
    assert gain_of(code, diagnosis(**case, whatif=predicting(fix))) == GAIN
    own = gain_of(code, diagnosis(**case, whatif=told))
    assert (own.expected, own.bound) == (None, gain_of(code, diagnosis(**case)).bound)


def test_a_withheld_prediction_leaves_the_rules_bound() -> None:
    withheld = WhatIf(steps=0, fixes=[], combinations=[], order=[], withheld="no")
    assert gain_of("dataloader-starvation", diagnosis({"dataloader": 900}, whatif=withheld)) == (
        Gain(bound=900.0)
    )


@pytest.mark.parametrize(
    ("why", "case"),
    [
        ("Python between operators", {"idle": {"python": 3000}}),
        (
            "one long wait in a launch",
            {"idle": {"launch": 3000}, "places": [place("launch", "loop", 3000)]},
        ),
    ],
)
def test_cuda_graphs_are_no_remedy_for_other_work_on_the_host(
    why: str, case: dict[str, Any]
) -> None:
    found = gain_of("launch-bound", diagnosis(**case, whatif=predicting("cuda-graphs")))
    assert found.expected is None, why


def test_a_window_does_not_tell_what_checkpoints_cost_over_the_run() -> None:
    case = diagnosis({"checkpoint": 2500}, run=run(checkpoints=saving(3e6, 90.0)),
                     whatif=predicting("checkpoint"))  # fmt: skip
    assert gain_of("synchronous-checkpoint", case) == Gain(bound=90.0)


def test_what_returns_more_comes_before_what_costs_more() -> None:
    small = Gain(bound=900.0, expected=10.0, low=5.0, high=15.0)
    case = diagnosis({"dataloader": 900, "sync": 700})
    told = diagnosis({"dataloader": 900, "sync": 700}, whatif=predicting("dataloader", gain=small))
    assert [f.code for f in advise(case).findings] == ["dataloader-starvation", "host-sync-in-step"]
    assert [f.code for f in advise(told).findings] == ["host-sync-in-step", "dataloader-starvation"]


def test_every_fix_is_one_that_can_be_asked_for() -> None:
    assert [fix.spelled for fix in fixes_of([name for _, name, _ in FIXED])] == [
        name for _, name, _ in FIXED
    ]
