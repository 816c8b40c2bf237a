"""Checkpoints and garbage collections, spread over the steps that they held up."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.occasion_facts import checkpoints, collections
from perfkit.model.capture import CheckpointWrite, Collection, StepTimes
from tests.captures import as_read

GB = 10**9
HUNDRED_STEPS = StepTimes(first=0, start_ns=0, wall_us=[1e5] * 100, data_us=[0.0] * 100)
TEN_STEPS = StepTimes(first=0, start_ns=0, wall_us=[1000.0] * 10, data_us=[0.0] * 10)


def write(at_s: float = 1.0, **more: Any) -> CheckpointWrite:
    usual: dict[str, Any] = {"dur_us": 2e6, "blocking_us": 5e5, "call": "torch.save"}
    return CheckpointWrite(start_ns=round(at_s * 1e9), **(usual | more))


def test_checkpoints_are_spread_over_all_steps() -> None:
    found = checkpoints(
        as_read(HUNDRED_STEPS, write(bytes=4 * GB), write(), write(bytes=GB, unfinished=True)), 100
    )
    assert found is not None
    assert (found.count, found.mean_us, found.blocking_mean_us) == (3, 2e6, 5e5)
    assert found.count_in_steps == 3
    assert found.blocking_us_per_step == pytest.approx(15_000)
    assert found.bytes_per_s == pytest.approx(2 * GB)
    assert found.calls == ["torch.save"]
    unknown = checkpoints(as_read(write()), 0)
    assert unknown is not None
    assert (unknown.blocking_us_per_step, unknown.bytes_per_s) == (None, None)
    assert unknown.count_in_steps is None


def test_checkpoints_before_and_after_the_steps_hold_none_up() -> None:
    outside = [write(-3.0), write(10.0), write(60.0)]  # steps take from 0 to 10 s
    found = checkpoints(as_read(HUNDRED_STEPS, *outside), 100)
    assert found is not None
    assert (found.count, found.count_in_steps, found.blocking_us_per_step) == (3, 0, 0.0)
    last = checkpoints(as_read(HUNDRED_STEPS, *outside, write(9.9)), 100)
    assert last is not None
    assert last.count_in_steps == 1
    assert last.blocking_us_per_step == pytest.approx(1000)


def test_checkpoints_between_blocks_of_steps_count() -> None:
    blocks = [
        StepTimes(first=0, start_ns=0, wall_us=[1e6] * 5, data_us=[0.0] * 5),
        StepTimes(first=5, start_ns=9 * GB, wall_us=[1e6] * 5, data_us=[0.0] * 5),
    ]
    found = checkpoints(as_read(*blocks, write(6.0)), 10)
    assert found is not None
    assert found.count_in_steps == 1
    assert found.blocking_us_per_step == pytest.approx(50_000)


def test_collections_are_spread_over_all_steps() -> None:
    pauses = [Collection(start_ns=0, dur_us=100.0, generation=g) for g in (0, 0, 1, 2)]
    found = collections(as_read(TEN_STEPS, *pauses), 10)
    assert found is not None
    assert (found.count, found.full_count, found.total_us) == (4, 1, 400.0)
    assert (found.us_per_step, found.count_per_step) == (40.0, 0.4)


def test_collections_outside_of_steps_hold_none_up() -> None:
    start_up = Collection(start_ns=-5_000_000, dur_us=900.0, generation=2)
    after = Collection(start_ns=10_000_000, dur_us=900.0, generation=2)
    assert collections(as_read(TEN_STEPS, start_up, after), 10) is None
    across = Collection(start_ns=9_900_000, dur_us=900.0, generation=2)
    found = collections(as_read(TEN_STEPS, start_up, across, after), 10)
    assert found is not None
    assert (found.count, found.total_us, found.longest_us) == (1, 100.0, 100.0)
