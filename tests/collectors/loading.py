"""Datasets, a collector and its records, for the tests of loaders."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from perfkit.collectors.dataloader import DataLoaders
from perfkit.collectors.protocol import Run
from perfkit.model.capture import Record

ITEMS = 10


class Numbers(Dataset[torch.Tensor]):
    """Samples that differ with every source of random numbers."""

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, index: int) -> torch.Tensor:
        noise = [random.random(), float(np.random.random()), float(torch.rand(()))]
        return torch.tensor([float(index), *noise])


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        info = torch.utils.data.get_worker_info()
        first, every = (info.id, info.num_workers) if info else (0, 1)
        return (torch.tensor([float(i), random.random()]) for i in range(first, ITEMS, every))


class Reading(Dataset[int]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return len(self.path.read_bytes())


class Broken(Numbers):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 3:
            raise self.error
        return super().__getitem__(index)


def seed_worker(worker: int) -> None:
    random.seed(worker)


def fail_worker(worker: int) -> None:
    raise LookupError(f"worker {worker} has no data")


def slow_collate(samples: list[int]) -> list[int]:
    time.sleep(0.02)
    return samples


def records(folder: Path) -> list[Record]:
    lines = [
        line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]
    return [msgspec.json.decode(line, type=Record) for line in lines]


def of_type(kind: type[Any], collector: DataLoaders, tmp_path: Path) -> list[Any]:
    collector.stop()
    return [record for record in records(tmp_path / "run") if isinstance(record, kind)]


class started:  # noqa: N801
    """A collector that runs within the block."""

    def __init__(self, folder: Path) -> None:
        self.collector = DataLoaders()
        self.folder = folder

    def __enter__(self) -> DataLoaders:
        self.folder.mkdir(exist_ok=True)
        self.collector.start(Run(folder=self.folder))
        return self.collector

    def __exit__(self, *_: object) -> None:
        self.collector.stop()
