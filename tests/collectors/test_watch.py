"""Steps that become slow against the run's own baseline are noticed, and nothing else is."""

from __future__ import annotations

import random

import pytest

from perfkit.collectors.step_clock import Watch


def noisy(count: int, us: float, seed: int = 1, spread: float = 0.04) -> list[float]:
    rng = random.Random(seed)
    return [us * rng.lognormvariate(0, spread) for _ in range(count)]


def found(times: list[float], watch: Watch | None = None) -> str | None:
    watch = watch or Watch()
    blocks = [times[i : i + 10] for i in range(0, len(times), 10)]
    said = [slowdown for block in blocks if (slowdown := watch.add(block)) is not None]
    return "then ".join(said) or None


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_run_is_left_alone(seed: int) -> None:
    assert found(noisy(3000, 100_000, seed)) is None


@pytest.mark.parametrize("period", [8, 20])
def test_stalls_that_were_there_from_the_start_are_the_baseline(period: int) -> None:
    times = noisy(2000, 100_000)
    for i in range(0, 2000, period):
        times[i] += 300_000
    assert found(times) is None


def test_a_level_shift_is_found_once_and_then_is_the_baseline() -> None:
    watch = Watch()
    assert found(noisy(400, 100_000) + noisy(40, 130_000), watch) == "slow-steps"
    assert found(noisy(2000, 130_000), watch) is None
    assert found(noisy(60, 170_000), watch) == "slow-steps"


def test_faster_steps_are_no_slowdown() -> None:
    assert found(noisy(400, 100_000) + noisy(400, 60_000)) is None


def test_new_stalls_are_found() -> None:
    times = noisy(400, 100_000)
    times += [us + (300_000 if i % 8 == 0 else 0) for i, us in enumerate(noisy(60, 100_000))]
    assert found(times) == "slow-step"


def test_one_hiccup_is_not() -> None:
    assert found([*noisy(400, 100_000), 900_000, *noisy(400, 100_000)]) is None


def test_a_short_run_has_no_baseline() -> None:
    assert found(noisy(60, 100_000) + noisy(30, 200_000)) is None
