"""The one-screen report: the verdict, where a step goes, what to do, what the numbers rest on.

Only ASCII is added to what the trace says, and each part of the bar has a character of its own, so
the report reads the same without colour.
"""

from __future__ import annotations

from io import StringIO
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.reports import gains, summary
from perfkit.reports.compute_summary import compute_lines
from perfkit.reports.format import TIED, clean, count, plural, share, tied, time_us
from perfkit.reports.inference_summary import inference_lines
from perfkit.reports.money import money_text
from perfkit.reports.palette import color as color_of
from perfkit.reports.palette import glyph
from perfkit.reports.run_summary import run_lines
from perfkit.reports.summary import UNKNOWN, Slice
from perfkit.reports.where import where_text

_LINES = 40  # findings after the first give way to it; what is told is told whole
_LONGEST = 8  # lines of one paragraph: only a name that a trace made up is longer
_MOST_CAUSES = 6
_MOST_NOTES = 3
_TWO_COLUMNS = 90  # from this width on the legend fits twice
_INDENT = 4
_MARKS = {"critical": ("!!", "bold red"), "warning": (" !", "bold yellow"), "info": (" i", "cyan")}

Block = list[Text]


def render(
    diagnosis: Diagnosis,
    *,
    width: int,
    color: bool,
    everything: bool = False,
) -> str:
    """The report as lines of at most `width` columns, with terminal colours if `color`.

    `everything` shows all findings, however many lines they take.
    """
    file = StringIO()
    console = _console(file, width, color)
    head = [*_verdict(console, diagnosis), Text(), *_breakdown(diagnosis, width, color)]
    tail = _facts(console, diagnosis)
    room = _LINES - len(head) - len(tail) - 2
    findings = _findings(console, diagnosis, None if everything else room)
    for line in [*head, Text(), *findings, *tail]:
        line.rstrip()
        console.print(_spaced(line), no_wrap=True, overflow="crop", crop=True)
    return file.getvalue()


def _console(file: StringIO, width: int, color: bool) -> Console:
    # _environ: the caller has decided on width and colour, not the environment
    return Console(
        file=file,
        width=max(width, 40),
        color_system="256" if color else None,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )


def _spaced(line: Text) -> Text:
    """The line with ordinary spaces where numbers had been tied to their units."""
    line.plain = line.plain.replace(TIED, " ")
    return line


def _wrapped(console: Console, text: Text | str, indent: int = 0, most: int = _LONGEST) -> Block:
    """Lines of one paragraph, at most so many; dots at the end say that it was longer."""
    text = Text(text) if isinstance(text, str) else text
    text.plain = tied(text.plain)
    lines = list(text.wrap(console, console.width - indent))
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].rstrip()
        lines[-1].truncate(console.width - indent - 3)
        lines[-1].append("...")
    return [Text(" " * indent) + line for line in lines]


def _verdict(console: Console, diagnosis: Diagnosis) -> Block:
    return _wrapped(console, Text(clean(diagnosis.verdict), style="bold"), most=5)


def _fit(text: str, width: int, *, pad: bool = False) -> str:
    """At most so many columns, dots for what was cut; wide characters count twice."""
    if cell_len(text) > width:
        text = set_cell_size(text, width - 3).rstrip() + "..."
    return set_cell_size(text, width) if pad else text


def _breakdown(diagnosis: Diagnosis, width: int, color: bool) -> Block:
    parts = summary.merged(summary.slices(diagnosis), _MOST_CAUSES)
    if diagnosis.device.kind == "none" and diagnosis.steps.mean_us:
        # a bar would show an idle device, which nobody saw
        unknown = [_entry(p, width, color, "idle: ") for p in parts if p.key == UNKNOWN]
        return [Text(_headline(diagnosis)), *unknown]
    bar = [_bar(parts, width, color)] if diagnosis.steps.mean_us else []
    return [Text(_headline(diagnosis)), *bar, *_legend(parts, width, color)]


def _headline(diagnosis: Diagnosis) -> str:
    if not diagnosis.steps.mean_us:
        return "No step time to break down."
    idle = share(summary.idle_share(diagnosis))
    whole = "Mean step" if summary.has_steps(diagnosis) else "Recording of"
    mean = f"{whole} {time_us(diagnosis.steps.mean_us)}"
    if diagnosis.device.kind == "none":
        return f"{mean}; no GPU record to cut it by."
    return f"{mean}, {summary.device_word(diagnosis)} idle {idle} of it:"


def _bar(parts: list[Slice], width: int, color: bool) -> Text:
    """One line; every cell belongs to the part at the cell's middle, so the line is full."""
    bar, total, edge = Text(), sum(part.us for part in parts) or 1.0, 0.0
    for part in parts:
        first, edge = round(edge / total * width), edge + part.us
        cells = round(edge / total * width) - first
        bar.append_text(_cells(part.key, cells, color))
    return bar


def _cells(key: str, number: int, color: bool) -> Text:
    """Cells of one part; in colour the character is there, too, and hidden by its ground."""
    style = f"{color_of(key)} on {color_of(key)}" if color else ""
    return Text().append(glyph(key) * number, style)


def _legend(parts: list[Slice], width: int, color: bool) -> Block:
    busy = [part for part in parts if not part.is_idle]
    idle = [part for part in parts if part.is_idle]
    if width < _TWO_COLUMNS:
        return [_entry(part, width, color, "idle: " * part.is_idle) for part in parts]
    left = [Text("at work"), *(_entry(part, width // 2 - 1, color) for part in busy)]
    right = [Text("idle, by cause"), *(_entry(part, width // 2 - 1, color) for part in idle)]
    return [_beside(a, b, width // 2 + 1) for a, b in zip_longest(left, right, fillvalue=Text())]


def _beside(left: Text, right: Text, column: int) -> Text:
    return Text.assemble(left, " " * (column - left.cell_len), right)


def _entry(part: Slice, width: int, color: bool, prefix: str = "") -> Text:
    numbers = f"{time_us(part.us):>9} {share(part.share):>7}"
    space = min(width - len(numbers) - 4, 36)
    entry = _cells(part.key, 2, color)
    return entry.append(f" {_fit(prefix + part.label, space, pad=True)} {numbers}")


def _findings(console: Console, diagnosis: Diagnosis, room: int | None) -> Block:
    """The first findings that fit in `room` lines, at least one; the rest is counted."""
    findings = summary.ranked(diagnosis.findings)
    together = [*_left_out(console, diagnosis), *_together(console, diagnosis)]
    if not findings:
        return [Text(summary.nothing_found(diagnosis)), *together, Text()]
    blocks = [_finding(console, diagnosis, finding) for finding in findings]
    shown = len(blocks) if room is None else _fitting(blocks, room - 2 - len(together))
    lines = [line for block in blocks[:shown] for line in block]
    if shown < len(blocks):
        rest = plural(len(blocks) - shown, "more finding")
        lines.append(Text(f"    + {rest} with --all and in --html, --markdown and --json"))
    hint = f"Why and how: perfkit explain {clean(findings[0].code)}"
    return [*lines, *together, Text(hint, style="dim"), Text()]


def _left_out(console: Console, diagnosis: Diagnosis) -> Block:
    said = summary.left_out_text(diagnosis)
    return _wrapped(console, said) if said else []


def _together(console: Console, diagnosis: Diagnosis) -> Block:
    said = gains.together_text(diagnosis)
    return _wrapped(console, Text(said, style="bold")) if said else []


def _fitting(blocks: list[Block], room: int) -> int:
    used = 0
    for shown, block in enumerate(blocks):
        used += len(block)
        if used > room and shown:
            return shown
    return len(blocks)


def _finding(console: Console, diagnosis: Diagnosis, finding: Finding) -> Block:
    evidence = clean(finding.evidence[0].text) if finding.evidence else ""
    fix = (f"Fix ({clean(finding.code)}): ", "bold")
    remedy = Text.assemble(fix, clean(finding.remedy.text))
    return [
        *_title(console, finding),
        *(_wrapped(console, evidence, _INDENT, most=4) if evidence else []),
        *_where(console, finding),
        *_wrapped(console, remedy, _INDENT),
        *_gain(console, diagnosis, finding),
    ]


def _where(console: Console, finding: Finding) -> Block:
    """Where in the program its costliest place lies, unless the evidence above has said so."""
    told = where_text(finding.where[0]) if finding.where else ""
    if not told or (finding.evidence and told in finding.evidence[0].text):
        return []
    said = f"Costliest place: {clean(finding.where[0].name)}, {told}"
    return _wrapped(console, said, _INDENT)


def _gain(console: Console, diagnosis: Diagnosis, finding: Finding) -> Block:
    """Nothing without a prediction: the bound is mostly the cost, which the title has."""
    if finding.gain_us.expected is None and not finding.gain_note:
        return []
    said = Text.assemble(("Gain: ", "bold"), gains.gain_text(diagnosis, finding))
    return _wrapped(console, said, _INDENT)


def _title(console: Console, finding: Finding) -> Block:
    """Mark, title and cost; the title wraps in its own column."""
    mark, style = _MARKS[finding.severity]
    cost = " {:>9} {:>7}".format(*summary.cost_texts(finding))
    room = console.width - len(cost) - _INDENT
    title = Text(clean(finding.title), style="bold")
    first, *rest = _wrapped(console, title, len(cost) + _INDENT, most=4)
    words = set_cell_size(first.plain.strip(), room)
    head = Text.assemble((mark, style), "  ", (words + cost, "bold"))
    return [head, *(Text.assemble(" " * _INDENT, (line.plain.strip(), "bold")) for line in rest)]


def _facts(console: Console, diagnosis: Diagnosis) -> Block:
    facts = f"{summary.step_facts(diagnosis)}; {summary.device_facts(diagnosis)}"
    lines = [line for said in run_lines(diagnosis) for line in _wrapped(console, said)]
    told = (*inference_lines(diagnosis), *compute_lines(diagnosis))
    lines += [x for said in told for x in _wrapped(console, said)]
    lines += _wrapped(console, facts)
    excluded = summary.excluded_facts(diagnosis)
    if excluded:
        more = f"; + {len(excluded) - 2} more" if len(excluded) > 2 else ""
        lines += _wrapped(console, f"Excluded: {'; '.join(excluded[:2])}{more}")
    worth = [money_text(diagnosis.money)] if diagnosis.money else []
    said = [text for text in (*worth, gains.trust_text(diagnosis)) if text]
    lines += [line for text in said for line in _wrapped(console, text)]
    return [*lines, *_notes(console, diagnosis, _MOST_NOTES - len(said))]


def _notes(console: Console, diagnosis: Diagnosis, most: int) -> Block:
    notes = summary.fidelity_facts(diagnosis)
    lines = [line for note in notes[:most] for line in _wrapped(console, f"Note: {note}", most=3)]
    if len(notes) > most:
        lines.append(Text(f"+ {count(len(notes) - most)} more notes in --html and --json"))
    return lines
