"""The allocator's numbers, read without changing what the run reads."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perfkit.collectors.memory import Memory
from perfkit.collectors.protocol import Run
from perfkit.model.capture import MemoryStep, Record


class FakeCuda:
    """An allocator whose numbers a test sets; `cuda.memory` is the module of that name."""

    def __init__(self, *, initialized: bool = True, backend: str = "native") -> None:
        self.initialized, self.backend = initialized, backend
        self.allocated = self.reserved = self.peak = 100
        self.history: list[Any] = []
        self.ooms = 2
        self.fails = False
        self.memory = self

    def is_initialized(self) -> bool:
        return self.initialized

    def get_allocator_backend(self) -> str:
        return self.backend

    def memory_stats_as_nested_dict(self) -> dict[str, Any]:
        assert self.initialized, "this would initialize CUDA"

        def of(current: int, peak: int) -> dict[str, Any]:
            return {"all": {"current": current, "peak": peak}, "small_pool": {}}

        return {
            "allocated_bytes": of(self.allocated, self.peak),
            "reserved_bytes": of(self.reserved, 2 * self.peak),
            "inactive_split_bytes": of(7, 8),
            "num_alloc_retries": 1,
            "num_ooms": self.ooms,
            "num_device_alloc": 30,
            "num_device_free": 4,
        }

    def reset_peak_memory_stats(self) -> None:
        raise AssertionError("this changes what the user reads")

    def _record_memory_history(self, enabled: str | None = "all", **more: int) -> None:
        assert self.initialized, "this would initialize CUDA"
        self.history.append(more or enabled)

    def _dump_snapshot(self, filename: str) -> None:
        Path(filename).write_bytes(pickle.dumps({"segments": []}))
        if self.fails:
            raise OSError(28, "No space left on device")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    install(monkeypatch, fake)
    return fake


def install(
    monkeypatch: pytest.MonkeyPatch,
    fake: FakeCuda,
    cuda: str | None = "12.4",
    hip: str | None = None,
) -> None:
    torch = SimpleNamespace(cuda=fake, version=SimpleNamespace(cuda=cuda, hip=hip))
    monkeypatch.setitem(sys.modules, "torch", torch)


def records(folder: Path) -> list[MemoryStep]:
    path = folder / "memory.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    decoded = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in decoded if isinstance(record, MemoryStep)]


def test_a_step_records_the_allocator(cuda: FakeCuda, tmp_path: Path) -> None:
    collector = Memory()
    collector.start(Run(folder=tmp_path))
    collector.step(0)
    collector.stop()
    assert records(tmp_path) == [
        MemoryStep(
            step=0,
            allocated_bytes=100,
            reserved_bytes=100,
            peak_allocated_bytes=100,
            peak_reserved_bytes=200,
            inactive_split_bytes=7,
            retries=1,
            ooms=2,
            device_mallocs=30,
            device_frees=4,
        )
    ]
    assert cuda.history == []


def test_the_step_that_ran_out_of_memory_is_recorded(cuda: FakeCuda, tmp_path: Path) -> None:
    collector = Memory()
    collector.start(Run(folder=tmp_path))
    collector.step(4)
    cuda.ooms, cuda.peak = 3, 900
    collector.stop()
    last = records(tmp_path)[-1]
    assert (last.step, last.ooms, last.peak_allocated_bytes) == (5, 3, 900)


def test_a_peak_is_a_steps_own_only_where_it_rose(cuda: FakeCuda, tmp_path: Path) -> None:
    collector = Memory()
    collector.start(Run(folder=tmp_path))
    # the fourth follows a reset by the user
    for step, cuda.peak in enumerate([100, 150, 150, 90, 120]):
        collector.step(step)
    collector.stop()
    assert [r.peak_rose for r in records(tmp_path)] == [False, True, False, False, True]
    assert [r.peak_allocated_bytes for r in records(tmp_path)] == [100, 150, 150, 90, 120]


def test_a_phase_has_what_was_allocated_at_its_end_or_the_peak_that_rose_in_it(
    cuda: FakeCuda, tmp_path: Path
) -> None:
    memory, run = Memory(), Run(folder=tmp_path)
    memory.start(run)
    memory.step(0)
    for allocated, peak, phase in (
        (300, 350, "forward"),
        (200, 500, "backward"),
        (90, 500, "optimizer"),
    ):
        cuda.allocated, cuda.peak = allocated, peak
        for call in run.on_phase_end:
            call(phase)
    memory.step(1)
    memory.step(2)
    memory.stop()
    _, first, second = records(tmp_path)
    assert first.peak_by_phase_bytes == {"forward": 350, "backward": 500, "optimizer": 90}
    assert second.peak_by_phase_bytes is None


def test_cuda_is_waited_for_and_never_initialized(cuda: FakeCuda, tmp_path: Path) -> None:
    cuda.initialized = False
    collector = Memory()
    collector.start(Run(folder=tmp_path, memory_snapshot=True))
    collector.step(0)
    cuda.initialized = True
    collector.step(1)
    collector.stop()
    assert [record.step for record in records(tmp_path)] == [1]


def test_quick_steps_are_not_all_recorded(
    cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    collector = Memory()
    run = Run(folder=tmp_path)
    collector.start(run)
    for step in range(300):
        now[0] += 1 / 64
        collector.step(step)
    monkeypatch.undo()
    collector.stop()
    steps = [record.step for record in records(tmp_path)]
    assert steps[:200] == list(range(200))
    assert steps[200:] == list(range(206, 300, 7))


def test_other_allocators_do_not_count_what_they_report_as_zero(
    cuda: FakeCuda, tmp_path: Path
) -> None:
    cuda.backend = "cudaMallocAsync"
    collector = Memory()
    collector.start(Run(folder=tmp_path))
    collector.step(0)
    collector.stop()
    (record,) = records(tmp_path)
    assert (record.retries, record.inactive_split_bytes, record.device_mallocs) == (None,) * 3
    assert record.allocated_bytes == 100
    assert "unset the backend" in collector.sight().missing[0]


def test_a_snapshot_is_written_whole(cuda: FakeCuda, tmp_path: Path) -> None:
    collector = Memory()
    collector.start(Run(folder=tmp_path, memory_snapshot=True))
    collector.step(0)
    collector.stop()
    assert cuda.history == [{"max_entries": 100_000}, None]
    assert pickle.loads((tmp_path / "memory_snapshot.pickle").read_bytes()) == {"segments": []}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["memory.jsonl", "memory_snapshot.pickle"]


def test_a_snapshot_that_fails_leaves_nothing_and_recording_ends(
    cuda: FakeCuda, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.fails = True
    collector = Memory()
    collector.start(Run(folder=tmp_path, memory_snapshot=True))
    collector.step(0)
    collector.stop()
    assert cuda.history[-1] is None
    assert [path.name for path in tmp_path.iterdir()] == ["memory.jsonl"]


def test_a_forked_child_writes_no_snapshot(
    cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Memory()
    collector.start(Run(folder=tmp_path, memory_snapshot=True))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    collector.stop()
    assert not list(tmp_path.iterdir())


def test_sight_says_why_there_is_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "run a script" in Memory().sight().missing[0]
    install(monkeypatch, FakeCuda(initialized=False), cuda=None)
    assert "built for CPUs" in Memory().sight().missing[0]
    install(monkeypatch, FakeCuda(initialized=False))
    assert "has not used a GPU" in Memory().sight().missing[0]
    install(monkeypatch, FakeCuda(), cuda=None, hip="6.2")
    assert Memory().sight().active


def test_with_the_real_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_initialized():
        pytest.skip("CUDA is in use in this process")
    collector = Memory()
    collector.start(Run(folder=tmp_path, memory_snapshot=True))
    collector.step(0)
    collector.stop()
    assert records(tmp_path) == []
    assert not torch.cuda.is_initialized()
    assert not collector.sight().active
