"""What fixes return, in the words that every report shares."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Gain
from perfkit.reports import gains, summary
from perfkit.reports.format import times_us
from perfkit.reports.markdown import render as markdown
from perfkit.reports.terminal import render as terminal
from tests.reports.diagnoses import make_diagnosis
from tests.reports.findings import make_finding
from tests.reports.hostile import HOSTILE
from tests.reports.whatifs import (
    make_predicted,
    make_replay,
    make_together,
    make_whatif,
    make_withheld,
)

SURE = Gain(bound=7_200.0, expected=6_100.0, low=4_600.0, high=6_900.0)


def step_of(mean_us: float, **steps: Any) -> Diagnosis:
    changed = msgspec.structs.replace(make_diagnosis().steps, mean_us=mean_us, **steps)
    return make_diagnosis(steps=changed)


def test_the_step_as_it_is_and_as_it_would_be() -> None:
    said = gains.step_text(step_of(24_100.0), SURE)
    assert said == "now 24.1 ms -> 18.0 ms (17.2 to 19.5; never below 16.9)"


def test_a_gain_without_replay_is_a_bound() -> None:
    assert gains.step_text(step_of(24_100.0), Gain(bound=7_200.0)) == "at most 7.20 ms per step"
    assert gains.step_text(step_of(24_100.0, marker="none"), Gain(bound=7_200.0)) == (
        "at most 7.20 ms"
    )


def test_an_expectation_without_an_interval() -> None:
    said = gains.step_text(step_of(24_100.0), Gain(bound=7_200.0, expected=6_100.0))
    assert said == "now 24.1 ms -> 18.0 ms (never below 16.9)"


@pytest.mark.parametrize(
    ("expected", "low", "high", "hidden"),
    [(100, -100, 300, True), (100, 0, 200, False), (99, 0, 200, True), (-5, -5, -5, True)],
)
def test_a_gain_below_its_half_width_is_no_number(
    expected: float, low: float, high: float, hidden: bool
) -> None:
    gain = Gain(bound=400.0, expected=expected, low=low, high=high)
    assert gains.is_within_error(gain) is hidden
    assert (gains.WITHIN_ERROR in gains.step_text(step_of(1_000.0), gain)) is hidden
    assert ("->" in gains.step_text(step_of(1_000.0), gain)) is not hidden


def test_a_step_is_never_shorter_than_nothing() -> None:
    gain = Gain(bound=2_000.0, expected=1_500.0, low=900.0, high=2_000.0)
    assert gains.step_text(step_of(1_000.0), gain) == "now 1.00 ms -> 0 us (0 to 100)"


def test_a_bound_that_other_runs_may_pass_is_not_told() -> None:
    gain = Gain(bound=6_200.0, expected=6_100.0, low=5_800.0, high=6_400.0)
    assert gains.step_text(step_of(24_100.0), gain) == "now 24.1 ms -> 18.0 ms (17.7 to 18.3)"


@pytest.mark.parametrize(("error", "hidden"), [(90.0, False), (110.0, True)])
def test_only_the_error_of_the_replay_keeps_a_number_back(error: float, hidden: bool) -> None:
    gain = Gain(bound=400.0, expected=100.0, low=-200.0, high=400.0, error=error)
    assert gains.is_within_error(gain) is hidden


def test_times_share_the_first_ones_unit() -> None:
    assert times_us([18_000.0, 17_230.0, 900.0]) == ["18.0 ms", "17.2", "0.9"]
    assert times_us([1.5e6, 2.25e6]) == ["1.50 s", "2.25"]
    assert times_us([312.4]) == ["312 us"]


def test_findings_rank_by_severity_then_gain_then_cost() -> None:
    made = [
        make_finding("info", severity="info", cost_us=9e9),
        make_finding("cost", cost_us=500.0),
        make_finding("gain", cost_us=900.0, gain_us=Gain(bound=900.0, expected=100.0)),
        make_finding("worst", severity="critical", cost_us=1.0),
        make_finding("most", cost_us=50.0, gain_us=Gain(bound=700.0, expected=600.0)),
    ]
    ranked = [finding.code for finding in summary.ranked(made)]
    assert ranked == ["worst", "most", "cost", "gain", "info"]


def test_the_screen_says_each_gain_the_joint_one_and_the_fidelity() -> None:
    text = " ".join(terminal(make_predicted(), width=100, color=False).split())
    for part in (
        "Gain: now 177.6 ms -> 119.6 ms (116.6 to 125.6; never below 115.2)",
        "dataloader + sync + cuda-graphs together: now 177.6 ms -> 100.0 ms (93.6 to 110.0;",
        "Replay reproduces the recording within 0.16 %, "
        "0 of 12,345 recorded edges violated, 3 of 41,210 time stamps repaired.",
    ):
        assert part in text, part


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("made", [make_predicted, make_withheld])
def test_the_screen_still_fits(made: type, width: int) -> None:
    lines = terminal(made(), width=width, color=False).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= width


def test_the_comment_has_a_column_for_the_step_with_the_fix() -> None:
    text = markdown(make_predicted())
    row = next(line for line in text.splitlines() if "waits for data in every step" in line)
    assert row.endswith("| now 177.6 ms -> 119.6 ms (116.6 to 125.6; never below 115.2) |")
    assert "**dataloader + sync + cuda-graphs together: now 177.6 ms" in text
    assert "> Replay reproduces the recording within 0.16 %" in text


def test_what_is_withheld_is_said_and_nothing_predicted() -> None:
    withheld = make_withheld()
    for text in (terminal(withheld, width=100, color=False), markdown(withheld)):
        assert "What-if is withheld: the replay misses the recording by 8.1%." in text
        assert "together" not in text
        assert "Replay reproduces" not in text


def test_without_replay_nothing_is_said_of_it() -> None:
    text = terminal(make_diagnosis(), width=100, color=False)
    assert "Replay" not in text
    assert "What-if" not in text


def test_one_fix_alone_is_no_joint_number() -> None:
    predicted = make_predicted()
    assert predicted.whatif is not None
    alone = msgspec.structs.replace(predicted.whatif, order=[make_together("sync")])
    assert gains.together_text(msgspec.structs.replace(predicted, whatif=alone)) == ""


def test_names_of_fixes_stay_text() -> None:
    predicted = make_predicted()
    assert predicted.whatif is not None
    joint = msgspec.structs.replace(make_together("dataloader", "sync"), fixes=[HOSTILE, "\x1b[2J"])
    hostile = msgspec.structs.replace(predicted.whatif, order=[joint])
    made = msgspec.structs.replace(predicted, whatif=hostile)
    assert "\x1b" not in terminal(made, width=100, color=False)
    assert f"**{HOSTILE}" not in markdown(made)
    assert "**&lt;script&gt;" in markdown(made)


def test_what_an_interval_rests_on_is_said_behind_the_fidelity() -> None:
    told = msgspec.structs.replace(make_whatif(), note="Workers are not\x1b seen.")
    for text in (
        terminal(make_predicted(whatif=told), width=100, color=False),
        markdown(make_predicted(whatif=told)),
    ):
        assert "time stamps repaired. Workers are not? seen." in " ".join(text.split())


def test_small_shares_of_the_replay_are_not_zero() -> None:
    predicted = make_predicted()
    replay = make_replay(open_error=0.00001, violations=5)
    fidelity = msgspec.structs.replace(predicted.fidelity, replay=replay)
    said = gains.trust_text(msgspec.structs.replace(predicted, fidelity=fidelity))
    assert said.count("<0.01 %") == 1
    assert "5 of 12,345 recorded edges" in said
