"""What rules must say, may say and must not say of a case: the tables in tests/advice/labels."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scoring.cases import Case
from benchmarks.scoring.charges import causes_of
from benchmarks.scoring.detection import LEAST_SHARE

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "advice" / "labels"
KEYS = frozenset({"must", "may", "top", "healthy", "refused", "truth"})
MUST_FROM = 0.1
"""The dose of a simulated fault, about its share of the step, from which it must be told."""


@dataclass(frozen=True)
class Label:
    """Rules by code; all that are in neither `must` nor `may` must be silent.

    `top` are those of which one must come first; empty where that is not known. `refused` inputs
    must be refused. `truth` says where the label comes from.
    """

    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    top: frozenset[str] = frozenset()
    healthy: bool = False
    refused: bool = False
    truth: str = ""

    @property
    def codes(self) -> frozenset[str]:
        """Every rule that it names."""
        return self.must | self.may | self.top


def labels(source: str) -> dict[str, Label]:
    """By the name of the case: of one of the files, such as "public"."""
    return {name: _label(table) for name, table in tables(source).items()}


def tables(source: str) -> dict[str, dict[str, Any]]:
    """The tables as they stand in the file."""
    return tomllib.loads((FOLDER / f"{source}.toml").read_text("utf-8"))


def _label(table: dict[str, Any]) -> Label:
    must, may, top = (frozenset[str](table.get(key, ())) for key in ("must", "may", "top"))
    healthy, refused = table.get("healthy", False), table.get("refused", False)
    return Label(must, may, top, healthy, refused, table.get("truth", ""))


def of_simulated(case: Case, known: dict[str, Label], shares: Mapping[str, float]) -> Label:
    """What all faults of a run ask for together; "clean" is the label of a run without any.

    `shares` are what each cause truly takes of the step: another fault may hide this one.
    """
    if not case.faults:
        return known["clean"]
    told = [known[name] for name, dose in case.faults if dose >= MUST_FROM and _felt(name, shares)]
    each = [known[name] for name, _ in case.faults]
    must, may = (
        _union(label.must for label in told),
        _union(label.must | label.may for label in each),
    )
    return Label(must, may - must, healthy=all(label.healthy for label in each))


def _felt(fault: str, shares: Mapping[str, float]) -> bool:
    causes = causes_of(fault)
    return not causes or sum(shares[cause] for cause in causes) >= LEAST_SHARE


def _union(parts: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*parts)
