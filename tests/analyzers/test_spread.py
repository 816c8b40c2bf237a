"""What the interval of a prediction is made of: the path, other clocks, the spread of the steps."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.whatif import edited, what_if
from perfkit.analyzers.whatif.errors import GPU_SIGMA, HOST_SIGMA, OF_STEP
from perfkit.analyzers.whatif.spread import Path, between_runs, path_of, sampling
from tests.analyzers.programs import Action, recorded, trace_of


def facts_with(kernel_us: float, host_us: float) -> Facts:
    step = [Action("kernel", host_us, kernel_us) for _ in range(20)] + [Action("sync", 2.0)]
    return facts_of(trace_of(recorded([step] * 8)))


def path(facts: Facts) -> Path:
    steps = facts.stretch
    edit = edited(steps, [], optimistic=False)
    return path_of(edit.graph(), steps.times(edit), steps.part.waited)


def test_the_path_goes_through_what_sets_the_pace() -> None:
    assert path(facts_with(kernel_us=90.0, host_us=5.0)).gpu > 0.9
    assert path(facts_with(kernel_us=2.0, host_us=90.0)).host > 0.9
    for found in (path(facts_with(90.0, 5.0)), path(facts_with(2.0, 90.0))):
        assert found.gpu + found.host + found.unexplained == pytest.approx(1.0, abs=1e-6)


def test_other_clocks_matter_where_they_set_the_pace() -> None:
    steady = np.full(16, 1_000_000)
    alone = 1.645 * sqrt(2)
    assert between_runs(Path(1.0, 0.0, 0.0), steady) == pytest.approx(alone * GPU_SIGMA)
    assert between_runs(Path(0.0, 1.0, 0.0), steady) == pytest.approx(alone * HOST_SIGMA)
    assert between_runs(Path(0.0, 0.0, 0.0), steady) == 0.0


def test_the_spread_is_that_of_a_block_bootstrap() -> None:
    random = np.random.default_rng(0)
    steps = (1e6 * (1 + 0.2 * random.standard_normal(27))).astype(np.int64)
    around = np.concatenate((steps, steps[:2]))
    begins = random.integers(0, 27, size=(20_000, 9))  # nine blocks of 27^(1/3) steps
    means = around[begins[:, :, None] + np.arange(3)].mean(axis=(1, 2))
    assert sampling(steps) == pytest.approx(means.std() / steps.mean(), rel=0.03)


def test_steps_that_are_alike_or_few_have_no_spread() -> None:
    assert sampling(np.full(10, 5)) == 0.0
    assert sampling(np.array([1, 9, 2])) == 0.0


def test_more_steps_tell_the_mean_better() -> None:
    some = np.tile([1_000, 1_400, 900, 1_300, 1_100], 4)
    assert sampling(np.tile(some, 4)) < 0.7 * sampling(some)


def test_an_exact_gain_keeps_its_error_small_and_its_interval_as_wide_as_runs_differ() -> None:
    facts = facts_with(kernel_us=90.0, host_us=5.0)
    mean = facts.stretch.mean_us
    gain = what_if(facts, ["host=2"]).fixes[0].gain_us
    assert gain.error is not None and gain.low is not None and gain.high is not None
    assert OF_STEP * mean <= gain.error < 0.01 * mean
    assert gain.high - gain.low > 2 * 1.645 * sqrt(2) * GPU_SIGMA * 0.9 * mean
