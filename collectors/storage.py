"""Where the run's files lie: file systems, layouts, and what their clients counted meanwhile."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from perfkit.collectors import lustre, nfs
from perfkit.collectors.guard import attempt, say_once
from perfkit.collectors.mounts import Mount, device_of, family, mount_of, mounts, url_mount
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.collectors.scan import seen
from perfkit.model.capture import FileSystem, Sight

Role = Literal["dataset", "checkpoint", "capture"]

PATIENCE_S = 5.0
"""How long one place may take before it counts as hung."""
_STOP_S = 1.0
_MOST_PATHS = 4000
_UNKNOWN = Mount(point="", kind="unknown", source="")

_running: list[Storage] = []


def notice(paths: Iterable[str], role: Role) -> None:
    """Tell the storage collectors that run of paths the run uses. Returns at once."""
    known = list(paths)
    for storage in tuple(_running):
        storage.add(known, role)


def file_system(path: str, role: Role) -> FileSystem:
    """Where a file, a folder or a URL lies.

    Folders are looked through for a short time only. On a dead
    server this blocks, so never call it where that matters. FileNotFoundError where it is not.
    """
    return place_of([path], role)


def place_of(paths: Sequence[str], role: Role) -> FileSystem:
    """The same of paths on one mount, some of which may not exist; several are a sample."""
    url = url_mount(paths[0])
    if url is not None:
        return _described(_common(paths), role, url)
    there = [path for path in paths if os.path.exists(path)]  # noqa: PTH110
    real = os.path.realpath(there[0] if there else paths[0], strict=True)
    found = mount_of(real, mounts(), device_of(real)) or _UNKNOWN
    inside = seen(there)
    is_lustre = found.family == "lustre"
    return msgspec.structs.replace(
        _described(_common(there), role, found),
        files=inside.files,
        bytes=inside.bytes,
        partial=inside.partial or len(there) > 1,
        largest_bytes=inside.largest_bytes if inside.files else None,
        file_types=inside.file_types or None,
        layout=lustre.described(inside.largest or real, found.source) if is_lustre else None,
    )


def _described(path: str, role: Role, mount: Mount) -> FileSystem:
    return FileSystem(
        role=role,
        path=path,
        kind=mount.kind,
        family=family(mount.kind, mount.source),
        mount=mount.point,
        source=mount.source,
        options=list(mount.options),
    )


def client_counters(place: FileSystem) -> dict[str, float]:
    """What this machine's client counted on that mount so far; empty where it does not say."""
    if place.family == "lustre":
        return lustre.client_counters(place.source)
    return nfs.client_counters(place.mount) if place.family == "nfs" else {}


class Storage:
    """Looks at every place it is told of, in a thread that a hung file system may keep for ever."""

    name = "storage"

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[tuple[list[str], Role] | None] = queue.SimpleQueue()
        self._known: set[tuple[Role, str]] = set()
        self._found: list[tuple[FileSystem, dict[str, float]]] = []
        self._hung: set[str] = set()
        self._records: RecordFile | None = None
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()

    def sight(self) -> Sight:
        """The network file systems mounted here, and what their clients do not tell."""
        table = mounts()
        remote = [m for m in table if m.family not in {"local", "memory", "overlay", "other"}]
        missing = [] if table else ["/proc/self/mountinfo cannot be read: mount /proc."]
        return Sight(
            collector=self.name,
            active=bool(table),
            sees=["file system of paths", *(f"{m.kind} at {m.point}" for m in remote)],
            missing=[*missing, *_lustre_blanks(remote)],
        )

    def start(self, run: Run) -> None:
        """Begin with the folder that the run is recorded to."""
        self._records = run.records("storage")
        self._thread = threading.Thread(target=self._work, name="perfkit-storage", daemon=True)
        self._thread.start()
        _running.append(self)
        self.add([str(run.folder)], "capture")

    def stop(self) -> None:
        """Write the counters of the places found; what hangs is left behind."""
        if self in _running:
            _running.remove(self)
        if self._thread is None or os.getpid() != self._owner:
            return
        self._told.put(None)
        self._thread.join(_STOP_S)
        if self._records is not None:
            self._records.close()

    def add(self, paths: Sequence[str], role: Role) -> None:
        """Look, later, at the places that hold these paths."""
        told = [path for path in map(_absolute, paths) if (role, path) not in self._known]
        if told and os.getpid() == self._owner and len(self._known) < _MOST_PATHS:
            self._known.update((role, path) for path in told)
            self._told.put((told, role))

    def _work(self) -> None:
        while (told := self._told.get()) is not None:
            attempt("Looking at storage", self._look, *told)
        attempt("Reading storage counters", self._finish)

    def _look(self, paths: Sequence[str], role: Role) -> None:
        for group in _places(paths):
            place = self._patiently(group, role)
            if place is None:
                continue
            self._found.append((place, client_counters(place)))
            self._add(place)
        if self._records is not None:
            self._records.flush()

    def _patiently(self, paths: Sequence[str], role: Role) -> FileSystem | None:
        """The place, or what mountinfo alone says where its file system does not answer.

        None where nothing is there: not every text in a dataset is a path.
        """
        guess = _described(_common(paths), role, _without_touching(paths[0]))
        if guess.mount in self._hung:
            return guess
        answer: list[FileSystem | None] = []
        thread = threading.Thread(
            target=lambda: answer.append(_place_or_none(paths, role)),
            name="perfkit-storage-look",
            daemon=True,
        )
        thread.start()
        thread.join(PATIENCE_S)
        if thread.is_alive():
            self._hung.add(guess.mount)
            say_once(f"{guess.mount} ({guess.kind}) does not answer: no more is asked of it.")
        return answer[0] if answer else guess

    def _finish(self) -> None:
        for place, base in self._found:
            now = client_counters(place)
            gained = {key: value - base.get(key, 0.0) for key, value in now.items()}
            counters = {key: value for key, value in gained.items() if value > 0}
            if counters:
                self._add(msgspec.structs.replace(place, counters=counters))

    def _add(self, place: FileSystem) -> None:
        if self._records is not None:
            self._records.add(place)


def _place_or_none(paths: Sequence[str], role: Role) -> FileSystem | None:
    try:
        return place_of(paths, role)
    except OSError:
        return None


def _without_touching(path: str) -> Mount:
    """The mount as the path's text says: symbolic links are not followed, nothing is asked."""
    return url_mount(path) or mount_of(_absolute(path), mounts()) or _UNKNOWN


def _absolute(path: str) -> str:
    return path if url_mount(path) else os.path.abspath(path)  # noqa: PTH100 (no file is touched)


def _common(paths: Sequence[str]) -> str:
    """The folder that holds them all."""
    if len(paths) == 1:
        return paths[0]
    url = url_mount(paths[0])
    return url.point if url else os.path.commonpath(paths)


def _places(paths: Sequence[str]) -> list[list[str]]:
    """The paths that lie on one mount together; those below another of them are left out."""
    groups: dict[str, list[str]] = {}
    for path in sorted(dict.fromkeys(paths), key=len):
        group = groups.setdefault(_without_touching(path).point, [])
        if not any(path.startswith(kept.rstrip("/") + "/") for kept in group):
            group.append(path)
    return [group for group in groups.values() if group]


def _lustre_blanks(remote: Sequence[Mount]) -> list[str]:
    sources = {mount.source for mount in remote if mount.family == "lustre"}
    if not sources or any(lustre.client_counters(source) for source in sources):
        return []
    return [
        "Lustre's client counters are readable by root only: have the administrator open "
        "/sys/kernel/debug/lustre/llite to you, or read `lctl get_param llite.*.stats` as root."
    ]
