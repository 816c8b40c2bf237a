"""Loaders are watched, and give what they give without perfkit."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torch.utils.data import dataloader as torch_loader
from torch.utils.data._utils import fetch as torch_fetch

from perfkit.collectors import fetching, loaders
from perfkit.collectors import records as perfkit_records
from perfkit.collectors.dataloader import DataLoaders
from perfkit.collectors.dataset_paths import dataset_paths
from perfkit.collectors.protocol import Run
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, Record
from tests.collectors.loading import (
    ITEMS,
    Numbers,
    Reading,
    Stream,
    of_type,
    records,
    seed_worker,
    slow_collate,
    started,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[DataLoaders]:
    with started(tmp_path / "run") as running:
        yield running


def batches(make: Callable[[], DataLoader[Any]], epochs: int = 2) -> list[Any]:
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    loader = make()
    given: list[Any] = [batch for _ in range(epochs) for batch in loader]
    return [*given, torch.rand(1), torch.tensor([random.random()])]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


LOADERS: list[dict[str, Any]] = [
    {"dataset": Numbers(), "batch_size": 3},
    {"dataset": Numbers(), "batch_size": 3, "shuffle": True, "drop_last": True, "num_workers": 2},
    {"dataset": Numbers(), "batch_size": None, "num_workers": 1},
    {"dataset": Numbers(), "batch_size": 4, "num_workers": 2, "persistent_workers": True},
    {"dataset": Numbers(), "batch_size": 4, "num_workers": 2, "worker_init_fn": seed_worker},
    {"dataset": Stream(), "batch_size": 3},
    {"dataset": Stream(), "batch_size": None},
    {"dataset": Stream(), "batch_size": 2, "num_workers": 2, "persistent_workers": True},
]


def describe(options: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={getattr(type(v), '__name__', v) if key == 'dataset' else v!r}"
        for key, v in options.items()
        if not callable(v)
    )


@pytest.mark.parametrize("options", LOADERS, ids=describe)
def test_batches_are_the_same_bit_for_bit_and_all_are_recorded(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perfkit_records, "_CLOSE_NS", 0)
    monkeypatch.setattr(loaders, "_CLOSE_NS", 0)
    options = (
        {"multiprocessing_context": "fork", **options} if "num_workers" in options else options
    )
    theirs = batches(lambda: DataLoader(**options))
    folder = tmp_path / "run"
    folder.mkdir()
    collector = DataLoaders()
    collector.start(Run(folder=folder))
    ours = batches(lambda: DataLoader(**options))
    collector.stop()
    assert same(ours, theirs)
    check(records(folder), options, given=len(ours) - 2)


def check(found: list[Record], options: dict[str, Any], given: int) -> None:
    (info,) = (record for record in found if isinstance(record, LoaderInfo))
    waits = [record for record in found if isinstance(record, BatchWait)]
    made = [record for record in found if isinstance(record, BatchMade)]
    workers = options.get("num_workers", 0)
    assert info.num_workers == workers
    assert info.kind == ("iterable" if isinstance(options["dataset"], Stream) else "map")
    assert [wait.batch for wait in waits if wait.part == "batch"] == list(range(given))
    assert [wait.part for wait in waits].count("start") == 2
    assert [wait.part for wait in waits].count("end") == 2
    assert len(made) == given
    assert {record.worker for record in made} == (set(range(workers)) if workers else {None})
    assert sum(record.items or 0 for record in made) == 2 * (9 if "drop_last" in options else 10)
    if workers:
        asked = [wait for wait in waits if wait.part == "batch"]
        assert all(wait.ready is not None and wait.ready >= 0 for wait in asked)
        known = [wait.worker for wait in asked if wait.worker is not None]
        assert len(known) >= given - 2 * workers
        for worker in range(workers):
            assert known.count(worker) <= sum(record.worker == worker for record in made)
        assert os.getpid() not in {record.pid for record in made}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_of_every_start_method_are_watched(
    method: str, collector: DataLoaders, tmp_path: Path
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    loader = DataLoader(
        Numbers(), 5, num_workers=1, multiprocessing_context=method, worker_init_fn=seed_worker
    )
    given = list(loader)
    random.seed(0)
    expected = [random.random() for _ in range(ITEMS)]
    assert torch.cat(given)[:, 1].tolist() == torch.tensor(expected).tolist()
    made = of_type(BatchMade, collector, tmp_path)
    assert [(record.batch, record.items) for record in made] == [(0, 5), (1, 5)]
    (info,) = of_type(LoaderInfo, collector, tmp_path)
    assert info.start_method == method


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_batch_cost_is_told_apart(
    workers: int, collector: DataLoaders, tmp_path: Path
) -> None:
    path = tmp_path / "sample"
    path.write_bytes(b"x" * 5000)
    loader = DataLoader(
        Reading(path), batch_size=4, num_workers=workers, collate_fn=slow_collate,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    assert list(loader) == [[5000] * 4]
    (made,) = of_type(BatchMade, collector, tmp_path)
    assert made.collate_us >= 20_000
    assert made.fetch_us < made.collate_us
    assert made.cpu_us < 20_000
    if not os.access(fetching.IO, os.R_OK):
        pytest.skip("no /proc/self/io here")
    assert 4 * 5000 <= made.rchar < 4 * 5000 + 4000
    assert 4 <= made.syscr < 12


class Uneven(Numbers):
    """The first sample takes until the others are long done."""

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.4 if index == 0 else 0.0)
        return super().__getitem__(index)


@pytest.mark.parametrize("in_order", [True, False])
def test_batches_before_their_turn_are_counted(
    in_order: bool, collector: DataLoaders, tmp_path: Path
) -> None:
    loader = DataLoader(Uneven(), batch_size=1, num_workers=2, in_order=in_order,
                        multiprocessing_context="fork")  # fmt: skip
    assert len(list(loader)) == ITEMS
    waits = [w for w in of_type(BatchWait, collector, tmp_path) if w.part == "batch"]
    if in_order:
        assert waits[0].early and waits[0].early >= 1
        assert waits[0].wait_us > 200_000
    else:
        assert {wait.early for wait in waits} == {None}


class Burning(Numbers):
    """A second thread computes as long as the first one does, as far as there are cores."""

    def __getitem__(self, index: int) -> torch.Tensor:
        buffer = bytes(40_000_000)
        threads = [threading.Thread(target=zlib.crc32, args=(buffer,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return super().__getitem__(index)


def test_processor_time_of_all_threads_is_told_beside_the_makers(
    collector: DataLoaders, tmp_path: Path
) -> None:
    loader = DataLoader(Burning(), batch_size=5, num_workers=1, multiprocessing_context="fork")
    assert len(list(loader)) == 2
    for batch in of_type(BatchMade, collector, tmp_path):
        assert batch.process_cpu_us > 2 * batch.cpu_us
        assert batch.run_delay_us is None or batch.run_delay_us >= 0


def test_the_users_objects_look_as_before(collector: DataLoaders) -> None:
    loader = DataLoader(Numbers(), num_workers=1, worker_init_fn=seed_worker,
                        multiprocessing_context="fork")  # fmt: skip
    before = dict(vars(loader))
    iterator = iter(loader)
    next(iterator)
    assert vars(loader) == before
    assert loader.worker_init_fn is seed_worker
    single: Any = iter(DataLoader(Numbers()))
    next(single)
    assert single._dataset_fetcher.collate_fn is single._collate_fn
    collector.stop()
    assert vars(iterator)["_worker_init_fn"] is seed_worker


def hooks() -> list[object]:
    owners: list[Any] = [
        torch_loader.DataLoader,
        torch_loader._BaseDataLoaderIter,
        torch_loader._MultiProcessingDataLoaderIter,
        torch_fetch._MapDatasetFetcher,
        torch_fetch._IterableDatasetFetcher,
    ]
    return [dict(vars(owner)) for owner in owners]


def test_stop_undoes_every_patch(tmp_path: Path) -> None:
    before = hooks()
    collector = DataLoaders()
    collector.start(Run(folder=tmp_path))
    assert hooks() != before
    collector.stop()
    assert hooks() == before


def test_a_patch_that_cannot_be_undone_falls_silent(
    collector: DataLoaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base: Any = torch_loader._BaseDataLoaderIter
    ours = base.__next__
    with monkeypatch.context() as theirs:
        theirs.setattr(base, "__next__", lambda iterator: ours(iterator))  # noqa: PLW0108
        collector.stop()
        assert len(list(DataLoader(Numbers(), 5))) == 2
    assert records(tmp_path / "run") == []
    base.__next__ = ours.__wrapped__


def test_persistent_workers_fall_silent_at_stop(collector: DataLoaders, tmp_path: Path) -> None:
    loader = DataLoader(Numbers(), 5, num_workers=1, persistent_workers=True,
                        multiprocessing_context="fork")  # fmt: skip
    assert len(list(loader)) == 2
    collector.stop()
    assert len(list(loader)) == 2
    del loader
    assert len(of_type(BatchMade, collector, tmp_path)) == 2


def test_a_loop_that_already_runs_is_watched(tmp_path: Path) -> None:
    loader = DataLoader(Numbers(), 2)
    iterator = iter(loader)
    next(iterator)
    collector = DataLoaders()
    collector.start(Run(folder=tmp_path))
    assert len(list(iterator)) == 4
    del iterator
    assert len(list(loader)) == 5
    collector.stop()
    found = records(tmp_path)
    assert [record.loader for record in found if isinstance(record, LoaderInfo)] == [0]
    assert sum(isinstance(record, BatchMade) for record in found) == 9


def test_each_wait_is_inside_the_runs_wait(tmp_path: Path) -> None:
    log: list[str] = []

    def begin() -> bool:
        log.append("in")
        return log.count("in") != 2  # the second is inside of another wait

    collector = DataLoaders()
    run = Run(folder=tmp_path, begin_wait=begin, end_wait=lambda done: log.append(f"done {done}"))
    collector.start(run)
    log.extend("body" for _ in DataLoader(Numbers(), 5))
    collector.stop()
    assert log == ["in", "done True", "body", "in", "body", "in", "done False"]


def test_waits_between_those_told_of_are_summed_up(collector: DataLoaders, tmp_path: Path) -> None:
    loader: DataLoader[int] = DataLoader(range(300))  # type: ignore[arg-type]
    began_ns = time.perf_counter_ns()
    assert sum(len(list(loader)) for _ in range(2)) == 600
    took_us = (time.perf_counter_ns() - began_ns) / 1000
    found = of_type(object, collector, tmp_path)
    waits = [wait for wait in found if isinstance(wait, BatchWait) and wait.part == "batch"]
    ends = [wait.batch + wait.batches for wait in waits]
    assert [wait.batch for wait in waits] == [0, *ends[:-1]]
    assert ends[-1] == 600
    assert max(wait.batches for wait in waits) > 50
    assert sum(wait.wait_us for wait in waits) < took_us
    told = {wait.batch for wait in waits if wait.batches == 1}
    made = [batch.batch for batch in found if isinstance(batch, BatchMade)]
    assert made[:8] == list(range(8))
    assert set(made) <= told


def test_paths_come_from_attributes_and_nothing_lazy_is_touched() -> None:
    class Files(Numbers):
        def __init__(self) -> None:
            self.root = Path("/data")
            self.samples = [(f"{i}.jpg", 0) for i in range(1000)]
            self.files = (f"/lazy/{i}" for i in range(10))
            self.transform = "not a path"

        @property
        def imgs(self) -> list[str]:
            raise AssertionError("a property was called")

    dataset = Files()
    paths = dataset_paths(ConcatDataset([Subset(dataset, [0]), Numbers()]))
    assert paths[0] == "/data"
    assert paths[1] == "/data/0.jpg"
    assert len(paths) <= 48
    assert next(dataset.files) == "/lazy/0"


def test_sight_needs_no_run() -> None:
    sight = DataLoaders().sight()
    assert sight.active
    assert sight.sees
