"""The labelled cases: every case has its label, and rules say of the quick ones what they must."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.scoring import cases, document, score_rules, told
from benchmarks.scoring.cases import Case
from benchmarks.scoring.detection import Hits
from benchmarks.scoring.labels import KEYS, Label, labels, of_simulated, tables
from benchmarks.scoring.real import PUBLIC, RECORDED
from benchmarks.scoring.said import Said
from benchmarks.scoring.told import Told
from perfkit.reports.advice import codes
from sample_traces.simulator import INJECTIONS
from tests.advice.made import PATHS
from tests.traces import kineto_files, needs_public

SOURCES = ("simulated", "recorded", "public", "storage", "compute", "host", "made")
STORAGE_KEYS = {
    "mountinfo", "getstripe", "llite", "mountstats", "files", "loader", "ranks",
    "idle_us", "more",
}  # fmt: skip
HOST_KEYS = {
    "samples", "slow", "slow_from", "xids", "ecc", "environment", "copy_us", "steps", "ended",
    "error", "allocations", "grows_gb",
}  # fmt: skip
MORE_KEYS = {"storage": STORAGE_KEYS, "compute": {"step", "device", "host_us"}, "host": HOST_KEYS}


@pytest.mark.parametrize("source", SOURCES)
def test_labels_name_rules_that_exist(source: str) -> None:
    for name, label in labels(source).items():
        assert label.codes <= set(codes()), name
        assert not label.must & label.may, name
        assert label.top <= label.must | label.may, name
        assert not (label.healthy and label.must), name
        assert set(tables(source)[name]) <= KEYS | MORE_KEYS.get(source, set()), name


def test_every_case_has_a_label() -> None:
    runs = {p.parent.relative_to(RECORDED).as_posix() for p in RECORDED.rglob("truth.json")}
    assert set(labels("recorded")) == runs
    assert set(labels("simulated")) == {"clean", *INJECTIONS}
    assert set(labels("made")) == set(PATHS)
    assert all(label.truth for label in labels("made").values())


@needs_public
def test_every_public_trace_has_a_label() -> None:
    known = labels("public")
    assert set(kineto_files()) <= set(known)
    assert all((PUBLIC / name).is_file() for name in known)
    assert all(label.truth for label in known.values())


@pytest.fixture(scope="module")
def public() -> list[Told]:
    return told.public()


@needs_public
def test_the_first_finding_is_what_the_readme_says(public: list[Told]) -> None:
    judged = {one.name: one.is_top_right for one in public if one.label.top}
    assert len(judged) > 15
    assert [name for name, is_right in judged.items() if not is_right] == []


@needs_public
def test_public_traces_get_what_they_must_and_nothing_false(public: list[Told]) -> None:
    assert [(one.name, one.missed) for one in public if one.missed] == []
    assert [(one.name, one.false) for one in public if one.false] == []
    assert [one.name for one in public if one.refused != one.label.refused] == []


@pytest.mark.parametrize("which", [told.recorded, told.storage, told.compute, told.host, told.made])
def test_recorded_runs_and_what_tests_describe(which: Callable[[], list[Told]]) -> None:
    found = which()
    assert [(one.name, one.missed) for one in found if one.missed] == []
    assert [(one.name, one.false) for one in found if one.false] == []
    assert [one.name for one in found if one.refused or one.is_top_right is False] == []


def test_every_rule_has_a_case_that_asks_for_it() -> None:
    asked = {code for source in SOURCES for label in labels(source).values() for code in label.must}
    assert [code for code in codes() if code not in asked] == []


def test_a_simulated_fault_is_told_from_end_to_end() -> None:
    loud = told.simulated(Case((("item_per_step", 0.5),)))
    assert loud.label.must == {"host-sync-in-step"}
    assert (loud.missed, loud.false) == ([], [])


def test_a_fault_must_be_told_from_its_dose_on_unless_it_is_hidden() -> None:
    known = {"gc_pauses": Label(frozenset({"a"}), frozenset({"b"})),
             "cuda_graph": Label(healthy=True)}  # fmt: skip

    def label(dose: float, share: float) -> Label:
        return of_simulated(Case((("gc_pauses", dose), ("cuda_graph", 1.0))), known, {"gc": share})

    assert label(0.1, 0.03) == Label(frozenset({"a"}), frozenset({"b"}))
    assert label(0.05, 0.03) == Label(frozenset(), frozenset({"a", "b"}))
    assert label(0.1, 0.02) == Label(frozenset(), frozenset({"a", "b"}))


def said(code: str, severity: str = "warning", share: float = 0.1) -> Said:
    return Said(code, severity, share)


SYNC, LAUNCH = "host-sync-in-step", "launch-bound"
MADE = [
    Told("made", "right", Label(must=frozenset({SYNC}), top=frozenset({SYNC})), [said(SYNC)]),
    Told("made", "missed and false", Label(must=frozenset({SYNC}), top=frozenset({SYNC})),
         [said(LAUNCH)]),
    Told("made", "allowed", Label(may=frozenset({LAUNCH})), [said(LAUNCH)]),
    Told("made", "quiet", Label(healthy=True), [said(LAUNCH, "info", 0.029)]),
    Told("made", "alarm", Label(healthy=True), [said(LAUNCH, "info", 0.03)]),
]  # fmt: skip


def test_scores_of_cases_of_our_own_making() -> None:
    found = {score.code: score for score in score_rules.by_rule(MADE)}
    assert found[SYNC].hits == Hits(right=1, missed=1)
    assert (found[LAUNCH].hits, found[LAUNCH].allowed) == (Hits(wrong=2), 1)
    assert (found[LAUNCH].alarms, found[LAUNCH].healthy) == (1, 2)
    values = {row.score: row.values["perfkit"] for row in score_rules.rows(MADE)}
    assert values["rules: precision"] == "0.333"
    assert values["rules: recall"] == "0.500"
    assert values["rules: most false alarms of one, of healthy cases"] == "50.0 %"
    assert values["rules: known finding first"] == "50.0 %"


def test_the_part_on_rules_replaces_the_old_one_alone() -> None:
    made = document.rules(MADE, "the command", "2026-01-02")
    assert "- made missed and false: launch-bound speaks and must not" in made
    whole = "# How\n\n## Recorded\n\nx\n\n## Largest misses\n\n- y\n"
    once = document.with_part(whole, made)
    assert once.index("## Recorded") < once.index("## Rules") < once.index("## Largest misses")
    again = document.with_part(once, made.replace("the command", "another"))
    assert again.count("## Rules") == 1
    assert "another" in again
    assert again.replace("another", "the command") == once


def test_scores_of_rules_in_the_one_table_are_those_of_the_part() -> None:
    made = document.rules(MADE, "the command", "2026-01-02")
    row = next(line for line in made.splitlines() if line.startswith("| rules: precision |"))
    whole = "| causes | 1 |\n| rules: precision | labelled | 9 | 0.5 |\n\n## Largest misses\n"
    once = document.with_part(whole, made)
    assert once.startswith(f"| causes | 1 |\n{row}\n")
    assert "| 0.5 |" not in once


def test_the_sample_for_rules_has_every_fault_and_enough_healthy_runs() -> None:
    chosen = cases.for_rules()
    assert {name for case in chosen for name, _ in case.faults} == set(INJECTIONS)
    assert len(set(chosen)) == len(chosen)
    assert sum(case.is_quiet for case in chosen) >= 25
