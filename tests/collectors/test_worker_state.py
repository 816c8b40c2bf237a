"""A worker's memory and threads are looked at, ever more rarely, and copies show as copies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from perfkit.collectors import worker_state
from perfkit.collectors.dataloader import DataLoaders
from perfkit.collectors.worker_state import States
from perfkit.model.capture import WorkerState
from tests.collectors.loading import of_type, started

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
ROLLUP = """564545072000-7fffbaa5b000 ---p 00000000 00:00 0                          [rollup]
Rss:             1950000 kB
Pss:              261000 kB
Private_Clean:      1200 kB
Private_Dirty:    400000 kB
Anonymous:       1800000 kB
"""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[DataLoaders]:
    with started(tmp_path / "run") as running:
        yield running


@pytest.fixture
def rollup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "smaps_rollup"
    path.write_text(ROLLUP)
    monkeypatch.setattr(worker_state, "_ROLLUP", path)
    return path


def test_memory_is_read_as_the_kernel_prints_it(rollup: Path) -> None:
    state = States(loader=3, worker=1).due()
    assert state is not None
    assert (state.loader, state.worker) == (3, 1)
    assert (state.anonymous_bytes, state.private_bytes) == (1_800_000 * 1024, 400_000 * 1024)
    assert state.torch_threads == torch.get_num_threads()


def test_looks_come_ever_more_rarely(rollup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    states, looked = States(0, 0), []
    for tenth in range(200):
        now[0] = tenth / 10
        looked += [now[0]] if states.due() else []
    assert looked == [0.0, 1.0, 3.0, 7.0, 15.0]


def test_memory_that_takes_long_to_count_is_counted_once(
    rollup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.3, 9.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    states = States(0, 0)
    first, second = states.due(), states.due()
    assert first is not None and second is not None
    assert (first.private_bytes is None, second.private_bytes) == (False, None)


def test_a_system_that_does_not_tell_is_absent(rollup: Path) -> None:
    rollup.unlink()
    state = States(0, 0).due()
    assert state is not None
    assert (state.private_bytes, state.anonymous_bytes) == (None, None)


class Objects(Dataset[int]):
    """Some hundred MB of Python objects, each read once."""

    def __init__(self, count: int) -> None:
        self.names = [f"sample number {i} of some" for i in range(count)]

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        time.sleep(0.15)
        part = len(self.names) // 12
        return sum(len(name) for name in self.names[index * part : (index + 1) * part])


def test_reading_objects_copies_them_into_a_forked_worker(
    collector: DataLoaders, tmp_path: Path
) -> None:
    loader = DataLoader(Objects(600_000), batch_size=1, num_workers=1,
                        multiprocessing_context="fork")  # fmt: skip
    list(loader)
    states = of_type(WorkerState, collector, tmp_path)
    assert len(states) >= 2
    first, last = states[0], states[-1]
    assert last.threads >= 1
    assert last.torch_threads == 1
    if last.private_bytes is None:
        pytest.skip("no /proc/self/smaps_rollup here")
    grown = last.private_bytes - first.private_bytes
    if grown < 1 << 20:
        pytest.skip("this kernel does not tell private pages apart")
    assert last.anonymous_bytes - first.anonymous_bytes < grown / 2
