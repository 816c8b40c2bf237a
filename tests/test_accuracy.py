"""The scores' arithmetic on hand-made answers, and one small run through all of it."""

from __future__ import annotations

import ast
import json
from math import isnan

import pytest

from benchmarks.scoring import cases, details, document, real, reasons, runs
from benchmarks.scoring.cases import Case, Damage
from benchmarks.scoring.detection import Hits, Seen, hits, macro, share, spread
from benchmarks.scoring.dose import line
from benchmarks.scoring.markdown import table
from benchmarks.scoring.predictions import Prediction, is_first_right, percentile, ranking
from benchmarks.scoring.results import Results, Row
from benchmarks.scoring.runs import Run
from benchmarks.scoring.score_fixes import class_errors, fix_class
from benchmarks.scoring.scores import rows
from sample_traces.simulator import DAMAGES, INJECTIONS


def seen(true: dict[str, float], found: dict[str, float], **noise: float) -> Seen:
    return Seen(1000.0, true, found, noise)


def prediction(true: float, predicted: float, **more: float) -> Prediction:
    return Prediction("sync", 1000.0, true, predicted, **more)


def test_a_cause_is_there_from_three_percent_and_above_the_noise() -> None:
    assert seen({"gc": 30.0}, {}).is_true("gc")
    assert not seen({"gc": 29.9}, {}).is_true("gc")
    assert not seen({"gc": 59.0}, {}, gc=20.0).is_true("gc")
    assert seen({"gc": 60.0}, {}, gc=20.0).is_true("gc")
    assert not seen({}, {}).is_true("gc")


def test_hits_count_right_wrong_and_missed() -> None:
    counted = hits(
        [
            seen({"gc": 100.0, "sync": 5.0}, {"gc": 90.0, "sync": 5.0}),
            seen({"gc": 100.0, "sync": 0.0}, {"gc": 10.0, "sync": 40.0}),
        ]
    )
    assert counted == {"gc": Hits(right=1, missed=1), "sync": Hits(wrong=1)}
    assert (counted["gc"].precision, counted["gc"].recall) == (1.0, 0.5)
    assert counted["gc"].f1 == pytest.approx(2 / 3)
    assert counted["sync"].f1 == 0.0
    assert isnan(counted["sync"].recall)
    assert macro([1.0, float("nan"), 0.5]) == 0.75


def test_false_causes_and_the_top_one() -> None:
    wrong = seen({"gc": 50.0, "sync": 40.0}, {"gc": 35.0, "sync": 45.0, "copy": 31.0})
    assert wrong.false_causes == ["copy"]
    assert wrong.is_top_right is False
    assert seen({"gc": 50.0}, {"gc": 1.0}).is_top_right is True
    assert seen({"gc": 10.0}, {"gc": 900.0}).is_top_right is None
    assert share([True, None, False, True]) == pytest.approx((2 / 3, 3))


def test_spread_is_over_samples() -> None:
    assert spread([{"gc": 1.0}, {"gc": 3.0, "sync": 2.0}]) == pytest.approx(
        {"gc": 2**0.5, "sync": 2**0.5}
    )
    assert spread([{"gc": 1.0}]) == {"gc": 0.0}


def test_line_is_the_least_squares_one() -> None:
    exact = line([0.0, 1.0, 2.0], [0.5, 1.4, 2.3])
    assert exact is not None
    assert (exact.slope, exact.intercept_ms) == pytest.approx((0.9, 0.5))
    assert exact.r2 == pytest.approx(1.0)
    bent = line([0.0, 1.0, 2.0], [0.0, 2.0, 1.0])
    assert bent is not None
    assert (bent.slope, bent.r2) == pytest.approx((0.5, 0.25))
    assert line([1.0, 1.0], [0.0, 1.0]) is None


def test_errors_of_a_prediction() -> None:
    one = prediction(800.0, 760.0, low_us=700.0, high_us=790.0, least_us=700.0)
    assert one.error == pytest.approx(0.05)
    assert one.step_error == pytest.approx(0.04)
    assert one.gain_error == pytest.approx(40 / 240)
    assert one.is_covered is False
    assert prediction(790.9, 760.0, low_us=700.0, high_us=790.0).is_covered
    assert prediction(800.0, 1000.0).gain_error is None
    assert prediction(800.0, 1000.0).is_covered is None


def test_a_bound_is_beaten_by_more_than_one_percent_of_the_step() -> None:
    assert prediction(680.0, 700.0, least_us=691.0).is_beaten
    assert not prediction(682.0, 700.0, least_us=691.0).is_beaten
    assert prediction(1.0, 1.0).is_beaten is None


def test_ranking_is_kendalls_tau_with_ties() -> None:
    right = [prediction(500.0, 510.0), prediction(700.0, 690.0), prediction(900.0, 880.0)]
    assert ranking(right) == 1.0
    swapped = [prediction(500.0, 700.0), prediction(700.0, 600.0), prediction(900.0, 880.0)]
    assert ranking(swapped) == pytest.approx(1 / 3)
    tied = [prediction(500.0, 600.0), prediction(700.0, 600.5), prediction(900.0, 880.0)]
    assert ranking(tied) == pytest.approx(2 / 6**0.5)
    assert ranking([prediction(500.0, 600.0)]) is None


def test_first_fix_is_right_when_none_is_better_by_one_percent() -> None:
    assert is_first_right([prediction(500.0, 600.0), prediction(509.0, 550.0)])
    assert is_first_right([prediction(500.0, 600.0), prediction(520.0, 550.0)]) is False
    assert is_first_right([prediction(980.0, 600.0)]) is None


def test_percentile_and_class_of_a_fix() -> None:
    assert percentile([1.0, None, 3.0], 50) == 2.0
    assert isnan(percentile([None], 50))
    assert [fix_class(f) for f in ("kernels:gemm=2", "host=2", "sync")] == [
        "kernels",
        "host",
        "sync",
    ]


def test_cells_of_a_table_stay_in_their_row() -> None:
    assert table(["a", "b"], [["1|2", "3\n4"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1\\|2 | 3 4 |",
    ]


@pytest.mark.parametrize("quick", [False, True])
def test_cases_name_faults_and_damages_that_exist(quick: bool) -> None:
    chosen = [*cases.singles(quick), *cases.pairs(quick), *cases.damaged(quick)]
    assert {name for case in chosen for name, _ in case.faults} <= set(INJECTIONS)
    assert {damage.kind for damage in cases.DAMAGES} == set(DAMAGES)
    assert {case.faults[0][0] for case in cases.singles(quick)} == set(INJECTIONS)
    assert len(set(cases.singles(quick))) == len(cases.singles(quick))
    assert sum(map(cases.asks_hta, cases.singles(quick))) == len(INJECTIONS)


def made(case: Case, step: float, gc: float, found: float, *fixed: Prediction) -> Run:
    """A run of our own making: `gc` microseconds of pauses, of which `found` were found."""
    none = {"sync": 0.0, "unknown": 0.0}
    return Run(
        case=case,
        step_us=step,
        steady_us=step,
        true_us={**none, "gc": gc},
        found_us={"perfkit": {**none, "gc": found}, "occupant": {**none, "gc": 0.0}},
        measured_us=step,
        counted=18,
        steps=18,
        findings=[("garbage-collection", "warning")] if found else [],
        expected=["garbage-collection"] if gc >= 1000 else [],
        unknown_share=0.0,
        predicted={"perfkit": list(fixed), "subtract": []},
    )


def pauses(dose: float) -> Case:
    return Case((("gc_pauses", dose),))


@pytest.fixture
def made_results() -> Results:
    sync = prediction(800.0, 700.0, low_us=690.0, high_us=710.0, least_us=650.0)
    gc = Prediction("gc", 2000.0, 1000.0, 1010.0, 990.0, 1050.0, 1005.0)
    return Results(
        clean=[made(Case(), 1000.0, 0.0, 0.0, sync), made(Case(seed=1), 1000.0, 0.0, 40.0)],
        singles=[
            made(pauses(0.5), 1500.0, 500.0, 450.0),
            made(pauses(1.0), 2000.0, 1000.0, 900.0, gc),
        ],
        pairs=[],
    )


def test_rows_of_runs_of_our_own_making(made_results: Results) -> None:
    found = {row.score: row.values for row in rows(made_results)}
    assert found["causes named: precision, macro"] == {"perfkit": "0.667", "occupant": "-"}
    assert found["causes named: recall, macro"] == {"perfkit": "1.000", "occupant": "0.000"}
    assert found["quiet runs with a false cause"] == {"perfkit": "50.0 %", "occupant": "0.0 %"}
    assert found["quiet runs with a warning"] == {"perfkit": "50.0 %"}
    assert found["findings that must fire, fired"] == {"perfkit": "100.0 %"}
    ratio = found["dose response: smallest slope / the truth's"]
    assert ratio == {"perfkit": "0.900", "occupant": "0.000"}
    off = found["dose response: intercept off the truth's, of the step"]["perfkit"]
    assert off == "0.0 %"
    assert found["what-if withheld"] == {"perfkit": "50.0 %"}
    assert found["what-if error, median"]["perfkit"] == "6.8 %"  # of 12.5 % and 1 %
    assert found["truth inside [low, high]"] == {"perfkit": "50.0 %"}
    assert found["bound beaten by over 1 %"] == {"perfkit": "0.0 %"}


def test_class_errors_are_of_the_gain_and_of_the_step(made_results: Results) -> None:
    errors = class_errors(made_results)
    assert set(errors) == {"gc", "sync"}
    assert errors["gc"] == pytest.approx((1, 10 / 990, 0.005))
    assert errors["sync"] == pytest.approx((1, 100 / 300, 0.1))


def test_misses_are_the_largest_first(made_results: Results) -> None:
    assert details.misses(made_results, 2) == [
        "cause: no fault (seed 1): gc false (4.0 % of the step)",
        "what-if: no fault (seed 0), sync: 1000 us, predicted 700, true 800 (10.0 % of the step)",
        "what-if: gc_pauses-1 (seed 0), gc: 2000 us, predicted 1010, true 1000 (0.5 % of the step)",
        "interval: no fault (seed 0), sync: 1000 us, predicted 700, true 800, [690, 710]"
        " (9.0 % of the step)",
    ]


def test_only_what_is_missed_has_a_reason() -> None:
    told = ["what-if: late_peer-0.05 (seed 2), kernels=2: 4404 us, predicted 2600, true 4310"]
    met = Row("what-if error, median", "recorded", 6, {"perfkit": "4.9 %"}, "<= 5 %")
    late = reasons.reasons([met], told)
    assert len(late) == 1 and late[0].startswith("late_peer")
    missed = Row("what-if error, median", "recorded", 6, {"perfkit": "10.7 %"}, "<= 5 %")
    assert [r.split(":")[0] for r in reasons.reasons([missed], [])] == ["recorded pairs"]
    assert reasons.reasons([met], []) == []


def test_an_aim_is_missed_on_its_wrong_side() -> None:
    def missed(value: str, aim: str) -> bool:
        return reasons.misses_aim(Row("score", "simulated", 1, {"perfkit": value}, aim))

    assert missed("98.0 %", "85-97 %") and missed("84.9 %", "85-97 %")
    assert not missed("96.9 %", "85-97 %") and not missed("0.95", ">= 0.9")
    assert missed("0.89", ">= 0.9") and missed("5.1 %", "<= 5 %") and missed("4.0 %", "0 %")
    assert not missed("-", "<= 5 %") and not missed("7.0 %", "")


def test_the_document_says_where_it_comes_from(made_results: Results) -> None:
    text = document.text(made_results, "the command", "2026-01-02", 3.0)
    assert "Made by `the command` on 2026-01-02" in text
    assert all(kind in text for kind in ("**Simulated**", "**Recorded**", "**Public traces**"))
    literal = text.partition("ERRORS = ")[2].partition("\n```")[0]
    assert ast.literal_eval(literal) == {"gc": (0.01, 0.005), "sync": (0.333, 0.1)}
    read = json.loads(json.dumps(document.as_json(made_results, "it"), allow_nan=False))
    assert (read["schema"], len(read["results"]["singles"])) == ("perfkit.accuracy/1", 2)


def test_two_injections_are_scored_from_end_to_end() -> None:
    faults = (("item_per_step", 0.5), ("gc_pauses", 0.5))
    both = runs.measured(Case(faults), with_hta=True)
    results = Results([runs.measured(Case())], [runs.measured(Case(faults[:1]))], [both])
    found = {row.score: row for row in rows(results)}
    assert found["causes named: F1, macro"].count == 3
    assert found["top cause right"].values["perfkit"] == "100.0 %"
    fixes = {p.fix: p for p in both.predicted["subtract"]}
    assert set(fixes) == {"sync", "gc", "all", "host=2", "kernels=2", "kernels:gemm=2"}
    assert fixes["all"].true_us < min(fixes["sync"].true_us, fixes["gc"].true_us)
    assert both.skipped or {"HTA", "perfkit"} < set(both.found_us)
    assert set(class_errors(results)) == {"sync", "gc", "all", "host", "kernels"}


def test_lost_kernels_become_unknown() -> None:
    (lost,) = runs.damaged(Case((("item_per_step", 0.5),)), (Damage("drop_kernels", 0.2),))
    assert lost.lost_share > 0.05
    assert lost.growth["unknown"] + lost.growth["unobserved_gpu_work"] > 0.05


def test_a_recorded_pair_is_compared_with_its_unprofiled_steps() -> None:
    storm = real.pair(real.RECORDED / "cpu" / "gc_storm")
    assert storm.measured_ms[0] > 1.2 * storm.measured_ms[1]
    assert storm.is_finding_first
    assert storm.predicted["subtract"].step_us == 1000 * storm.measured_ms[0]
