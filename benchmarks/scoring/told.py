"""What rules say of runs whose label is known.

They are simulated, recorded and public ones, storage as tools print it, programs of kernels, and
runs with what their machine says, and traces and Captures that tests make.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import perfkit
from benchmarks.scoring.cases import Case
from benchmarks.scoring.labels import Label, labels, of_simulated, tables
from benchmarks.scoring.real import PUBLIC, RECORDED
from benchmarks.scoring.runs import shares
from benchmarks.scoring.said import Said, said_of
from perfkit.errors import PerfkitError
from perfkit.reports.advice import advise
from sample_traces.simulator import inject, write
from tests.advice.host_runs import write as write_run
from tests.advice.made import PATHS
from tests.advice.step_programs import write as write_program
from tests.advice.storage_facts import diagnosis_of


@dataclass(frozen=True)
class Told:
    """A labelled case and what rules say of it, first findings first."""

    source: str
    name: str
    label: Label
    said: list[Said] = field(default_factory=list)
    refused: bool = False

    @property
    def false(self) -> list[str]:
        """Rules that speak though they must not."""
        allowed = self.label.must | self.label.may
        return [one.code for one in self.said if one.counts and one.code not in allowed]

    @property
    def allowed(self) -> list[str]:
        """Rules that speak and neither must nor must not."""
        return [one.code for one in self.said if one.counts and one.code in self.label.may]

    @property
    def missed(self) -> list[str]:
        """Rules that must speak and are silent."""
        return sorted(self.label.must - {one.code for one in self.said})

    @property
    def is_top_right(self) -> bool | None:
        """Whether what the label puts first comes first; None where it puts nothing there."""
        if not self.label.top:
            return None
        return bool(self.said) and self.said[0].code in self.label.top


def simulated(case: Case) -> Told:
    """A simulated run, analyzed for what rules say of it alone."""
    run = inject(dict(case.faults), seed=case.seed)
    label = of_simulated(case, labels("simulated"), shares(run))
    with tempfile.TemporaryDirectory() as folder:
        return _told("simulated", case.label, write(run, Path(folder)), label)


def recorded(folder: Path = RECORDED) -> list[Told]:
    """Every labelled recorded run."""
    known = labels("recorded")
    return [_told("recorded", name, folder / name, label) for name, label in known.items()]


def public(folder: Path = PUBLIC) -> list[Told]:
    """Every labelled public trace; none where they do not lie beside the checkout."""
    known = labels("public") if folder.is_dir() else {}
    return [_told("public", name, folder / name, label) for name, label in known.items()]


def _told(source: str, name: str, path: Path, label: Label) -> Told:
    try:
        return Told(source, name, label, said_of(perfkit.analyze(path).findings))
    except PerfkitError:
        return Told(source, name, label, refused=True)


def storage() -> list[Told]:
    """Every labelled storage case."""
    known = labels("storage")
    return [
        Told("storage", name, known[name], said_of(advise(diagnosis_of(table)).findings))
        for name, table in tables("storage").items()
    ]


def compute() -> list[Told]:
    """Every labelled program whose kernels do work that has a cheaper form, or have that form."""
    known = labels("compute")
    with tempfile.TemporaryDirectory() as folder:
        return [
            _told("compute", name, write_program(table, Path(folder)), known[name])
            for name, table in tables("compute").items()
        ]


def host() -> list[Told]:
    """Every labelled run by its clocks, faults, NUMA nodes and memory."""
    known = labels("host")
    with tempfile.TemporaryDirectory() as folder:
        return [
            _told("host", name, write_run(table, Path(folder) / name), known[name])
            for name, table in tables("host").items()
        ]


def made() -> list[Told]:
    """Every labelled trace and Capture that tests make."""
    return [_made(name, label) for name, label in labels("made").items()]


def _made(name: str, label: Label) -> Told:
    with tempfile.TemporaryDirectory() as folder:
        return _told("made", name, PATHS[name](Path(folder)), label)
