"""The HTML report's section on fixes, as it stands in the file."""

from __future__ import annotations

import json
import re
from itertools import combinations

import msgspec
import pytest

from perfkit.analyzers.graph import gates as replayed
from perfkit.model.diagnosis import Diagnosis, Gain, Together
from perfkit.reports import html_data, html_whatif
from perfkit.reports.gates import LIMITS, MOST_MISSING, gates
from perfkit.reports.html import render
from tests.reports.diagnoses import make_diagnosis
from tests.reports.hostile import HOSTILE, HOSTILE_NAMES
from tests.reports.whatifs import (
    FIXES,
    SAVED,
    make_predicted,
    make_replay,
    make_together,
    make_whatif,
    make_withheld,
)


def words(diagnosis: Diagnosis, anchor: str) -> str:
    """What a reader without a browser sees of one section."""
    found = re.search(rf'<section id="{anchor}".*?</section>', render(diagnosis), re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", found[0]).split()) if found else ""


def test_every_set_of_boxes_is_looked_up() -> None:
    data = html_data.payload(make_predicted())["whatif"]
    places = range(len(FIXES))
    every = [",".join(map(str, s)) for n in range(4) for s in combinations(places, n)]
    assert sorted(data["sets"]) == sorted(every)
    said = data["sets"]["0,1"]["said"]
    assert said == "now 177.6 ms -> 106.6 ms (101.6 to 114.6; never below 97.6)"
    assert data["sets"][""]["said"] == "now 177.6 ms"


def test_bars_fit_and_the_interval_lies_around_the_step() -> None:
    for row in html_data.payload(make_predicted())["whatif"]["sets"].values():
        assert 0 <= row["low"] <= row["step"] <= row["high"] <= 100


def test_names_in_a_set_may_come_in_any_order() -> None:
    turned = make_whatif(combinations=[make_together("dataloader", "sync")])
    joint = msgspec.structs.replace(turned.combinations[0], fixes=["sync", "dataloader"])
    data = html_whatif.payload(make_predicted(whatif=make_whatif(combinations=[joint])))
    assert data is not None
    assert set(data["sets"]) == {"", "0", "1", "0,1"}


def test_a_single_fix_has_a_box_of_its_own() -> None:
    alone = make_whatif(fixes=make_whatif().fixes[1:2], combinations=[], order=[])
    assert html_whatif.boxes(alone) == ["sync"]
    text = words(make_predicted(whatif=alone), "whatif")
    assert "The best ones together" not in text
    assert "now 177.6 ms -&gt; 160.6 ms" in text


def test_reads_without_javascript() -> None:
    text = words(make_predicted(), "whatif")
    for part in (
        "Replay reproduces the recording within 0.16 %",
        "dataloader now 177.6 ms -&gt; 119.6 ms (116.6 to 125.6; never below 115.2)",
        "cuda-graphs within the error of the prediction",
        "an assumption on the changed program",
        "dataloader + sync + cuda-graphs now 177.6 ms -&gt; 100.0 ms",
        "waiting for data 62.4 ms, 35.1 % 60.1 ms, 33.8 %",
        "operator dispatch 5.21 ms, 2.9 % not replayed",
        "blocking copy 2.21 ms, 1.2 % 0 us, 0 %",
    ):
        assert part in text, part


def test_both_views_are_by_the_larger_of_the_two() -> None:
    found = html_whatif.whatif(make_predicted(saved_us=SAVED | {"gc": 90_000.0}))
    causes = re.findall(r'aria-hidden="true"></span>([A-Za-z ]+)</th>', found)
    assert causes[:3] == ["Python garbage collection", "waiting for data", "synchronization"]


def test_withheld_says_why_and_offers_no_box() -> None:
    text = words(make_withheld(), "whatif")
    assert "What-if is withheld: the replay misses the recording by 8.1%." in text
    assert "<input" not in html_whatif.whatif(make_withheld())
    assert html_data.payload(make_withheld())["whatif"] is None


def test_no_fix_that_returns_anything_is_said() -> None:
    nothing = make_whatif(fixes=[], combinations=[], order=[])
    assert "No fix that replay knows" in words(make_predicted(whatif=nothing), "whatif")


def test_without_replay_there_is_no_section() -> None:
    html = render(make_diagnosis())
    assert 'id="whatif"' not in html
    assert "gate of the replay" not in html


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_of_fixes_stay_text(name: str) -> None:
    found = make_whatif()
    fixes = [msgspec.structs.replace(row, fix=name, text=name) for row in found.fixes[:1]]
    joint = msgspec.structs.replace(make_together("dataloader", "sync"), fixes=[name, "sync"])
    bad = make_whatif(fixes=fixes, combinations=[joint], order=[joint, joint])
    html = html_whatif.whatif(make_predicted(whatif=bad, saved_us={name: 5.0}))
    assert not re.search(r"<(script|img|b|a)\b", html)
    assert json.loads(html_data.encoded(html_data.payload(make_predicted(whatif=bad))))


def test_gates_say_which_passed_and_which_failed() -> None:
    good = words(make_predicted(), "fidelity")
    assert good.count("passed") == 6
    assert "failed" not in good
    assert "contradict their times passed 0 of 12,345 (0 %) 0.10 %" in good
    assert "time stamps repaired 3 of 41,210" in good
    assert "streams in step with the default stream 2" in good
    bad = words(make_withheld(), "fidelity")
    assert "length of the open replay, without residuals failed 8.10 % 1.00 %" in bad
    assert bad.count("passed") == 5


def test_missing_records_are_a_gate() -> None:
    fidelity = msgspec.structs.replace(
        make_predicted().fidelity, orphan_kernels=900, replay=make_replay()
    )
    failed = [gate.name for gate in gates(fidelity) if not gate.passed]
    assert failed == ["operations or launches without a record"]


def test_limits_are_those_that_the_analyzers_apply() -> None:
    applied = (
        replayed.MOST_CLOSED,
        replayed.MOST_OPEN,
        replayed.MOST_START,
        replayed.MOST_REST,
        replayed.MOST_VIOLATIONS,
    )
    assert tuple(most for _, _, most in LIMITS) == applied
    assert replayed.MOST_MISSING == MOST_MISSING


def test_hostile_causes_stay_text() -> None:
    assert HOSTILE not in html_whatif.whatif(make_predicted(saved_us={HOSTILE: 5.0}))


def test_the_tile_is_of_the_surest_gain() -> None:
    told = make_predicted().whatif
    assert told is not None
    wide = msgspec.structs.replace(
        told.fixes[2],
        gain_us=Gain(bound=70_000.0, expected=60_000.0, low=20_000.0, high=80_000.0),
    )
    best_first = [Together(fixes=[wide.fix], gain_us=wide.gain_us), *told.order[1:]]
    fixes = [wide, *told.fixes[:2]]
    page = render(make_predicted(whatif=make_whatif(fixes=fixes, order=best_first)))
    assert "with dataloader" in page
    assert "with cuda-graphs" not in page
