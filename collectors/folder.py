"""A Capture on disk, as one rank writes it: its folder, the manifest and the rank's facts."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from perfkit.collectors.environment import environment, ranks
from perfkit.collectors.guard import attempt
from perfkit.collectors.records import write_document
from perfkit.model.capture import (
    MANIFEST,
    RANK_FILE,
    Manifest,
    RankFile,
    Schedule,
    Window,
    rank_folder,
)
from perfkit.version import __version__


class CaptureFolder:
    """Makes `<root>/rank<N>` and keeps its `rank.json` true; OSError where that cannot be written.

    What an earlier run left under the same name stays beside it as `rank<N>.previous`.
    """

    def __init__(self, root: Path, schedule: Schedule, profiled_ranks: list[int] | None) -> None:
        rank, local_rank, world_size = ranks()
        self.root = root.absolute()
        self.path = self.root / rank_folder(rank)
        self._lock = threading.Lock()
        self._facts = RankFile(
            perfkit_version=__version__,
            rank=rank,
            world_size=world_size,
            local_rank=local_rank,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ns=time.time_ns(),
            schedule=schedule,
        )
        _make_room(self.path)
        self.update()
        if rank == 0:
            self._write_manifest(profiled_ranks)

    @property
    def facts(self) -> RankFile:
        """What `rank.json` says."""
        return self._facts

    def update(self, **changes: Any) -> None:
        """Change facts by their names in RankFile, and write them; safe from any thread."""
        with self._lock:
            known = attempt("The environment", environment) or self._facts.environment
            self._facts = msgspec.structs.replace(self._facts, environment=known, **changes)
            write_document(self.path / RANK_FILE, self._facts)

    def add_window(self, window: Window) -> None:
        """A profiled window's trace file is complete."""
        self.update(windows=[*self._facts.windows, window])

    def _write_manifest(self, profiled_ranks: list[int] | None) -> None:
        manifest = Manifest(
            perfkit_version=__version__,
            started_ns=self._facts.started_ns,
            world_size=self._facts.world_size,
            script=Path(sys.argv[0]).name if sys.argv and sys.argv[0] else None,
            profiled_ranks=profiled_ranks,
        )
        write_document(self.root / MANIFEST, manifest)


def _make_room(folder: Path) -> None:
    """An empty folder, which can be written to; an earlier run's moves aside."""
    if folder.exists():
        previous = folder.with_name(f"{folder.name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        folder.replace(previous)
    folder.mkdir(parents=True)
