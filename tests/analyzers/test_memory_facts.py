"""Memory that grows from step to step is told apart from noise and start-up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfkit.analyzers.memory_facts import memory
from perfkit.model.capture import MemoryStep
from tests.captures import as_read

GB = 10**9


def held(step: int, allocated: int, **more: Any) -> MemoryStep:
    return MemoryStep(
        step=step, allocated_bytes=allocated, reserved_bytes=8 * GB,
        peak_allocated_bytes=allocated + GB, **more,
    )  # fmt: skip


def test_memory_that_creeps_shows_through_noise_and_outliers() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(-5_000_000, 5_000_000, 1000).tolist()
    steps = [held(i, 2 * GB + 1_000_000 * i + noise[i]) for i in range(1000)]
    steps[700] = held(700, 7 * GB, retries=2, peak_by_phase_bytes={"backward": 9 * GB})
    found = memory(as_read(*steps))
    assert found is not None
    assert found.creep_bytes_per_step == pytest.approx(1_000_000, rel=0.02)
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (8 * GB, 8 * GB)
    assert (found.retries, found.ooms) == (2, None)
    assert found.peak_by_phase_bytes == {"backward": 9 * GB}


def test_steady_memory_does_not_creep() -> None:
    grown = [held(i, min(i, 30) * 10**8) for i in range(400)]  # what the first steps allocate
    found = memory(as_read(*grown))
    assert found is not None
    assert found.creep_bytes_per_step == 0
    few = memory(as_read(*grown[:10]))
    assert few is not None
    assert few.creep_bytes_per_step is None
