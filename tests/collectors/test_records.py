"""What a killed run, a full disk or a fork leaves behind can be read."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest

from perfkit.collectors.records import Pace, RecordFile, write_document
from perfkit.model.capture import Collection, Manifest, Record


def collection(start: int) -> Collection:
    return Collection(start_ns=start, dur_us=1.5, generation=2)


def lines(path: Path) -> list[Record]:
    return [msgspec.json.decode(line, type=Record) for line in path.read_bytes().splitlines()]


def test_records_come_back_as_they_were_added(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "gc.jsonl")
    added = [collection(i) for i in range(3000)]
    for record in added:
        file.add(record)
    file.close()
    assert lines(file.path) == added


def test_a_record_is_made_when_it_is_written_and_one_that_fails_is_left_out(
    tmp_path: Path,
) -> None:
    file, made = RecordFile(tmp_path / "gc.jsonl"), list[int]()

    def make(start: int) -> Collection:
        made.append(start)
        return collection(start // (start - 2))

    for start in (1, 2, 3):
        file.add_later(make, start)
    file.add(collection(4))
    assert made == []
    file.close()
    assert made == [1, 2, 3]
    assert lines(file.path) == [collection(-1), collection(3), collection(4)]


def test_records_of_several_threads_are_all_written_once(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "gc.jsonl")

    def add(first: int) -> None:
        for start in range(first, first + 2000):
            file.add(collection(start))

    threads = [threading.Thread(target=add, args=(n * 2000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    starts = [record.start_ns for record in lines(file.path) if isinstance(record, Collection)]
    assert sorted(starts) == list(range(8000))


def test_nothing_is_written_without_a_record(tmp_path: Path) -> None:
    RecordFile(tmp_path / "gc.jsonl").close()
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_writes_nothing_of_its_parents(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "gc.jsonl")
    file.add(collection(1))
    child = os.fork()
    if child == 0:
        file.add(collection(2))
        file.close()
        os._exit(0)
    os.waitpid(child, 0)
    file.close()
    assert lines(file.path) == [collection(1)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_a_record_is_added_does_not_hang(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "gc.jsonl")
    with file._lock:  # as another thread would hold it
        child = os.fork()
    if child == 0:
        signal.alarm(5)
        file._lock.acquire(blocking=False)
        file.add(collection(2))
        file.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_full_disk_is_told_once_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RecordFile(tmp_path / "gc.jsonl")
    file.add(collection(1))
    file.flush()
    real = os.write

    def full(handle: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    file.add(collection(2))
    with pytest.raises(OSError, match="No space"):
        file.flush()
    monkeypatch.undo()
    file.add(collection(3))
    file.close()
    assert lines(file.path) == [collection(1)]


def test_a_document_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "capture.json"
    write_document(path, Manifest(perfkit_version="1", started_ns=1))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        write_document(path, Manifest(perfkit_version="2", started_ns=2))
    assert msgspec.json.decode(path.read_bytes(), type=Manifest).perfkit_version == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["capture.json"]


@pytest.mark.parametrize(
    ("first", "apart_ms", "count", "all_of", "then"),
    [(50, 40, 1050, 50, 200), (200, 1, 3008, 8, 100)],
    ids=["all of the first, then five a second", "few that follow each other closely"],
)
def test_a_pace_lets_the_very_first_through_and_then_some(
    monkeypatch: pytest.MonkeyPatch, first: int, apart_ms: int, count: int, all_of: int, then: int
) -> None:
    now = [0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
    pace = Pace(first=first, per_second=5.0)
    passed = []
    for i in range(count):
        now[0] = i * apart_ms * 1_000_000
        passed.append(pace.is_due())
    assert all(passed[:all_of])
    assert then - 2 <= sum(passed[all_of:]) <= then + 1
