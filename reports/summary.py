"""What every renderer says first, as plain values: the parts of a step, the findings, the facts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Breakdown, Diagnosis, Finding, Severity
from perfkit.reports.format import clean, count, plural, share, shorten, size, time_us
from perfkit.reports.palette import idle_key

PARTS = ("compute", "communication", "copy")
UNKNOWN = idle_key(Cause.UNKNOWN)
_OTHER = idle_key("other")
_FEW_RULES = 3
_SEVERITIES = get_args(Severity)
_PER_STEP = re.compile(r"\bper step\b")


@dataclass(frozen=True)
class Slice:
    """One exclusive part of the mean step; the slices sum to it."""

    key: str
    label: str
    us: float
    share: float
    meaning: str

    @property
    def is_idle(self) -> bool:
        """True for idle time under a cause."""
        return self.key not in PARTS


def slices(diagnosis: Diagnosis) -> list[Slice]:
    """Compute, communication, copy, then the idle causes by cost; `unknown` always and last."""
    whole = _whole(diagnosis.breakdown_us)
    parts = [
        Slice(key, label, us, _ratio(us, whole), meaning)
        for key, label, us, meaning in _busy(diagnosis)
    ]
    idle = {Cause.UNKNOWN.value: 0.0, **diagnosis.idle_us}
    ranked = sorted(idle.items(), key=lambda item: (item[0] == Cause.UNKNOWN, -item[1]))
    return parts + [
        Slice(idle_key(cause), cause_text(cause), us, _ratio(us, whole), cause_meaning(cause))
        for cause, us in ranked
        if us > 0 or cause == Cause.UNKNOWN
    ]


def _busy(diagnosis: Diagnosis) -> list[tuple[str, str, float, str]]:
    parts, word = diagnosis.breakdown_us, device_word(diagnosis)
    return [
        ("compute", "compute", parts.compute, f"The {word} ran at least one compute operation."),
        (
            "communication",
            "communication",
            parts.communication,
            "Only communication ran: what computation did not hide.",
        ),
        ("copy", "copy", parts.copy, "Only copies ran: what computation did not hide."),
    ]


def merged(parts: list[Slice], most_causes: int) -> list[Slice]:
    """The same slices with the smaller idle causes summed, `unknown` kept apart."""
    causes = [part for part in parts if part.is_idle and part.key != UNKNOWN]
    if len(causes) <= most_causes:
        return parts
    kept = {part.key for part in causes[: most_causes - 1]}
    rest = [part for part in causes if part.key not in kept]
    other = Slice(
        _OTHER,
        f"{len(rest)} other causes",
        sum(part.us for part in rest),
        sum(part.share for part in rest),
        "",
    )
    shown = [part for part in parts if not part.is_idle or part.key in kept]
    return [*shown, other, *(part for part in parts if part.key == UNKNOWN)]


def _whole(parts: Breakdown) -> float:
    return parts.compute + parts.communication + parts.copy + parts.idle


def _ratio(us: float, whole: float) -> float:
    return us / whole if whole > 0 else 0.0


def idle_share(diagnosis: Diagnosis) -> float:
    """The share of the mean step in which the device did nothing."""
    return _ratio(diagnosis.breakdown_us.idle, _whole(diagnosis.breakdown_us))


def compute_share(diagnosis: Diagnosis) -> float:
    """The share of the mean step in which the device computed."""
    return _ratio(diagnosis.breakdown_us.compute, _whole(diagnosis.breakdown_us))


def cause_text(cause: str) -> str:
    """A cause as a reader meets it; its own name when a newer version wrote it."""
    known = _known(cause)
    return known.text if known else clean(cause)


def cause_meaning(cause: str) -> str:
    """One sentence on a cause; empty when a newer version wrote it."""
    known = _known(cause)
    return known.meaning if known else ""


def _known(cause: str) -> Cause | None:
    return next((member for member in Cause if member.value == cause), None)


def device_word(diagnosis: Diagnosis) -> str:
    """What the reader calls the device whose time is cut."""
    return {"gpu": "GPU", "cpu": "CPU", "none": "device"}[diagnosis.device.kind]


def has_steps(diagnosis: Diagnosis) -> bool:
    """Whether steps were found; else the recording is taken as one, and not called a step."""
    return diagnosis.steps.marker != "none"


def step_word(diagnosis: Diagnosis) -> str:
    """What times are of, in a word."""
    return "step" if has_steps(diagnosis) else "recording"


def whole_text(diagnosis: Diagnosis) -> str:
    """What is cut into parts: the mean step, or the recording."""
    return "mean step" if has_steps(diagnosis) else "recording"


def per_step(diagnosis: Diagnosis) -> str:
    """What follows a time, a space before it; empty where the recording has no steps."""
    return " per step" if has_steps(diagnosis) else ""


def worded(diagnosis: Diagnosis, told: str) -> str:
    """A text on a step, as it reads of a recording in which no steps were found."""
    return told if has_steps(diagnosis) else _PER_STEP.sub("in the recording", told)


def headings(diagnosis: Diagnosis, *told: str) -> tuple[str, ...]:
    """The same of a table's columns."""
    return tuple(worded(diagnosis, name) for name in told)


def nothing_found(diagnosis: Diagnosis) -> str:
    """No findings, in words."""
    left_out = diagnosis.left_out
    if left_out is not None and (left_out.rules or left_out.for_others):
        return "No finding of the rules that were asked; others were left out."
    return "No rule found anything to fix."


def left_out_text(diagnosis: Diagnosis) -> str:
    """What the findings do not tell of, and how to see it; empty where they are all there is."""
    left_out = diagnosis.left_out
    if left_out is None:
        return ""
    floor = f"{share(left_out.least_share)} of the {step_word(diagnosis)}"
    parts = [
        _unasked(left_out.rules) if left_out.rules else "",
        f"{plural(left_out.small, 'finding')} below {floor} (--all)" if left_out.small else "",
        f"{plural(left_out.for_others, 'finding')} for another --audience"
        if left_out.for_others
        else "",
    ]
    return f"Left out: {'; '.join(part for part in parts if part)}."


def _unasked(rules: list[str]) -> str:
    """The rules by name, where they are few."""
    few = f" {', '.join(map(clean, rules))}" if len(rules) <= _FEW_RULES else ""
    said = f"rule{'s' * (len(rules) > 1)}{few}" if few else plural(len(rules), "rule")
    return f"{said} (--rule, --ignore or [tool.perfkit])"


def cost_texts(finding: Finding) -> tuple[str, str]:
    """What it costs, and of the step; dashes where no time measures the fault."""
    if not finding.cost_us:
        return "-", "-"
    return time_us(finding.cost_us), share(finding.cost_share)


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by severity, then by what the fix returns, or what they cost without replay."""
    return sorted(findings, key=_rank)


def _rank(finding: Finding) -> tuple[int, float]:
    gain = finding.gain_us.expected
    return _SEVERITIES.index(finding.severity), -(finding.cost_us if gain is None else gain)


def step_facts(diagnosis: Diagnosis) -> str:
    """How many steps the means are over, and how they were found."""
    steps = diagnosis.steps
    marker = {
        "ProfilerStep": "marked by ProfilerStep",
        "detected": "detected, not marked",
        "none": "no step marker: the file is taken as one",
    }[steps.marker]
    excluded = f", {len(steps.excluded)} excluded" if steps.excluded else ""
    return f"{plural(steps.count, 'step')} counted{excluded} ({marker})"


def excluded_facts(diagnosis: Diagnosis) -> list[str]:
    """Each excluded step with its reason."""
    return [f"{clean(e.step)} {clean(e.reason)}" for e in diagnosis.steps.excluded]


def device_facts(diagnosis: Diagnosis) -> str:
    """The device in words."""
    device = diagnosis.device
    if device.kind == "none":
        return "no device activity in the trace"
    name = clean(device.name or ("CPU" if device.kind == "cpu" else "GPU"))
    several = f"{device.count} x " if device.count and device.count > 1 else ""
    memory = f"{size(device.memory_gb * 1e9)} each" if device.memory_gb and several else None
    alone = size(device.memory_gb * 1e9) if device.memory_gb and not several else None
    measured = f"GPU {device.index} measured" if device.index is not None and several else None
    details = [fact for fact in (memory, alone, measured) if fact]
    return several + name + (f" ({', '.join(details)})" if details else "")


def source_facts(diagnosis: Diagnosis) -> str:
    """Where the numbers come from."""
    source = diagnosis.source
    rank = "" if source.rank is None else f", rank {source.rank}"
    of = "" if source.world_size is None or not rank else f" of {source.world_size}"
    return f"{clean(source.path)} ({clean(source.format)}, {count(source.events)} events{rank}{of})"


def fidelity_facts(diagnosis: Diagnosis) -> list[str]:
    """What is missing or doubtful, in sentences."""
    return [clean(note) for note in (diagnosis.steps.note, *diagnosis.fidelity.notes) if note]


def file_name(diagnosis: Diagnosis) -> str:
    """The last part of the source's path."""
    return shorten(clean(diagnosis.source.path.rstrip("/").rsplit("/", 1)[-1]), 80)
