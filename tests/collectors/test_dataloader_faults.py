"""What goes wrong in a loader stays the user's own, and what goes wrong in perfkit stays inside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from perfkit.collectors import dataloader, fetching
from perfkit.collectors.dataloader import DataLoaders
from perfkit.collectors.protocol import Run
from perfkit.model.capture import BatchMade
from tests.collectors.loading import Broken, Numbers, fail_worker, of_type, records, started

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[DataLoaders]:
    with started(tmp_path / "run") as running:
        yield running


def outcome(loader: DataLoader[Any]) -> tuple[type[BaseException], str]:
    """What ends the loop, without line numbers and process ids."""
    iterator: Any = iter(loader)
    try:
        list(iterator)
    except BaseException as error:
        text = re.sub(r'  File ".*?(?=  File |\n\w)', "", str(error), flags=re.DOTALL)
        return type(error), text
    finally:
        if loader.num_workers:  # torch ends workers slowly where only the collector of cycles can
            iterator._shutdown_workers()
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        (Broken(ValueError("bad sample 3")), {}),
        (Broken(ValueError("bad sample 3")), {"num_workers": 1}),
        (Broken(KeyboardInterrupt()), {}),
        (Numbers(), {"num_workers": 1, "worker_init_fn": fail_worker}),
    ],
    ids=["error", "error in a worker", "interrupt", "worker_init_fn"],
)
def test_errors_are_the_users_own(
    dataset: Dataset[Any], options: dict[str, Any], tmp_path: Path
) -> None:
    if "num_workers" in options:
        options = {**options, "multiprocessing_context": "fork"}
    theirs = outcome(DataLoader(dataset, 1, **options))
    with started(tmp_path):
        ours = outcome(DataLoader(dataset, 1, **options))
    assert ours == theirs


@pytest.mark.parametrize("workers", [0, 1])
def test_a_collector_that_fails_inside_leaves_the_loader_working(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("inside perfkit")

    (tmp_path / "run").mkdir()
    for target, name in ((fetching.Maker, "_begin"), (dataloader, "standing_ready")):
        collector = DataLoaders()
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            collector.start(Run(folder=tmp_path / "run"))
            loader = DataLoader(Numbers(), 5, num_workers=workers,
                                multiprocessing_context="fork" if workers else None)  # fmt: skip
            assert len(list(loader)) == 2
        collector.stop()


def test_a_folder_that_cannot_be_written_leaves_the_loader_working(tmp_path: Path) -> None:
    collector = DataLoaders()
    collector.start(Run(folder=tmp_path / "absent"))
    loader = DataLoader(Numbers(), 5, num_workers=1, multiprocessing_context="fork")
    assert len(list(loader)) == 2
    with pytest.raises(FileNotFoundError):
        collector.stop()


def test_a_forked_child_loads_unseen(collector: DataLoaders, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        count = len(list(DataLoader(Numbers(), 5)))
        collector.stop()
        os._exit(0 if count == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert records(tmp_path / "run") == []
    assert len(list(DataLoader(Numbers(), 5))) == 2
    assert len(of_type(BatchMade, collector, tmp_path)) == 2


LOSES_A_WORKER = """
import os, signal, sys, time
from pathlib import Path
from torch.utils.data import DataLoader
from perfkit.collectors.dataloader import DataLoaders
from perfkit.collectors.protocol import Run

DataLoaders().start(Run(folder=Path(sys.argv[1])))
iterator = iter(DataLoader(range(10), num_workers=1, multiprocessing_context="fork"))
next(iterator)
time.sleep(1.2)
os.kill(iterator._workers[0].pid, signal.SIGKILL)
list(iterator)
"""


def test_a_killed_worker_loses_at_most_a_second(tmp_path: Path) -> None:
    # in a process of its own: torch raises on whatever line runs when a worker dies
    command = [sys.executable, "-c", LOSES_A_WORKER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    made = [record for record in records(tmp_path) if isinstance(record, BatchMade)]
    assert len(made) == 3


def test_what_a_signal_raises_inside_reaches_the_loop(
    collector: DataLoaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(*_: object) -> None:
        raise RuntimeError("a worker died")

    before = signal.signal(signal.SIGUSR1, handler)
    monkeypatch.setattr(
        dataloader, "standing_ready", lambda _: os.kill(os.getpid(), signal.SIGUSR1)
    )
    try:
        with pytest.raises(RuntimeError, match="a worker died"):
            next(iter(DataLoader(Numbers())))
    finally:
        signal.signal(signal.SIGUSR1, before)
