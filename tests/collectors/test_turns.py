"""A loop over `p.steps()` goes as it goes over the loader: batches, errors, what lives how long."""

from __future__ import annotations

import copy
import gc
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors import phases as perfkit_phases
from perfkit.collectors import steps as perfkit_steps
from perfkit.collectors.session import current
from tests.collectors.test_quiet_steps import QUIET, Samples, times, waits
from tests.collectors.training import rank_file, step_count

torch: Any = pytest.importorskip("torch")
Steps = Callable[[Iterable[Any]], Iterable[Any]]


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    """`p.steps` of a run in which collectors rest already."""
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        for _ in p.steps(range(QUIET)):
            pass
        yield p.steps


def shuffled() -> Any:
    return torch.utils.data.DataLoader(list(range(20)), batch_size=None, shuffle=True)


def drawn(steps: Steps) -> list[float]:
    """Two shuffled loaders side by side, and a random number after an iterator's start."""
    torch.manual_seed(0)
    pairs = zip(steps(shuffled()), steps(shuffled()), strict=True)
    given = [float(number) for pair in pairs for number in pair]
    turns = iter(steps(shuffled()))
    return [*given, float(torch.rand(1)), *map(float, turns)]


def test_random_numbers_are_drawn_in_the_loaders_order(steps: Steps) -> None:
    assert drawn(steps) == drawn(lambda loader: loader)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("broken", [0, 5, QUIET])
def test_a_loop_may_skip_broken_batches(steps: Steps, broken: int, workers: int) -> None:
    loader = torch.utils.data.DataLoader(
        Samples(QUIET + 10, broken=broken), batch_size=None, num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    given, errors = skipping(steps(loader))
    assert given == [number for number in range(QUIET + 10) if number != broken]
    assert errors == 1


def skipping(loader: Iterable[Any], pause_s: float = 0.0) -> tuple[list[int], int]:
    turns, given, errors = iter(loader), list[int](), 0
    while True:
        try:
            given.append(int(next(turns)))
        except StopIteration:
            return given, errors
        except OSError:
            errors += 1
            time.sleep(pause_s)


def test_time_after_a_skipped_batch_is_no_wait(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(2 * QUIET, broken=QUIET), batch_size=None)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        given, _ = skipping(p.steps(loader), pause_s=0.3)
    wall, data = times(tmp_path)
    assert len(given) == len(wall) == 2 * QUIET - 1
    assert max(wall) > 300_000
    assert max(data) < 200_000
    assert waits(tmp_path)[:2] == (2 * QUIET - 1, ["start", "end"])


class Batch:
    """Can be referred to weakly."""


def test_a_batch_the_user_deletes_is_freed_at_once(steps: Steps) -> None:
    alive = 0
    for batch in steps(Batch() for _ in range(2 * QUIET)):
        seen = weakref.ref(batch)
        del batch
        alive += seen() is not None
    assert alive == 0


def trained(folder: Path) -> weakref.ref[Batch]:
    """What a function trains with, which has returned; collectors have settled meanwhile."""
    mine = Batch()
    with perfkit.profile(folder, repeat=0, watch=False) as p:
        for _ in p.steps(range(QUIET)):
            pass
    return weakref.ref(mine)


def test_what_a_training_function_holds_is_freed_as_it_returns(tmp_path: Path) -> None:
    gc.disable()
    try:
        assert trained(tmp_path)() is None
    finally:
        gc.enable()


def test_waits_of_a_loop_that_is_kept_are_told_of(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(4 * QUIET), batch_size=None)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        turns = iter(p.steps(loader))
        for _ in range(3 * QUIET):
            next(turns)
    assert waits(tmp_path)[:2] == (3 * QUIET, ["start"])
    assert len(list(turns)) == QUIET
    assert step_count(tmp_path) == 3 * QUIET - 1


def test_a_run_may_be_stopped_while_a_batch_is_made(tmp_path: Path) -> None:
    def stopping() -> Iterator[int]:
        for number in range(2 * QUIET):
            if number == QUIET:
                p.__exit__(None, None, None)
            yield number

    p = perfkit.profile(tmp_path, repeat=0, watch=False)
    with p:
        assert list(p.steps(stopping())) == list(range(2 * QUIET))
    assert step_count(tmp_path) == QUIET


class Own:
    """Its `__next__` is its class's, whatever it has under that name."""

    def __init__(self) -> None:
        self.left = 2 * QUIET
        setattr(self, "__next__", None)  # noqa: B010

    def __iter__(self) -> Own:
        return self

    def __next__(self) -> int:
        self.left -= 1
        if not self.left:
            raise StopIteration
        return self.left


def test_the_classs_next_is_asked(steps: Steps) -> None:
    assert len(list(steps(Own()))) == 2 * QUIET - 1


class Refusing:
    """Raises what a loop takes for its end, before the loop."""

    def __iter__(self) -> Iterator[int]:
        raise StopIteration


def test_an_error_of_iter_is_the_loaders_own(steps: Steps) -> None:
    with pytest.raises(StopIteration):
        iter(steps(Refusing()))


def test_an_iterator_has_the_loaders_iterators_attributes(steps: Steps) -> None:
    log: list[str] = []

    def closing() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            log.append("closed")

    turns: Any = iter(steps(closing()))
    next(turns)
    turns.close()
    assert (log, list(turns), bool(turns)) == (["closed"], [], True)
    of_torch: Any = iter(steps(shuffled()))
    assert (len(of_torch), of_torch._num_workers) == (20, 0)


def test_what_steps_returns_is_as_true_as_the_loader_and_can_be_copied(steps: Steps) -> None:
    assert bool(steps(number for number in range(3)))
    assert (bool(steps([])), bool(steps([0]))) == (False, True)
    assert list(copy.copy(steps([1, 2]))) == list(copy.deepcopy(steps([1, 2]))) == [1, 2]


def test_two_loops_at_once_do_not_pass_the_step_of_a_window(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path, wait=400, warmup=1, active=1, watch=False) as p:
        for _ in zip(p.steps(range(400)), p.steps(range(400)), strict=True):
            time.sleep(1e-4)
    (window,) = rank_file(tmp_path).windows
    assert 401 <= window.first_step < 450


@pytest.mark.parametrize("timed_by", [perfkit_steps, perfkit_phases], ids=["quiet", "watched"])
def test_an_interrupt_at_the_end_of_a_wait_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed_by: Any
) -> None:
    asked: list[int] = []

    def interrupted() -> int:
        if asked:
            raise KeyboardInterrupt
        asked.append(time.perf_counter_ns())
        return asked[0]

    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        turns, running = iter(p.steps(range(4 * QUIET))), current()
        for _ in range(QUIET if timed_by is perfkit_steps else 1):
            next(turns)
        monkeypatch.setattr(timed_by, "perf_counter_ns", interrupted)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(4):
                next(turns)
        monkeypatch.undo()
        assert running is not None
        assert not running.phases.wait.is_on
