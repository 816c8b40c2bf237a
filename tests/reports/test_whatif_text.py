"""What `perfkit whatif` prints."""

from __future__ import annotations

import msgspec

from perfkit.reports.whatif import render
from tests.reports.diagnoses import make_diagnosis, make_empty
from tests.reports.hostile import HOSTILE
from tests.reports.whatifs import make_predicted, make_together, make_whatif, make_withheld


def test_now_each_alone_together_and_the_fidelity() -> None:
    assert render(make_predicted()).splitlines() == [
        "Now 177.6 ms per step; 10 steps replayed.",
        "  dataloader   now 177.6 ms -> 119.6 ms (116.6 to 125.6; never below 115.2)",
        "               batches are ready in time; rests on what was recorded",
        "  sync         now 177.6 ms -> 160.6 ms (157.6 to 165.6; never below 156.3)",
        "               the host waits for nothing; rests on what was recorded",
        "  cuda-graphs  within the error of the prediction (now 177.6 ms, never below 162.2 ms)",
        "               one launch a step; rests on an assumption on the changed program",
        "dataloader + sync + cuda-graphs together: "
        "now 177.6 ms -> 100.0 ms (93.6 to 110.0; never below 85.6)",
        "Replay reproduces the recording within 0.16 %, "
        "0 of 12,345 recorded edges violated, 3 of 41,210 time stamps repaired.",
    ]


def test_withheld_is_said_and_nothing_else() -> None:
    assert render(make_withheld()) == (
        "Now 177.6 ms per step.\nWhat-if is withheld: the replay misses the recording by 8.1%.\n"
    )


def test_nothing_to_replay_is_said() -> None:
    for diagnosis in (make_diagnosis(), make_empty()):
        assert "Nothing is predicted" in render(diagnosis)


def test_a_recording_without_steps_is_no_step() -> None:
    steps = msgspec.structs.replace(make_predicted().steps, marker="none")
    assert render(make_predicted(steps=steps)).startswith("Now 177.6 ms for the whole recording")


def test_names_stay_one_line_of_text() -> None:
    bad = "\x1b[2J\n" + HOSTILE
    fixes = [msgspec.structs.replace(row, fix=bad, text=bad) for row in make_whatif().fixes[:1]]
    order = [msgspec.structs.replace(make_together("dataloader", "sync"), fixes=[bad, bad])]
    text = render(make_predicted(whatif=make_whatif(fixes=fixes, order=order)))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 5
