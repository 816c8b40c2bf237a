from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Breakdown, Diagnosis, Evidence, Remedy
from perfkit.reports.terminal import render
from tests.reports.diagnoses import make_diagnosis
from tests.reports.findings import make_finding
from tests.reports.hostile import HOSTILE_NAMES, LONG

WIDTHS = (60, 72, 80, 100, 120)


def plain(diagnosis: Diagnosis, width: int = 100) -> str:
    return render(diagnosis, width=width, color=False)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("color", [False, True])
def test_fits_one_screen(slow: Diagnosis, width: int, color: bool) -> None:
    lines = without_colors(render(slow, width=width, color=color)).splitlines()
    assert len(lines) <= 40
    assert max(cell_len(line) for line in lines) <= width


def test_fits_when_everything_is_long() -> None:
    long = make_finding(
        title=LONG, evidence=[Evidence(text=LONG)], remedy=Remedy(text=LONG), cost_us=1e6
    )
    fidelity = make_diagnosis().fidelity
    noted = type(fidelity)(
        unknown_share=0,
        orphan_kernels=0,
        unmatched_launches=0,
        gpu_events=0,
        host_events=0,
        has_sync_events=False,
        notes=[LONG] * 9,
    )
    diagnosis = make_diagnosis(verdict=LONG, findings=[long] * 20, fidelity=noted)
    lines = plain(diagnosis).splitlines()
    assert len(lines) <= 50
    assert any("more findings" in line for line in lines)
    assert any("+ 6 more notes" in line for line in lines)


def test_all_findings_are_shown_when_asked(slow: Diagnosis) -> None:
    many = make_diagnosis(findings=[make_finding(title=f"Fault {n}") for n in range(30)])
    assert "more findings" in plain(many)
    told = render(many, width=100, color=False, everything=True)
    assert "more findings" not in told
    assert all(f"Fault {n} " in told for n in range(30))


def test_a_remedy_is_told_whole_and_no_number_loses_its_unit() -> None:
    text = " ".join(["then measure the link of 23.8 ms alone,"] * 12) + " and stop."
    told = plain(make_diagnosis(findings=[make_finding(remedy=Remedy(text=text))]))
    assert text in " ".join(told.split())
    assert not re.search(r"23\.8$", told, re.MULTILINE)
    assert told.isascii()


def test_the_verdict_comes_first(slow: Diagnosis) -> None:
    assert " ".join(plain(slow).split()).startswith(slow.verdict)


def test_unknown_is_printed_even_at_zero(slow: Diagnosis, empty: Diagnosis) -> None:
    known = {cause: us for cause, us in slow.idle_us.items() if cause != Cause.UNKNOWN}
    for diagnosis in (make_diagnosis(idle_us=known), empty):
        assert re.search(r"unknown +0 us +0 %", plain(diagnosis))


def test_legend_gives_time_and_share(slow: Diagnosis) -> None:
    assert re.search(r"waiting for data +62\.4 ms +35\.1 %", plain(slow))
    assert re.search(r"compute +49\.0 ms +27\.6 %", plain(slow))


def test_the_bar_is_full_and_in_proportion(slow: Diagnosis) -> None:
    bar = plain(slow).splitlines()[4]
    assert len(bar) == 100
    assert abs(bar.count("#") - 27.6) <= 1
    assert abs(bar.count("d") - 35.1) <= 1


def test_a_bar_of_one_part() -> None:
    only = Breakdown(compute=5.0, communication=0.0, copy=0.0, idle=0.0)
    bar = plain(make_diagnosis(breakdown_us=only, idle_us={})).splitlines()[4]
    assert bar == "#" * 100


def test_findings_are_ranked_by_cost(slow: Diagnosis) -> None:
    text = plain(slow)
    codes = re.findall(r"Fix \((PK\d+)\)", text)
    assert codes[:3] == ["PK101", "PK203", "PK301"]
    assert "!!  The GPU waits for data in every step" in text
    assert "perfkit explain PK101" in text
    assert "Fix (PK101): Load batches in worker processes" in text


def test_facts_name_steps_device_and_notes(slow: Diagnosis) -> None:
    text = " ".join(plain(slow).split())
    assert "12 steps counted, 2 excluded (marked by ProfilerStep)" in text
    assert "NVIDIA A100-SXM4-80GB" in text
    assert "Note: The file was cut off" in text
    assert "ProfilerStep#13 GPU records are missing" in text


def test_no_colour_codes_without_colour(slow: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in plain(slow)


def test_colour_is_the_callers_choice(slow: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" in render(slow, width=100, color=True)


def test_colour_changes_nothing_but_colour(slow: Diagnosis) -> None:
    colored = render(slow, width=100, color=True)
    assert without_colors(colored) == plain(slow)


def test_colour_ends_with_the_swatch(slow: Diagnosis) -> None:
    colored = render(slow, width=100, color=True)
    assert re.search(r"\x1b\[[\d;]+m##\x1b\[0m compute ", colored)
    assert re.search(r"\x1b\[[\d;]+mdd\x1b\[0m waiting for data ", colored)


def test_adds_nothing_but_ascii(slow: Diagnosis) -> None:
    assert plain(slow).isascii()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_text_stays_text(name: str) -> None:
    finding = make_finding(title=name, evidence=[Evidence(text=f"[bold]{name}[/bold]")])
    text = plain(make_diagnosis(findings=[finding], verdict=name))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]" in text


def test_wide_characters_keep_the_width() -> None:
    finding = make_finding(title="核" * 90, evidence=[Evidence(text="核" * 90)])
    text = plain(make_diagnosis(findings=[finding]), 60)
    assert max(cell_len(line) for line in text.splitlines()) <= 60


def test_nothing_to_say_is_said(empty: Diagnosis) -> None:
    text = plain(empty)
    assert text.startswith(empty.verdict)
    assert "No step time to break down." in text
    assert "No rule found anything to fix." in text
    assert "No GPU activity was recorded" in text


def without_colors(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
