"""What lies in a Capture folder: ranks, their facts, and the traces of profiled windows."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from perfkit.errors import PerfkitError
from perfkit.model.capture import MANIFEST, RANK_FILE, Manifest, RankFile

_RANK = re.compile(r"^rank(\d{1,9})$")
_FIRST_STEP = re.compile(r"(\d{1,15})")
_TRACES = ("*.pt.trace.json", "*.pt.trace.json.gz", "*.json", "*.json.gz")
_TRACE_WORDS = (b'"traceEvents"', b'"schemaVersion"')
_HEAD_BYTES = 4096
_MOST_NAMED = 5
T = TypeVar("T", Manifest, RankFile)


@dataclass(frozen=True)
class Recording:
    """A trace file of a profiled window; steps and reason are None where no record names it."""

    file: Path
    first_step: int | None = None
    steps: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class RankFolder:
    """One rank's folder; `facts` is None when the run left no readable rank.json."""

    rank: int
    path: Path
    facts: RankFile | None
    recordings: tuple[Recording, ...]


@dataclass(frozen=True)
class CaptureFolder:
    """A Capture: its ranks by number, at least one."""

    path: Path
    manifest: Manifest | None
    ranks: tuple[RankFolder, ...]
    named: int | None = None
    """The rank whose own folder was passed."""


def is_folder(path: str) -> bool:
    """Whether the path is a folder on this machine."""
    with suppress(OSError, ValueError):
        return path != "" and "://" not in path and Path(path).is_dir()
    return False


def capture_folder(path: str) -> CaptureFolder:
    """What is in the folder; PerfkitError when it is no Capture or cannot be read."""
    try:
        return _found(path, Path(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PerfkitError(f"Cannot read {path} ({reason}): pass a folder you may read.") from error


def _found(path: str, given: Path) -> CaptureFolder:
    root = given.resolve()
    named = _rank_of(root)
    if named is not None:
        root = root.parent if _RANK.match(root.name) else root
    ranks = (
        [_rank_folder(named, given.resolve())]
        if named is not None and root == given.resolve()
        else [_rank_folder(rank, folder) for rank, folder in _rank_folders(root)]
    )
    if not ranks:
        raise _no_capture(path, given)
    return CaptureFolder(root, _document(root / MANIFEST, Manifest), tuple(ranks), named)


def _rank_of(folder: Path) -> int | None:
    """The number of the rank whose folder this is, None for another folder."""
    facts = _document(folder / RANK_FILE, RankFile)
    if facts is not None:
        return facts.rank
    name = _RANK.match(folder.name)
    return int(name[1]) if name and not any(_rank_folders(folder)) else None


def _rank_folders(root: Path) -> list[tuple[int, Path]]:
    found = ((_RANK.match(child.name), child) for child in root.iterdir() if child.is_dir())
    return sorted((int(name[1]), child) for name, child in found if name)


def _rank_folder(rank: int, path: Path) -> RankFolder:
    facts = _document(path / RANK_FILE, RankFile)
    return RankFolder(rank, path, facts, tuple(_recordings(path, facts)))


def _recordings(folder: Path, facts: RankFile | None) -> list[Recording]:
    """The windows that rank.json names and that exist; without one, the traces that lie there."""
    listed = [
        Recording(folder / window.file, window.first_step, window.steps, window.reason)
        for window in (facts.windows if facts else [])
        if Path(window.file).name == window.file and (folder / window.file).is_file()
    ]
    return listed or sorted(_unlisted(folder), key=lambda found: found.first_step or 0)


def _unlisted(folder: Path) -> Iterator[Recording]:
    for path in trace_files(folder):
        if path.name != RANK_FILE and _is_trace(path):
            first = _FIRST_STEP.search(path.name)
            yield Recording(path, int(first[1]) if first else None)


def trace_files(folder: Path) -> list[Path]:
    """Files named as traces, the profiler's own names first; hidden ones are still being made."""
    found = [
        path
        for pattern in _TRACES
        for path in sorted(folder.glob(pattern))
        if not path.name.startswith(".") and path.is_file()
    ]
    return list(dict.fromkeys(found))


def _is_trace(path: Path) -> bool:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, EOFError):
        return False
    return any(word in head for word in _TRACE_WORDS)


def _document(path: Path, kind: type[T]) -> T | None:
    """The document, or None where it is missing or not what this perfkit knows."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _no_capture(path: str, folder: Path) -> PerfkitError:
    if (folder / MANIFEST).is_file():
        return PerfkitError(f"The Capture {path} holds no rank yet: wait until the run has begun.")
    captures = [str(found) for found in _captures(folder)]
    if captures:
        return PerfkitError(f"{path} holds Captures and is none: pass {_one_of(captures)}.")
    traces = [found.name for found in trace_files(folder)]
    if traces:
        return PerfkitError(f"{path} is a folder, not a Capture: pass {_one_of(traces)}.")
    return PerfkitError(
        f"{path} is a folder without a Capture or a trace in it: pass a trace file, or the folder"
        " that a run recorded by perfkit has left."
    )


def _captures(folder: Path) -> list[Path]:
    """The folders right below that are Captures, the latest first."""
    below = [child for child in folder.iterdir() if child.is_dir() and _is_capture(child)]
    return sorted(below, key=lambda child: (-child.stat().st_mtime, child.name))


def _is_capture(folder: Path) -> bool:
    with suppress(OSError):  # one that may not be read is none
        return (folder / MANIFEST).is_file() or any(_rank_folders(folder))
    return False


def _one_of(names: list[str]) -> str:
    few = names[:_MOST_NAMED]
    said = f"one of {', '.join(few)}" if few[1:] else few[0]
    return f"{said} ({len(names)} in all)" if len(names) > _MOST_NAMED else said
