"""Advice rules: one rule, one file; each turns numbers of a Diagnosis into a Finding.

A rule is a module whose name is its code, whose docstring is its only documentation, and whose
`check(diagnosis)` returns an Advice or None; `AUDIENCE = "infrastructure"` where not the author of
the training script can act on it. Adding a rule is adding its file here, or, in a package of one's
own, an entry point of the group `perfkit.rules`: its name the code, its value the module.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import cast

import msgspec

from perfkit.errors import PerfkitError, closest
from perfkit.model.diagnosis import Audience, Diagnosis, Finding, Gain, LeftOut, Remedy
from perfkit.model.settings import Settings
from perfkit.reports.page import Page, page_of
from perfkit.reports.rule import finding
from perfkit.reports.summary import ranked
from perfkit.reports.verdict import verdict

ENTRY_POINTS = "perfkit.rules"


@cache
def _rules() -> dict[str, ModuleType]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    own = {name.replace("_", "-"): import_module(f"{__name__}.{name}") for name in names}
    return own | _added()


def _added() -> dict[str, ModuleType]:
    """The rules that installed packages add; one that cannot be imported says so as a finding."""
    return {entry.name: _loaded(entry) for entry in entry_points(group=ENTRY_POINTS)}


def _loaded(entry: EntryPoint) -> ModuleType:
    try:
        return cast("ModuleType", entry.load())
    except Exception as error:
        return _broken(entry.name, error)


def _broken(code: str, error: Exception) -> ModuleType:
    rule = ModuleType(code, f"The rule {code} cannot be imported.")

    def check(_: Diagnosis) -> None:
        raise error

    rule.__dict__["check"] = check
    return rule


def codes() -> list[str]:
    """Every rule's code."""
    return list(_rules())


def page(code: str) -> Page:
    """The page of a rule; PerfkitError when there is no such rule."""
    return page_of(code, _known(code))


def advise(
    diagnosis: Diagnosis,
    *,
    rules: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    audience: Audience | None = None,
    settings: Settings | None = None,
) -> Diagnosis:
    """The diagnosis with findings, the worst and what pays most first, and the verdict.

    `rules` limits the advice to these codes, `ignore` leaves codes out, `audience` limits it to
    what this one can act on. A rule that fails becomes a finding that says so.
    """
    check_codes(rules, ignore, settings)
    wanted = settings or Settings()
    ignored = {*ignore, *wanted.ignore}
    asked = [code for code in (rules or codes()) if code not in ignored]
    found = [one for code in asked if (one := _checked(code, diagnosis, wanted)) is not None]
    told = msgspec.structs.replace(diagnosis, findings=ranked(f for f, is_told in found if is_told))
    heard = [f for f in told.findings if audience in (None, f.audience)]
    left_out = LeftOut(
        rules=[code for code in codes() if code not in asked],
        small=sum(not is_told for _, is_told in found),
        least_share=wanted.least_share,
        for_others=len(told.findings) - len(heard),
    )
    return msgspec.structs.replace(
        told,
        findings=heard,
        verdict=verdict(told),
        left_out=left_out if left_out.rules or left_out.small or left_out.for_others else None,
    )


def check_codes(
    rules: Sequence[str] | None, ignore: Sequence[str], settings: Settings | None
) -> None:
    """PerfkitError for a code that is no rule's; before a long read there is time for it."""
    told = settings or Settings()
    for code in (*(rules or ()), *ignore, *told.ignore, *told.limits):
        _known(code)


def _known(code: str) -> ModuleType:
    rule = _rules().get(code)
    if rule is None:
        near = closest(code, codes())
        hint = f"did you mean {near}? " if near else ""
        raise PerfkitError(f"There is no rule {code}: {hint}`perfkit explain` lists them.")
    return rule


def _checked(code: str, diagnosis: Diagnosis, settings: Settings) -> tuple[Finding, bool] | None:
    """The rule's finding, if it has one, and whether it is large enough to be told."""
    try:
        advice = _known(code).check(diagnosis)
        if advice is None:
            return None
        limits = {k.replace("-", "_"): v for k, v in settings.limits.get(code, {}).items()}
        made = finding(diagnosis, advice, page(code), limits)
    except Exception as error:  # a fault in one rule must not cost the reader the report
        return _failed(code, error), True
    return made, advice.severity is not None or made.cost_share >= settings.least_share


def _failed(code: str, error: Exception) -> Finding:
    return Finding(
        code=code,
        name=code.replace("-", " "),
        severity="info",
        title=f"The rule {code} failed ({type(error).__name__}: {error}).",
        cause="unknown",
        cost_us=0.0,
        cost_share=0.0,
        evidence=[],
        where=[],
        gain_us=Gain(bound=0.0),
        confidence="low",
        remedy=Remedy(text=f"Report it with the trace, and go on with --ignore {code}."),
    )
