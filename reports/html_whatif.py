"""The HTML report's section on fixes: what each returns, several together, and idle time twice."""

from __future__ import annotations

from typing import Any

from perfkit.model.diagnosis import Diagnosis, Fix, Gain, Together, WhatIf
from perfkit.reports import gains, html_assets, summary
from perfkit.reports.format import share, time_us
from perfkit.reports.html_sections import cause_name
from perfkit.reports.html_tags import Html, code, join, meter, section, table, tag, text
from perfkit.reports.palette import color, idle_key
from perfkit.reports.whatif import grade_text

MOST_BOXES = 5
_NOTHING = Html("")
_WHY_TWO = (
    "Idle time is charged to what the next operation waited for last; without it the step may save "
    "less, because something else would have been late as well, or more, because what the GPU "
    "hides of it now is gone, too."
)


def whatif(diagnosis: Diagnosis) -> Html:
    """The section; nothing where no replay was tried."""
    found = diagnosis.whatif
    if found is None:
        return _NOTHING
    return section(
        "whatif",
        "What a fix returns",
        tag("p", text(gains.trust_text(diagnosis)), class_="quiet"),
        *([] if found.withheld else [_fixes(diagnosis, found)]),
        _two_views(diagnosis),
    )


def _fixes(diagnosis: Diagnosis, found: WhatIf) -> Html:
    if not found.fixes:
        return tag("p", Html("No fix that replay knows returns anything here."))
    return join(
        (_chooser(found), _alone(diagnosis, found.fixes), _together(diagnosis, found.order)),
    )


def boxes(found: WhatIf) -> list[str]:
    """Names of the fixes to tick: those whose combinations were replayed, else the best alone."""
    joined = {name for entry in found.combinations for name in entry.fixes}
    names = [row.fix for row in found.fixes]
    return [name for name in names if name in joined][:MOST_BOXES] or names[:1]


def _chooser(found: WhatIf) -> Html:
    texts = {row.fix: row.text for row in found.fixes}
    ticked = [_box(i, name, texts[name]) for i, name in enumerate(boxes(found))]
    legend = tag("legend", Html("Fixes at once; gains do not add, so every set was replayed"))
    choice = tag("fieldset", legend, *ticked, id="whatif-choice")
    return tag("div", choice, Html(html_assets.template("whatif.html")), class_="needs-js")


def _box(position: int, name: str, what: str) -> Html:
    first = "checked" if position == 0 else ""
    box = tag("input", type="checkbox", id=f"whatif-{position}", checked=first, autocomplete="off")
    return tag("label", box, code(name), tag("span", text(what)), for_=f"whatif-{position}")


def _alone(diagnosis: Diagnosis, fixes: list[Fix]) -> Html:
    header = ("fix", f"{summary.step_word(diagnosis)} with it alone", "what changes", "rests on")
    rows = [
        [
            code(row.fix),
            text(gains.step_text(diagnosis, row.gain_us)),
            text(row.text),
            text(grade_text(row.grade)),
        ]
        for row in fixes
    ]
    return table("Each fix alone", header, rows, 4)


def _together(diagnosis: Diagnosis, order: list[Together]) -> Html:
    joint = [entry for entry in order if len(entry.fixes) > 1]
    if not joint:
        return _NOTHING
    rows = [
        [text(gains.names_text(entry.fixes)), text(gains.step_text(diagnosis, entry.gain_us))]
        for entry in joint
    ]
    return table(
        "The best ones together", ("fixes", f"{summary.step_word(diagnosis)} with them"), rows, 2
    )


def _two_views(diagnosis: Diagnosis) -> Html:
    """Idle time by what occupied it, beside what the step would save without each cause."""
    idle, saved, mean = diagnosis.idle_us, diagnosis.saved_us, diagnosis.steps.mean_us
    if not saved or not mean:
        return _NOTHING
    most = {cause: max(idle.get(cause, 0.0), saved.get(cause, 0.0)) for cause in {*idle, *saved}}
    rows = [
        [cause_name(cause), *(_time(values.get(cause), mean, cause) for values in (idle, saved))]
        for cause, us in sorted(most.items(), key=lambda item: (-item[1], item[0]))
        if us > 0
    ]
    header = ("cause", "idle charged to it", f"{summary.step_word(diagnosis)} saved without it")
    listed = table("Idle time by occupant, and by what its removal returns", header, rows, 1)
    return join((tag("h3", Html("Two views of idle time")), tag("p", Html(_WHY_TWO)), listed))


def _time(us: float | None, mean_us: float, cause: str) -> Html:
    if us is None:
        return tag("span", Html("not replayed"), class_="quiet")
    return meter(us / mean_us, color(idle_key(cause)), f"{time_us(us)}, {share(us / mean_us)}")


def payload(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """What the check boxes look up: the ticked boxes' positions to the words and the bar."""
    found, now = diagnosis.whatif, diagnosis.steps.mean_us
    if found is None or not found.fixes or not now:
        return None
    sets = _sets(found)
    widest = max([now, *(now - gain.low for gain in sets.values() if gain.low is not None)])
    rows = {key: _row(diagnosis, gain, widest) for key, gain in sets.items()}
    nothing = {"said": f"now {time_us(now)}", **_bar(now, now, now, widest)}
    return {"sets": {"": nothing, **rows}}


def _sets(found: WhatIf) -> dict[str, Gain]:
    """Each replayed set of boxes, as "0,2", with its gain."""
    place = {name: i for i, name in enumerate(boxes(found))}
    alone = [([row.fix], row.gain_us) for row in found.fixes]
    joint = [(entry.fixes, entry.gain_us) for entry in found.combinations]
    return {
        ",".join(map(str, sorted(place[name] for name in names))): gain
        for names, gain in (*alone, *joint)
        if place.keys() >= set(names)
    }


def _row(diagnosis: Diagnosis, gain: Gain, widest_us: float) -> dict[str, Any]:
    now_us, said = diagnosis.steps.mean_us, gains.step_text(diagnosis, gain)
    expected = gain.bound if gain.expected is None else gain.expected
    least, most = gains.interval(gain) or (expected, expected)
    return {"said": said, **_bar(now_us - expected, now_us - most, now_us - least, widest_us)}


def _bar(step_us: float, low_us: float, high_us: float, widest_us: float) -> dict[str, float]:
    """Percent of the longest bar, so that all fit."""
    ends = {"step": step_us, "low": low_us, "high": high_us}
    return {name: round(max(us, 0.0) / widest_us * 100, 3) for name, us in ends.items()}
