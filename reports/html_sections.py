"""The parts of the HTML report that read without JavaScript: verdict, breakdown, findings."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Finding, Place
from perfkit.reports import gains, summary
from perfkit.reports.compute_summary import mfu_text
from perfkit.reports.format import clean, count, share, time_us
from perfkit.reports.html_tags import (
    Html,
    block,
    code,
    join,
    meter,
    section,
    swatch,
    table,
    tag,
    text,
)
from perfkit.reports.money import cost_text, idle_text, money_text
from perfkit.reports.palette import color, idle_key
from perfkit.reports.summary import UNKNOWN, Slice
from perfkit.reports.where import where_text


def header(diagnosis: Diagnosis) -> Html:
    """The verdict, before anything else, and what it is about."""
    facts = (
        summary.file_name(diagnosis),
        summary.device_facts(diagnosis),
        summary.step_facts(diagnosis),
    )
    about = tag("p", join(tag("span", text(fact)) for fact in facts), class_="about")
    return tag("header", tag("h1", text(diagnosis.verdict, 1000)), about)


def tiles(diagnosis: Diagnosis) -> Html:
    """The numbers a reader looks for first; none without a step."""
    if not diagnosis.steps.mean_us:
        return Html("")
    word, whole = summary.device_word(diagnosis), summary.whole_text(diagnosis)
    shown = [
        (whole, time_us(diagnosis.steps.mean_us), _spread(diagnosis)),
        (f"{word} computes", share(summary.compute_share(diagnosis)), f"of the {whole}"),
        (f"{word} idle", share(summary.idle_share(diagnosis)), f"of the {whole}"),
        _largest_cause(diagnosis),
        _surest_gain(diagnosis),
        _mfu(diagnosis),
        ("unexplained", share(diagnosis.fidelity.unknown_share), f"of the {whole}"),
        _idle_worth(diagnosis),
    ]
    listed = tag("dl", *(_tile(*tile) for tile in shown if tile), class_="tiles")
    money = diagnosis.money
    return join((listed, tag("p", text(money_text(money), 600)))) if money else listed


def _mfu(diagnosis: Diagnosis) -> tuple[str, str, str] | None:
    least = mfu_text(diagnosis)
    return ("MFU", least, "of the peak: matrix work alone") if least else None


def _idle_worth(diagnosis: Diagnosis) -> tuple[str, str, str] | None:
    money = diagnosis.money
    if money is None:
        return None
    hours, cost = idle_text(money), cost_text(money)
    return (
        ("idle GPUs cost a day", cost, hours)
        if cost
        else ("idle GPUs", hours, f"of {count(money.gpus)} GPUs")
    )


def _tile(name: str, value: str, note: str) -> Html:
    return tag(
        "div",
        tag("dt", text(name)),
        tag("dd", tag("strong", text(value)), tag("small", text(note))),
    )


def _spread(diagnosis: Diagnosis) -> str:
    steps = diagnosis.steps
    if not summary.has_steps(diagnosis):
        return "taken as one step"
    if steps.count < 2:
        return f"of {count(steps.count)}"
    return f"p50 {time_us(steps.p50_us)}, p95 {time_us(steps.p95_us)}"


def _largest_cause(diagnosis: Diagnosis) -> tuple[str, str, str] | None:
    causes = [part for part in summary.slices(diagnosis) if part.is_idle and part.us > 0]
    if not causes:
        return None
    top = max(causes, key=lambda part: part.us)
    return ("largest idle cause", share(top.share), top.label)


def _surest_gain(diagnosis: Diagnosis) -> tuple[str, str, str] | None:
    """Of the fix that returns most even at the low end of its interval."""
    fixes = diagnosis.whatif.fixes if diagnosis.whatif else []
    best = max(fixes, key=lambda fix: fix.gain_us.low or 0.0, default=None)
    if best and best.gain_us.expected and not gains.is_within_error(best.gain_us):
        after, between = gains.after_parts(diagnosis.steps.mean_us, best.gain_us)
        return (f"with {gains.names_text([best.fix])}", after, between)
    if not diagnosis.findings:
        return None
    top = max(diagnosis.findings, key=lambda finding: finding.gain_us.bound)
    most = f"{summary.per_step(diagnosis)} at most ({clean(top.code)})".lstrip()
    return ("most to gain", time_us(top.gain_us.bound), most)


def breakdown(diagnosis: Diagnosis) -> Html:
    """The mean step as one bar and as a table; the rows sum to the step."""
    parts = summary.slices(diagnosis)
    rows = [[_named(part), text(time_us(part.us)), _share(part), _meaning(part)] for part in parts]
    whole = summary.whole_text(diagnosis).capitalize()
    header = ("part", "time", "share", "what it is")
    listed = table(f"{whole}, cut once: the parts sum to it", header, rows, 1)
    none = tag("p", Html("No step time to break down."))
    bar = _bar(parts) if diagnosis.steps.mean_us else none
    return section("breakdown", f"Where the {summary.step_word(diagnosis)} goes", bar, listed)


def _bar(parts: list[Slice]) -> Html:
    shown = [part for part in parts if part.us > 0]
    label = ", ".join(f"{part.label} {share(part.share)}" for part in shown)
    return tag(
        "div", *(_segment(part) for part in shown), class_="bar", role="img", aria_label=label
    )


def _segment(part: Slice) -> Html:
    label = tag("span", text(part.label)) if part.share > 0.09 else Html("")
    return tag(
        "span",
        label,
        class_="hatched" if part.key == UNKNOWN else "",
        style=f"flex-grow:{part.share:.6f};background-color:{color(part.key)}",
        title=f"{part.label}: {time_us(part.us)}, {share(part.share)}",
    )


def _named(part: Slice) -> Html:
    idle = tag("span", Html("idle: "), class_="quiet") if part.is_idle else Html("")
    return join((swatch(color(part.key), hatched=part.key == UNKNOWN), idle, text(part.label)), "")


def _share(part: Slice) -> Html:
    return meter(part.share, color(part.key), share(part.share))


def _meaning(part: Slice) -> Html:
    return tag("span", text(part.meaning), class_="quiet meaning")


def findings(diagnosis: Diagnosis) -> Html:
    """What the rules say, the worst and what pays most first."""
    ranked = summary.ranked(diagnosis.findings)
    said = summary.left_out_text(diagnosis)
    left_out = tag("p", text(said, 600), class_="quiet") if said else Html("")
    if not ranked:
        nothing = tag("p", text(summary.nothing_found(diagnosis)))
        return section("findings", "Findings", nothing, left_out)
    articles = (_finding(diagnosis, finding) for finding in ranked)
    return section("findings", "Findings, by severity and gain", left_out, *articles)


def _finding(diagnosis: Diagnosis, finding: Finding) -> Html:
    return tag(
        "article",
        _finding_head(diagnosis, finding),
        tag("ul", *(tag("li", text(fact.text)) for fact in finding.evidence)),
        tag("p", tag("strong", Html("Fix. ")), text(finding.remedy.text, 2000), class_="fix"),
        _snippet(finding),
        _gain(diagnosis, finding),
        _reasons(finding),
        _where(diagnosis, finding.where),
        class_=f"finding {finding.severity}",
    )


def _finding_head(diagnosis: Diagnosis, finding: Finding) -> Html:
    time, part = summary.cost_texts(finding)
    cost = f"{time}{summary.per_step(diagnosis)}, {part}" if finding.cost_us else ""
    return tag(
        "div",
        tag("h3", text(finding.title)),
        tag("span", text(cost), class_="cost"),
        tag(
            "p",
            tag("span", text(finding.severity), class_="badge"),
            tag("span", text(finding.code)),
            tag("span", text(f"confidence {finding.confidence}")),
            tag("span", text(f"for the {finding.audience}")),
            class_="quiet tags",
        ),
        class_="finding-head",
    )


def _snippet(finding: Finding) -> Html:
    if not finding.remedy.snippet:
        return Html("")
    button = tag("button", Html("Copy"), type="button", class_="copy needs-js")
    applies = finding.remedy.applies_to
    note = tag("p", text(f"For {applies}"), class_="quiet") if applies else Html("")
    return join((tag("div", block(finding.remedy.snippet), button, class_="snippet"), note))


def _gain(diagnosis: Diagnosis, finding: Finding) -> Html:
    explain = f"perfkit explain {clean(finding.code)}"
    return tag(
        "p",
        tag("strong", Html("Gain: ")),
        text(f"{gains.gain_text(diagnosis, finding)}."),
        Html(" Why: "),
        code(explain),
        class_="quiet",
    )


def _reasons(finding: Finding) -> Html:
    """When the remedy does not apply, and what it rests on."""
    if not finding.when_not:
        return Html("")
    listed = tag("ul", *(tag("li", code(source)) for source in finding.sources))
    return tag(
        "details",
        tag("summary", Html("When not to, and sources")),
        tag("p", text(finding.when_not, 2000)),
        listed if finding.sources else Html(""),
    )


def _where(diagnosis: Diagnosis, places: list[Place]) -> Html:
    if not places:
        return Html("")
    listed = places_table(diagnosis, "Places", places, cause=False)
    return tag("details", tag("summary", text(f"Where ({len(places)})")), listed)


def _place(place: Place) -> Html:
    where = where_text(place)
    inside = tag("small", text(where), class_="quiet") if where else Html("")
    return join((code(place.name), inside), " ")


def places_table(
    diagnosis: Diagnosis, caption: str, places: list[Place], *, cause: bool = True
) -> Html:
    """Idle time by the place of its cause."""
    words = ("place", "cause") if cause else ("place",)
    header = summary.headings(diagnosis, *words, "times per step", "idle per step")
    rows = [
        [
            _place(place),
            *([cause_name(place.cause)] if cause else []),
            text(count(place.count_per_step)),
            text(time_us(place.idle_us)),
        ]
        for place in places
    ]
    return table(caption, header, rows, len(words))


def cause_name(cause: str) -> Html:
    """A cause in its colour."""
    return join((swatch(color(idle_key(cause))), text(summary.cause_text(cause))), "")
