"""Checkpoints are timed, and written as without perfkit."""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys
import threading
import types
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from perfkit.collectors.checkpoints import RANGE, Checkpoints
from perfkit.collectors.protocol import Run
from perfkit.model.capture import CheckpointWrite, Record

STATE = {"weight": torch.arange(1000.0)}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Checkpoints]:
    (tmp_path / "run").mkdir()
    collector = Checkpoints()
    collector.start(Run(folder=tmp_path / "run", running_step=lambda: 7))
    yield collector
    collector.stop()


def written(collector: Checkpoints, tmp_path: Path) -> list[CheckpointWrite]:
    collector.stop()
    path = tmp_path / "run" / "checkpoints.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in records if isinstance(record, CheckpointWrite)]


def test_a_save_is_recorded_with_its_size_and_step(collector: Checkpoints, tmp_path: Path) -> None:
    target = tmp_path / "model.pt"
    torch.save(STATE, target)
    (record,) = written(collector, tmp_path)
    assert (record.call, record.path, record.step) == ("torch.save", str(target), 7)
    assert record.bytes == target.stat().st_size
    assert record.dur_us == record.blocking_us > 0
    assert torch.equal(torch.load(target)["weight"], STATE["weight"])


def test_a_save_on_another_thread_holds_nobody(collector: Checkpoints, tmp_path: Path) -> None:
    collector.tick()
    thread = threading.Thread(target=torch.save, args=(STATE, tmp_path / "model.pt"))
    thread.start()
    thread.join()
    (record,) = written(collector, tmp_path)
    assert record.dur_us > record.blocking_us == 0
    assert record.bytes == (tmp_path / "model.pt").stat().st_size


def test_files_and_memory_are_targets_too(collector: Checkpoints, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    buffer.write(b"head")
    torch.save(STATE, f=buffer)
    with (tmp_path / "open.pt").open("wb") as file:
        torch.save(STATE, file)
    memory, opened = written(collector, tmp_path)
    assert (memory.path, memory.bytes) == (None, len(buffer.getvalue()) - 4)
    assert (opened.path, opened.bytes) == (file.name, (tmp_path / "open.pt").stat().st_size)


def test_names_are_put_back(tmp_path: Path) -> None:
    before = torch.save, torch.serialization.save
    collector = Checkpoints()
    collector.start(Run(folder=tmp_path))
    assert torch.save is not before[0]
    assert torch.save is torch.serialization.save
    collector.stop()
    assert (torch.save, torch.serialization.save) == before


def test_a_name_that_was_wrapped_meanwhile_stays_and_falls_silent(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = torch.save
    monkeypatch.setattr(torch, "save", functools.partial(ours))
    theirs = torch.save
    assert written(collector, tmp_path) == []
    assert torch.save is theirs
    torch.save(STATE, tmp_path / "late.pt")
    assert written(collector, tmp_path) == []


def test_a_failing_save_fails_as_it_would(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = str(tmp_path / "absent" / "model.pt")
    with pytest.raises(RuntimeError) as ours:
        torch.save(STATE, target)
    assert written(collector, tmp_path) == []
    with pytest.raises(RuntimeError) as theirs:
        torch.save(STATE, target)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


def test_a_collector_that_fails_leaves_the_save_alone(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(collector, "_begin", fail)
    torch.save(STATE, tmp_path / "a.pt")
    monkeypatch.undo()
    monkeypatch.setattr(collector, "_record", fail)
    torch.save(STATE, tmp_path / "b.pt")
    assert (tmp_path / "a.pt").exists() and (tmp_path / "b.pt").exists()


def test_the_trace_shows_it(collector: Checkpoints, tmp_path: Path) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.save(STATE, tmp_path / "model.pt")
    assert [event.key for event in profiler.key_averages()].count(RANGE) == 1


@pytest.mark.filterwarnings("ignore:torch.distributed is:UserWarning")
def test_only_the_outermost_call_counts(collector: Checkpoints, tmp_path: Path) -> None:
    dcp = importlib.import_module("torch.distributed.checkpoint")
    collector.step(0)
    result = dcp.save(STATE, checkpoint_id=tmp_path / "dcp")
    (record,) = written(collector, tmp_path)
    assert type(result).__name__ == "Metadata"
    assert record.call == "torch.distributed.checkpoint.save"
    assert record.path == str(tmp_path / "dcp")
    sizes = [path.stat().st_size for path in (tmp_path / "dcp").glob("*.distcp")]
    assert record.bytes == sum(sizes) > 4000


class Library:
    """A module that saves in the background, and with a thread of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.future: Future[str] = Future()
        module: Any = types.ModuleType("torch.distributed.checkpoint")
        module.async_save = self.async_save
        monkeypatch.setitem(sys.modules, "torch.distributed.checkpoint", module)
        self.module = module

    def async_save(self, state: object, *, checkpoint_id: str) -> Future[str]:
        self.thread = threading.Thread(target=self._write, args=(state, checkpoint_id))
        self.thread.start()
        return self.future

    def _write(self, state: object, path: str) -> None:
        self.release.wait(20)
        try:
            torch.save(state, path)
        except RuntimeError as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(path)


def test_what_goes_on_in_the_background_is_told_from_what_blocks(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(monkeypatch)
    collector.tick()
    target = str(tmp_path / "a.pt")
    assert library.module.async_save(STATE, checkpoint_id=target) is library.future
    torch.save(STATE, tmp_path / "meanwhile.pt")
    library.release.set()
    library.thread.join(20)
    meanwhile, background = written(collector, tmp_path)
    assert meanwhile.path == str(tmp_path / "meanwhile.pt")
    assert background.call == "torch.distributed.checkpoint.async_save"
    assert background.dur_us > background.blocking_us
    assert background.bytes == Path(target).stat().st_size
    assert not background.unfinished


def test_a_write_that_outlives_the_run_is_unfinished(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(monkeypatch)
    collector.tick()
    library.module.async_save(STATE, checkpoint_id=str(tmp_path / "a.pt"))
    (record,) = written(collector, tmp_path)
    library.release.set()
    library.thread.join(20)
    assert record.unfinished
    assert record.bytes is None
    assert written(collector, tmp_path) == [record]


def test_a_write_that_fails_in_the_background_is_no_checkpoint(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(monkeypatch)
    collector.tick()
    library.module.async_save(STATE, checkpoint_id=str(tmp_path / "absent" / "a.pt"))
    library.release.set()
    library.thread.join(20)
    assert isinstance(library.future.exception(), RuntimeError)
    assert written(collector, tmp_path) == []


def test_safetensors_is_hooked_where_it_is_imported(
    collector: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_file(tensors: object, filename: str, metadata: object = None) -> None:
        Path(filename).write_bytes(b"x" * 10)

    module: Any = types.ModuleType("safetensors.torch")
    module.save_file = save_file
    monkeypatch.setitem(sys.modules, "safetensors.torch", module)
    collector.tick()
    module.save_file({}, str(tmp_path / "m.safetensors"))
    (record,) = written(collector, tmp_path)
    assert (record.call, record.bytes) == ("safetensors.torch.save_file", 10)
    assert module.save_file is save_file


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_saves_unseen(collector: Checkpoints, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        torch.save({"number": 1}, tmp_path / "child.pt")
        collector.stop()
        os._exit(0 if (tmp_path / "child.pt").exists() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert written(collector, tmp_path) == []


def test_sight_needs_no_run() -> None:
    sight = Checkpoints().sight()
    assert sight.active
    assert "torch.save" in sight.sees
