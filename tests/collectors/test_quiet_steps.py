"""`p.steps()` times every turn and every wait, also while no collector has to be told of steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors.session import current
from perfkit.model.capture import BatchWait, StepTimes
from tests.collectors.training import rank_file, records, step_count

torch: Any = pytest.importorskip("torch")
QUIET = 305
"""A step by which collectors rest."""
SLOW_S, SLOW_US = 0.03, 30_000


def times(capture: Path) -> tuple[list[float], list[float]]:
    """Wall time and data wait of every step."""
    blocks = records(capture, StepTimes)
    wall = list(chain.from_iterable(block.wall_us for block in blocks))
    return wall, list(chain.from_iterable(block.data_us for block in blocks))


class Samples(torch.utils.data.Dataset):  # type: ignore[misc]
    """Numbers, of which one is slow and one is broken."""

    def __init__(self, count: int, slow: int = -1, broken: int = -1) -> None:
        self._count, self._slow, self._broken = count, slow, broken

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> int:
        if number == self._broken:
            raise OSError("the disk is gone")
        time.sleep(SLOW_S * (number == self._slow))
        return number


def waits(capture: Path) -> tuple[int, list[str], float]:
    """Batches that records tell of, their parts that are no batches, and the longest waits' sum."""
    found = records(capture, BatchWait)
    batches = sum(wait.batches for wait in found if wait.part == "batch")
    others = [wait.part for wait in found if wait.part != "batch"]
    return batches, others, sum(wait.wait_us for wait in found if wait.part == "batch")


def slow(us: list[float]) -> list[int]:
    return [step for step, took in enumerate(us) if took >= SLOW_US]


def slow_at(batch: int, count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(SLOW_S * (number == batch))
        yield number


def test_a_slow_batch_and_a_slow_turn_are_those_of_their_steps(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        for number in p.steps(slow_at(QUIET, 320)):
            time.sleep(SLOW_S * (number == QUIET + 3))
    wall, data = times(tmp_path)
    assert len(wall) == 320
    assert slow(data) == [QUIET]
    assert slow(wall) == [QUIET, QUIET + 3]


def test_steps_take_all_of_the_loops_time(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        began = time.perf_counter()
        for _ in p.steps(range(2000)):
            time.sleep(1e-4)
        took_us = (time.perf_counter() - began) * 1e6
    wall, data = times(tmp_path)
    assert 0.9 * took_us < sum(wall) <= took_us
    assert sum(data) < 0.2 * sum(wall)


def test_another_profiler_sees_the_phases_of_the_steps_after_its_start(tmp_path: Path) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities):
        pass  # the first start takes so long that collectors rest no more
    theirs = torch.profiler.profile(activities=activities)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        for number in p.steps(range(QUIET + 10)):
            if number == QUIET:
                theirs.start()
            if number == QUIET + 3:
                theirs.stop()
            time.sleep(0.003 * (number >= QUIET))
    assert [event.name for event in theirs.events()].count("perfkit::data") == 3


def test_a_loaders_error_reaches_the_loop_and_ends_its_wait(tmp_path: Path) -> None:
    def broken() -> Iterator[int]:
        yield from range(QUIET)
        raise OSError("the disk is gone")

    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        with pytest.raises(OSError, match="the disk is gone"):
            for _ in p.steps(broken()):
                pass
        for _ in p.steps(slow_at(4, 6)):
            pass
    wall, data = times(tmp_path)
    assert slow(data) == [QUIET + 4]
    assert len(wall) == step_count(tmp_path) == QUIET + 6


def test_a_loop_that_goes_on_after_the_run_adds_nothing(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        turns = iter(p.steps(range(QUIET + 20)))
        for _ in range(QUIET):
            next(turns)
    assert list(turns) == list(range(QUIET, QUIET + 20))
    assert current() is None
    assert step_count(tmp_path) == QUIET - 1


def test_every_wait_for_a_data_loader_is_told_of(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(QUIET + 10, slow=QUIET), batch_size=None)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        for _ in range(2):
            assert [int(batch) for batch in p.steps(loader)] == list(range(QUIET + 10))
    batches, others, waited_us = waits(tmp_path)
    assert (batches, others) == (2 * (QUIET + 10), ["start", "end"] * 2)
    assert 2 * SLOW_US < waited_us < sum(times(tmp_path)[0])
    assert slow(times(tmp_path)[1]) == [QUIET, 2 * QUIET + 10]


def test_waits_before_a_break_are_told_of(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(2 * QUIET), batch_size=None)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        for number, _ in enumerate(p.steps(loader)):
            if number == QUIET:
                break
    assert waits(tmp_path)[:2] == (QUIET + 1, ["start"])


def test_a_data_loaders_error_leaves_no_wait(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(2 * QUIET, broken=QUIET), batch_size=None)
    with (
        perfkit.profile(tmp_path, repeat=0, watch=False) as p,
        pytest.raises(OSError, match="the disk is gone"),
    ):
        for _ in p.steps(loader):
            pass
    assert waits(tmp_path)[:2] == (QUIET, ["start"])


def test_who_else_stands_before_a_loaders_batches_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    loader = torch.utils.data.DataLoader(Samples(QUIET + 10), batch_size=None)
    with perfkit.profile(tmp_path, repeat=0, watch=False) as p:
        base = torch.utils.data.dataloader._BaseDataLoaderIter
        ours = base.__next__

        def theirs(iterator: Any) -> Any:
            asked.append(iterator)
            return ours(iterator)

        monkeypatch.setattr(base, "__next__", theirs)
        for _ in p.steps(loader):
            pass
        monkeypatch.undo()
    assert len(asked) == QUIET + 11
    assert waits(tmp_path)[:2] == (QUIET + 10, ["start", "end"])


def test_a_window_has_a_wait_that_is_told_of_in_full(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Samples(60), batch_size=None)
    with perfkit.profile(tmp_path, wait=30, warmup=1, active=5, repeat=1, watch=False) as p:
        for _ in p.steps(loader):
            time.sleep(0.002)
    (window,) = rank_file(tmp_path).windows
    single = [w.batch for w in records(tmp_path, BatchWait) if w.batches == 1]
    assert any(window.first_step <= batch < window.first_step + 5 for batch in single)
