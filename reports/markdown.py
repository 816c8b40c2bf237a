"""A comment for a pull request: the verdict, the breakdown, the findings, what they rest on.

What the trace says is escaped: it is text, and neither Markdown, HTML, a mention nor a link.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from perfkit.model.diagnosis import Diagnosis, Finding, Place
from perfkit.reports import gains, summary
from perfkit.reports.compute_summary import compute_lines
from perfkit.reports.format import clean, clean_lines, plural, share, shorten, time_us, times_text
from perfkit.reports.inference_summary import inference_lines
from perfkit.reports.money import money_text
from perfkit.reports.run_summary import run_lines
from perfkit.reports.where import where_text, within

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_LINKS = re.compile(r"@(?=\w)|#(?=\d)|:(?=//)|(?<=\bwww)(?=\.)|(?<=\bGH)(?=-\d)", re.IGNORECASE)
_BREAK = "\u200b"  # shows nothing, and a mention or an address broken by it is none
_LONGEST = 300
_LONGEST_NAME = 120
_MARKS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}  # read aloud as words beside it


def render(diagnosis: Diagnosis) -> str:
    """The comment, in GitHub's Markdown."""
    sections = (
        f"### perfkit: {escaped(diagnosis.verdict, 600)}",
        _breakdown(diagnosis),
        _findings(diagnosis),
        _facts(diagnosis),
    )
    return "\n\n".join(sections) + "\n"


def escaped(text: str, most: int = _LONGEST) -> str:
    """Text that stays text."""
    return _SPECIAL.sub(r"\\\1", _inert(text, most))


def _inert(text: str, most: int = _LONGEST) -> str:
    """Text for inside an HTML tag, where Markdown is not read and its escapes would show."""
    plain = _LINKS.sub(lambda found: found[0] + _BREAK, shorten(clean(text), most))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A name between backticks, which it cannot leave, in a table or out of it."""
    name = shorten(clean(text), _LONGEST_NAME).replace("`", "'").replace("|", "¦").strip()
    return f"`{name}`" if name else "(no name)"


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    align = ("---", *("---:" for _ in header[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, align, *rows))


def _breakdown(diagnosis: Diagnosis) -> str:
    rows = [
        (
            ("idle: " if part.is_idle else "") + escaped(part.label),
            time_us(part.us),
            share(part.share),
        )
        for part in summary.slices(diagnosis)
    ]
    mean = time_us(diagnosis.steps.mean_us)
    rows.append((f"**{summary.whole_text(diagnosis)}**", f"**{mean}**", ""))
    return _table(
        (f"where the {summary.device_word(diagnosis)}'s time goes", "time", "share"), rows
    )


def _findings(diagnosis: Diagnosis) -> str:
    findings = summary.ranked(diagnosis.findings)
    left_out = [escaped(said)] if (said := summary.left_out_text(diagnosis)) else []
    if not findings:
        return "\n\n".join([summary.nothing_found(diagnosis), *left_out, *_together(diagnosis)])
    rows = [
        (
            f"{_MARKS[f.severity]} {f.severity} **{escaped(f.title)}** ({code(f.code)})",
            *summary.cost_texts(f),
            _gain(diagnosis, f),
        )
        for f in findings
    ]
    cost = f"cost{summary.per_step(diagnosis)}"
    table = _table(("finding", cost, "share", "with the fix"), rows)
    details = (_details(diagnosis, finding) for finding in findings)
    return "\n\n".join([table, *left_out, *_together(diagnosis), *details])


def _gain(diagnosis: Diagnosis, finding: Finding) -> str:
    """What the fix returns; the arrow, which is perfkit's own, opens no tag."""
    return escaped(gains.gain_text(diagnosis, finding)).replace("-&gt;", "->")


def _together(diagnosis: Diagnosis) -> list[str]:
    said = gains.together_text(diagnosis)
    return [f"**{escaped(said)}**"] if said else []


def _details(diagnosis: Diagnosis, finding: Finding) -> str:
    """Evidence, places, remedy: folded away."""
    lines = [
        f"- {escaped(fact.text)}" for fact in finding.evidence if not _is_place(finding, fact.text)
    ]
    lines += [_place(diagnosis, place) for place in finding.where]
    gain = _gain(diagnosis, finding)
    lines += [f"- Gain: {gain}; confidence {finding.confidence}"]
    head = _inert(f"{finding.code}: {finding.title}")
    remedy = [f"**Fix.** {escaped(finding.remedy.text, 2000)}", _snippet(finding)]
    if finding.when_not:
        remedy.append(f"**When not to.** {escaped(finding.when_not, 2000)}")
    body = "\n\n".join(part for part in ("\n".join(lines), *remedy) if part)
    return f"<details><summary>{head}</summary>\n\n{body}\n\n</details>"


def _is_place(finding: Finding, told: str) -> bool:
    """Whether the list of places says it as well."""
    starts = (f"{time_us(p.idle_us)} " for p in finding.where)
    names = [within(p) for p in finding.where]
    return told.startswith(tuple(starts)) and any(name in told for name in names)


def _place(diagnosis: Diagnosis, place: Place) -> str:
    times = f"{times_text(place.count_per_step)}{summary.per_step(diagnosis)}"
    where = where_text(place)
    inside = f" ({escaped(where)})" if where else ""
    return f"- {time_us(place.idle_us)} in {code(place.name)}{inside}, {times}"


def _snippet(finding: Finding) -> str:
    """The code in a fence longer than any run of backticks in it."""
    snippet = finding.remedy.snippet
    if not snippet:
        return ""
    longest = max((len(run) for run in re.findall(r"`+", snippet)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{clean_lines(snippet)}\n{fence}"


def _facts(diagnosis: Diagnosis) -> str:
    facts = [
        escaped(summary.step_facts(diagnosis)),
        escaped(summary.device_facts(diagnosis)),
        code(summary.file_name(diagnosis)),
        f"perfkit {escaped(diagnosis.perfkit_version)}",
    ]
    trust = gains.trust_text(diagnosis)
    notes = [escaped(note) for note in (trust, *summary.fidelity_facts(diagnosis)) if note]
    said = (*run_lines(diagnosis), *inference_lines(diagnosis), *compute_lines(diagnosis))
    run = [escaped(line) for line in said]
    excluded = [escaped(note) for note in summary.excluded_facts(diagnosis)]
    run += [escaped(money_text(diagnosis.money))] if diagnosis.money else []
    return "\n".join(
        [*_listed(run), " · ".join(facts), *_folded("excluded step", excluded), *_noted(notes)]
    )


def _listed(lines: list[str]) -> list[str]:
    return [*(f"- {line}" for line in lines), ""] if lines else []


def _folded(noun: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    listed = "\n".join(f"- {line}" for line in lines)
    head = plural(len(lines), noun)
    return [f"\n<details><summary>{head}</summary>\n\n{listed}\n\n</details>"]


def _noted(notes: list[str]) -> list[str]:
    return ["", *(f"> {note}" for note in notes)] if notes else []
