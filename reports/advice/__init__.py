"""Advice rules: one rule, one file; each turns numbers of a Diagnosis into a Finding.

A rule is a module whose name is its code, whose docstring is its only documentation, and whose
`check(diagnosis)` returns an Advice or None. Adding a rule is adding its file.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

import msgspec

from perfkit.errors import PerfkitError
from perfkit.model.diagnosis import Diagnosis, Finding, Gain, Remedy
from perfkit.reports.advice._rule import finding
from perfkit.reports.summary import ranked
from perfkit.reports.verdict import verdict


@cache
def _rules() -> dict[str, ModuleType]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}") for name in names}


def codes() -> list[str]:
    """Every rule's code."""
    return list(_rules())


def explain(code: str) -> str:
    """The page of a rule; PerfkitError when there is no such rule."""
    return inspect.getdoc(_known(code)) or ""


def summary(code: str) -> str:
    """The first line of a rule's page."""
    return explain(code).partition("\n")[0]


def advise(
    diagnosis: Diagnosis, *, rules: Sequence[str] | None = None, ignore: Sequence[str] = ()
) -> Diagnosis:
    """The diagnosis with findings, the worst and what pays most first, and the verdict.

    `rules` limits the advice to these codes, `ignore` leaves codes out. A rule that fails becomes
    a finding that says so.
    """
    for code in (*(rules or ()), *ignore):
        _known(code)
    wanted = [code for code in (rules or codes()) if code not in ignore]
    found = [f for code in wanted if (f := _checked(code, diagnosis)) is not None]
    told = msgspec.structs.replace(diagnosis, findings=ranked(found))
    return msgspec.structs.replace(told, verdict=verdict(told))


def _known(code: str) -> ModuleType:
    rule = _rules().get(code)
    if rule is None:
        near = difflib.get_close_matches(code, codes(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise PerfkitError(f"There is no rule {code}: {hint}`perfkit explain` lists them.")
    return rule


def _checked(code: str, diagnosis: Diagnosis) -> Finding | None:
    try:
        advice = _known(code).check(diagnosis)
        return None if advice is None else finding(diagnosis, code, advice)
    except Exception as error:  # a fault in one rule must not cost the reader the report
        return _failed(code, error)


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
