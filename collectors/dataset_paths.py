"""Where a dataset's files lie, as far as its attributes say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

SAMPLES = 24
_DEPTH = 3
_ROOTS = ("root", "root_dir", "data_dir", "data_root", "data_path", "path", "directory", "folder")
_LISTS = (
    "samples", "imgs", "images", "image_paths", "img_paths", "files", "file_paths", "filenames",
    "file_names", "paths", "file_list", "shards", "urls", "url", "file", "filename", "file_path",
)  # fmt: skip
_INSIDE = ("dataset", "datasets")


def dataset_paths(dataset: object) -> list[str]:
    """A few dozen of the paths and URLs a dataset keeps in its attributes, absolute if it says.

    Only attributes of the instance with usual names are read, of lists only some elements, and
    nothing lazy is iterated; datasets inside (Subset, ConcatDataset) are looked into.
    """
    return list(dict.fromkeys(_paths(dataset, _DEPTH)))[: 2 * SAMPLES]


def _paths(dataset: object, depth: int) -> Iterator[str]:
    known = getattr(dataset, "__dict__", {})
    roots = [path for name in _ROOTS for path in _strings(known.get(name))]
    yield from roots
    base = roots[0] if roots else ""
    for name in _LISTS:
        for path in _strings(known.get(name)):
            yield path if "://" in path else os.path.join(base, path)  # noqa: PTH118
    for name in _INSIDE if depth else ():
        for inner in _some(known.get(name)):
            yield from _paths(inner, depth - 1)


def _strings(value: object) -> Iterator[str]:
    """Text and paths in a value, in some elements of a list, or first in tuples of a list."""
    for element in _some(value):
        first = element[0] if isinstance(element, tuple | list) and element else element
        if isinstance(first, str | PurePath) and _may_be_path(str(first)):
            yield str(first)


def _some(value: Any) -> Iterable[Any]:
    if type(value) not in {list, tuple} and type(value).__name__ != "ndarray":
        return () if value is None else (value,)
    count = len(value) if getattr(value, "ndim", 1) == 1 else 0
    return [value[i] for i in range(0, count, max(1, count // SAMPLES))][:SAMPLES]


def _may_be_path(text: str) -> bool:
    return 0 < len(text) < 4096 and "\n" not in text and "\0" not in text
