"""What runs inside a DataLoader's worker process: it times the batches made there."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from perfkit.collectors.fetching import Fetch, Maker, ProcessIo
from perfkit.collectors.guard import attempt
from perfkit.collectors.records import Pace, RecordFile
from perfkit.collectors.worker_state import States
from perfkit.model.capture import BatchMade, FileSystem

_FLUSH_AFTER_S = 0.5
_LOOKS = 20
"""How often a worker looks at its open files."""
_NOT_DATA = ("/dev/", "/proc/", "/sys/", "/memfd:")

_watched: int | None = None


class Flag(Protocol):
    """Shared between processes: whether the run still collects."""

    value: bool


class WorkerStart:
    """Stands in for a loader's worker_init_fn: calls it, then watches the worker.

    It travels to the worker however that is started, so all of it can be pickled where the
    user's function can.
    """

    def __init__(
        self,
        user: Callable[[int], object] | None,
        loader: int,
        folder: Path,
        live: Flag,
        asked: int,
    ) -> None:
        self.user = user
        self.loader = loader
        self.folder = folder
        self.live = live
        self.asked = asked
        self.parent = os.getpid()

    def __call__(self, worker: int) -> None:
        """Start a worker as torch would, with what the user's function raises, and watch it."""
        if self.user is not None:
            self.user(worker)
        attempt("Watching a DataLoader worker", self._watch, worker)

    def _watch(self, worker: int) -> None:
        global _watched  # noqa: PLW0603
        # a worker may be a thread of the training process, and loaders of datapipes wrap twice
        if os.getpid() in {self.parent, _watched} or not self.live.value:
            return
        _watched = os.getpid()
        file = _WorkerFile(
            self.folder / f"worker-{self.loader}-{worker}-{os.getpid()}.jsonl",
            self.folder,
            States(self.loader, worker),
        )
        maker = Maker(self.loader, worker, file.add_later, ProcessIo())
        watch_fetchers(maker, Pace.after(self.asked), self.live)


def watch_fetchers(maker: Maker, pace: Pace, live: Flag) -> None:
    """Time batches of this worker's dataset at this pace while the run collects."""
    from torch.utils.data import get_worker_info
    from torch.utils.data._utils import fetch as module

    info = get_worker_info()
    if info is None:
        return
    counted = itertools.count()

    def number_if_due(fetcher: Any) -> int | None:
        # a dataset may use loaders of its own, which are not this worker's batches
        if fetcher.dataset is not info.dataset or not live.value:
            return None
        number = next(counted)
        return number if pace.is_due() else None

    for fetcher in (module._MapDatasetFetcher, module._IterableDatasetFetcher):
        fetcher.fetch = _timed(fetcher.fetch, maker, number_if_due)  # type: ignore[method-assign]


def _timed(fetch: Fetch, maker: Maker, number_if_due: Callable[[Any], int | None]) -> Fetch:
    def timed(fetcher: Any, index: Any) -> Any:
        number = number_if_due(fetcher)
        if number is None:
            return fetch(fetcher, index)
        return maker.make(fetch, fetcher, index, number)

    return timed


class _WorkerFile:
    """A worker's records, written from a thread half a second after they came.

    So a worker that is killed while it waits loses nothing, and storage that hangs holds no
    batch up. That thread also notes, a few times, on which file systems files are open, and what
    memory and threads the worker has.
    """

    def __init__(self, path: Path, folder: Path, states: States) -> None:
        self._file = RecordFile(path)
        self._states = states
        self._pending = threading.Event()
        self._thread: threading.Thread | None = None
        self._files = OpenFiles(str(folder))

    def add_later(self, make: Callable[..., BatchMade], *readings: Any) -> None:
        """Keep a record to be made and written soon."""
        self._file.add_later(make, *readings)
        if self._thread is None:
            self._begin()
        if not self._pending.is_set():
            self._pending.set()

    def _begin(self) -> None:
        from multiprocessing.util import Finalize

        self._thread = threading.Thread(target=self._work, name="perfkit-worker", daemon=True)
        self._thread.start()
        Finalize(None, attempt, ("Writing a worker's records", self._file.close), exitpriority=10)

    def _work(self) -> None:
        while self._pending.wait():
            attempt("Looking at open files", self._look)
            attempt("Looking at a worker's memory", self._weigh)
            time.sleep(_FLUSH_AFTER_S)
            self._pending.clear()
            attempt("Writing a worker's records", self._file.flush)

    def _weigh(self) -> None:
        state = self._states.due()
        if state is not None:
            self._file.add(state)

    def _look(self) -> None:
        for place in self._files.new_places():
            self._file.add(place)


class OpenFiles:
    """The file systems on which this process opens files; nothing is asked of these.

    What was open from the start, such as the log files of a forking parent, does not count.
    """

    def __init__(self, capture: str) -> None:
        self._capture = capture
        self._looks = 0
        self._known: set[str] = set()
        self._inherited = frozenset(_open_paths())

    def new_places(self) -> list[FileSystem]:
        """Those not reported before, each with one file as its path. None after some calls."""
        from perfkit.collectors.mounts import mount_of, mounts

        self._looks += 1
        paths = self._data_paths() if self._looks <= _LOOKS else []
        table = mounts() if paths else []
        found = {mount.point: (path, mount) for path in paths if (mount := mount_of(path, table))}
        fresh = [found[point] for point in found if point not in self._known]
        self._known.update(found)
        return [
            FileSystem(
                role="dataset",
                path=path,
                kind=mount.kind,
                family=mount.family,
                mount=mount.point,
                source=mount.source,
                options=list(mount.options),
            )
            for path, mount in fresh
        ]

    def _data_paths(self) -> list[str]:
        return [path for path in _open_paths() if self._is_data(path)]

    def _is_data(self, path: str) -> bool:
        if path in self._inherited or path.startswith((*_NOT_DATA, self._capture)):
            return False
        return path.startswith("/") and not path.endswith((" (deleted)", ".so", ".py", ".pyc"))


def _open_paths() -> list[str]:
    paths = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own is closed by now
            paths.append(str(link.readlink()))
    return paths
