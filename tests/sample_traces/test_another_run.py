"""Another run of a simulated program: other draws and clocks, the same program."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from statistics import stdev

import pytest

from sample_traces.simulator import fixed_again, inject
from sample_traces.simulator.another import GPU_SIGMA, HOST_SIGMA, another_run
from sample_traces.simulator.faults import HEALTHY
from sample_traces.simulator.run import train

STEPS = 8


def test_paces_differ_as_those_of_two_runs() -> None:
    paces = [another_run(HEALTHY, seed)[0].pace for seed in range(400)]
    for found, sigma in (
        ([pace.kernels for pace in paces], GPU_SIGMA),
        ([pace.communication for pace in paces], GPU_SIGMA),
        ([pace.host for pace in paces], HOST_SIGMA),
    ):
        assert stdev(map(log, found)) == pytest.approx(sqrt(2) * sigma, rel=0.15)


def test_each_program_and_seed_has_a_run_of_its_own() -> None:
    other = replace(HEALTHY, layers=4)
    assert another_run(HEALTHY, 0) == another_run(HEALTHY, 0)
    assert another_run(HEALTHY, 0)[1] != another_run(HEALTHY, 1)[1]
    assert another_run(HEALTHY, 0)[0].pace != another_run(other, 0)[0].pace


def test_what_is_rare_comes_at_other_steps_as_often() -> None:
    pausing = replace(HEALTHY, gc_every=4, gc_us=5_000.0)
    pauses = []
    for phase in range(4):
        run = train(replace(pausing, phase=phase), 0, STEPS)
        begins = [mark.start for mark in run.marks]
        found = [span.start for span in run.spans if span.name == "Python GC"]
        pauses.append([sum(begin <= at for begin in begins) - 1 for at in found])
    assert pauses == [[2, 6], [1, 5], [0, 4], [3, 7]]


def test_fixes_are_those_of_the_same_run_and_their_times_are_near() -> None:
    faults = {"item_per_step": 0.2}
    same, again = inject(faults, 0).truth["fixes"], fixed_again(faults, 0)
    assert set(again) == set(same)
    for fix, times in again.items():
        assert times["wall_ns"] != same[fix]["wall_ns"]
        assert times["wall_ns"] == pytest.approx(same[fix]["wall_ns"], rel=0.12)
