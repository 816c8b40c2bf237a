"""Workers of a loader: their cores, memory and balance, exact and absent where not measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfkit.analyzers.loader_bound import Batches
from perfkit.analyzers.loader_facts import loaders
from perfkit.analyzers.worker_facts import workers
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, WorkerState
from perfkit.model.run_facts import LoaderFacts
from perfkit.model.worker_facts import WorkerFacts
from tests.captures import as_read

RNG = np.random.default_rng(5)
MB = 10**6


def made(worker: int | None, number: int, us: float = 20_000.0, **more: Any) -> BatchMade:
    return BatchMade(loader=0, worker=worker, pid=100 + (worker or 0), batch=number,
                     start_ns=number * 10**9 + (worker or 0), fetch_us=us, **more)  # fmt: skip


def crew(factors: list[float], count: int = 40, spread: float = 0.2) -> list[BatchMade]:
    """Batches of workers that take so many times 20 ms, scattered by this share."""
    return [
        made(worker, number, 20_000 * factor * float(1 + spread * RNG.standard_normal()))
        for worker, factor in enumerate(factors)
        for number in range(count)
    ]


def facts_of(batches: list[BatchMade], *states: WorkerState) -> WorkerFacts:
    found = workers(Batches.of(batches), list(states))
    assert found is not None
    return found


def state(pid: int, t_ns: int, **more: Any) -> WorkerState:
    return WorkerState(loader=0, worker=pid, pid=pid, t_ns=t_ns, **more)


def test_the_training_process_has_no_workers() -> None:
    assert workers(Batches.of([made(None, i) for i in range(9)]), []) is None


def test_cores_and_delay_are_shares_of_making() -> None:
    batches = [
        made(w, i, 10_000.0, process_cpu_us=25_000.0, run_delay_us=2000.0)
        for w in range(2)
        for i in range(5)
    ]
    found = facts_of(batches)
    assert (found.made, found.cores_used, found.delay_share) == (2, 2.5, 0.2)


def test_what_was_not_counted_is_absent() -> None:
    found = facts_of([made(w, i) for w in range(2) for i in range(5)])
    assert (found.cores_used, found.delay_share, found.threads, found.memory_bytes) == (
        None, None, None, None)  # fmt: skip


def test_a_slow_worker_stands_out() -> None:
    found = facts_of(crew([1, 1, 1.5, 1]))
    assert found.slowest == 2
    assert found.slowest_make_us == pytest.approx(30_000, rel=0.15)
    assert found.others_make_us == pytest.approx(20_000, rel=0.1)


def test_equal_workers_do_not() -> None:
    """300 crews of 16: the slowest of sixteen lies far out by chance, but not this far."""
    found = [facts_of(crew([1.0] * 16, count=20)).slowest for _ in range(300)]
    assert sum(one is not None for one in found) <= 3


@pytest.mark.parametrize("count", [3, 8])
def test_few_batches_do_not_tell(count: int) -> None:
    assert facts_of(crew([1, 1, 9], count=count)).slowest is None  # the first ones do not enter


def test_growth_is_between_a_workers_first_and_last_look() -> None:
    looks = [
        state(pid, t, anonymous_bytes=900 * MB + t * MB, private_bytes=pid * MB + 10 * t * MB,
              threads=3, torch_threads=1, memory_bytes=64_000 * MB)
        for pid in (1, 2) for t in (5, 0, 9)
    ]  # fmt: skip
    found = facts_of(crew([1, 1]), *looks)
    assert found.private_growth_bytes == 90 * MB
    assert found.anonymous_growth_bytes == 9 * MB
    assert found.private_bytes == 91.5 * MB
    assert (found.threads, found.torch_threads, found.memory_bytes) == (3, 1, 64_000 * MB)


def test_one_look_is_no_growth() -> None:
    found = facts_of(crew([1, 1]), state(1, 0, private_bytes=5, anonymous_bytes=9))
    assert (found.private_bytes, found.private_growth_bytes) == (5, None)


def test_looks_that_saw_no_memory_do_not_count() -> None:
    looks = [state(1, 0, private_bytes=5 * MB), state(1, 1, private_bytes=7 * MB), state(1, 2)]
    assert facts_of(crew([1, 1]), *looks).private_growth_bytes == 2 * MB


def loaded(*found: Any) -> LoaderFacts:
    (facts,) = loaders(as_read(*found), np.full(20, 10_000.0), np.full(20, 3000.0), None)
    return facts


def wait(i: int, us: float, ready: int | None = None, early: int | None = None) -> BatchWait:
    return BatchWait(loader=0, batch=i, start_ns=i, wait_us=us, ready=ready, early=early)


def test_waits_out_of_turn_are_those_in_which_others_stood_ready_and_were_left() -> None:
    waits = [
        wait(0, 600.0, ready=3, early=3),  # others were there, and stay
        wait(1, 100.0, ready=1, early=0),  # the one that was there was given
        wait(2, 200.0, ready=0, early=1),  # nothing was there
        wait(3, 100.0, ready=2, early=1),  # no longer than taking over takes
        wait(4, 5000.0),  # not looked at
    ]
    assert loaded(*waits).out_of_turn_share == pytest.approx(0.5)
    assert loaded(wait(0, 5.0)).out_of_turn_share is None


def test_a_loader_tells_its_items_its_longest_batch_and_its_order() -> None:
    info = LoaderInfo(loader=0, kind="map", dataset="D", num_workers=2, in_order=False)
    batches = [made(i % 2, i, 90_000.0 if i == 7 else 20_000.0, items=16) for i in range(20)]
    found = loaded(info, *batches)
    assert (found.items, found.longest_make_us, found.in_order) == (16, 90_000.0, False)
    assert found.workers is not None and found.workers.made == 2
