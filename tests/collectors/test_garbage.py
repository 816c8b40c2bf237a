"""Collections of garbage on the training thread."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from perfkit.collectors import garbage
from perfkit.collectors.garbage import Garbage
from perfkit.collectors.protocol import Run
from perfkit.model.capture import Collection, Record


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Garbage]:
    before, collector = list(gc.callbacks), Garbage()
    collector.start(Run(folder=tmp_path))
    yield collector
    collector.stop()
    assert gc.callbacks == before


def records(folder: Path) -> list[Collection]:
    path = folder / "garbage.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    decoded = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in decoded if isinstance(record, Collection)]


def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every collection counts as long."""
    monkeypatch.setattr(garbage, "_SHORTEST_NS", 0)


def full(found: list[Collection]) -> list[Collection]:
    return [one for one in found if one.generation == 2]


def test_a_long_collection_is_recorded_when_it_ran(collector: Garbage, tmp_path: Path) -> None:
    held = [[number] for number in range(400_000)]
    began = time.time_ns()
    gc.collect()
    took_us = (time.time_ns() - began) / 1000
    collector.tick()
    collector.stop()
    record = full(records(tmp_path))[-1]  # after those that building the list caused
    assert len(held) == 400_000
    assert 1000 <= record.dur_us <= took_us
    assert began - 1_000_000 <= record.start_ns <= began + took_us * 1000


def test_a_short_collection_is_not(
    collector: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "_SHORTEST_NS", 1 << 62)
    gc.collect()
    collector.stop()
    assert records(tmp_path) == []


def test_collections_of_other_threads_are_not(
    collector: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch)
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    collector.stop()
    assert full(records(tmp_path)) == []


def test_the_training_thread_is_the_one_that_steps(
    collector: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch)

    def train() -> None:
        collector.tick()
        gc.collect()

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    collector.stop()
    assert len(full(records(tmp_path))) == 1


def test_a_collection_that_began_before_start_is_not(tmp_path: Path) -> None:
    collector = Garbage()
    collector.start(Run(folder=tmp_path))
    collector._hear("stop", {"generation": 2})
    collector.stop()
    assert records(tmp_path) == []


def test_nothing_is_heard_after_stop(
    collector: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch)
    collector.stop()
    found = len(records(tmp_path))
    gc.collect()
    collector.stop()
    assert len(records(tmp_path)) == found


def test_stop_without_start_and_a_cleared_list() -> None:
    Garbage().stop()
    assert Garbage().sight().active
