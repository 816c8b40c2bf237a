"""Where in the program's source a moment lies: the innermost function of the user's own code.

A trace with stacks has an event for each call of a Python function, named "file.py(12): name",
where 12 is the line at which the function begins: no other line was recorded.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from perfkit.analyzers.intervals import distinct, split_any
from perfkit.analyzers.names import used
from perfkit.analyzers.nesting import Nesting, nested
from perfkit.analyzers.rows import present
from perfkit.model.trace import Int32s, Int64s, Kind, Trace

_FRAME = re.compile(r"(?P<file>.+?)\((?P<line>\d{1,9})\): (?P<function>.+)")
_LONGEST = 1000
_LONG_NS = 100_000
"""A shorter piece is of the function in which it begins; a longer one of that which fills it."""

_INSTALLED = re.compile(r".*\b(?:site|dist)-packages/")
_OF_PYTHON = re.compile(r"<(?:frozen |string|__array_function__|eval_with_key|built-in )")
_GENERATED = re.compile(r".*/(?:lib/python3[.\d]*|torchinductor_[^/]*)/")
_PACKAGES_OF_PYTHON = frozenset((
    "asyncio", "collections", "concurrent", "ctypes", "email", "encodings", "html", "http",
    "importlib", "json", "logging", "multiprocessing", "re", "sqlite3", "sysconfig", "unittest",
    "urllib", "xml", "zoneinfo",
))  # fmt: skip
_MODULES_OF_PYTHON = sys.stdlib_module_names - {"code", "profile", "test", "trace"}  # or a script's
_LIBRARIES = frozenset((
    "PIL", "accelerate", "aiter", "albumentations", "apex", "bitsandbytes", "colossalai",
    "composer", "cv2", "datasets", "deepspeed", "diffusers", "einops", "fairscale", "flash_attn",
    "flashinfer", "fsspec", "h5py", "huggingface_hub", "lightning", "lightning_fabric",
    "lightning_utilities", "megatron", "mmcv", "mmengine", "numpy", "pandas", "peft",
    "pytorch_lightning", "safetensors", "scipy", "sglang", "sklearn", "streaming", "tensorboard",
    "tensordict", "timm", "tokenizers", "torchaudio", "torchdata", "torchmetrics", "torchrec",
    "torchtitan", "torchtune", "torchvision", "tqdm", "transformer_engine", "transformers",
    "triton", "trl", "vllm", "wandb", "webdataset", "xformers",
))  # fmt: skip
_OWN, _LIBRARY, _BELOW = range(3)
_PARTS_OF_A_PATH = 4
_PARTS_OF_AN_ABSOLUTE = 2  # what stands before is of one machine, such as a home


@dataclass(frozen=True)
class SourceLines:
    """Which line of the program a moment lies in; numbers of lines index `texts`."""

    trace: Trace
    _made: dict[tuple[int, int], Nesting] = field(default_factory=dict)

    @cached_property
    def texts(self) -> list[str]:
        """Such as "train.py:12 in train_step"."""
        return sorted({text for _, text in self._frames.values()})

    def at(self, threads: Int64s | Int32s, times: Int64s) -> Int64s:
        """The line's number at each time on a thread (-1 for none); shape (times,)."""
        return self.most_of(threads, times, times + 1)

    def most_of(self, threads: Int64s | Int32s, start: Int64s, end: Int64s) -> Int64s:
        """The number of the line that holds most of each interval, -1 for none."""
        found = np.full(len(start), -1, dtype=np.int64)
        for thread in present(threads[threads >= 0]) if self._frames else []:
            missing = np.flatnonzero(threads == thread)
            for rank in (_OWN, _LIBRARY, _BELOW):
                if len(missing):
                    frames = self._nested(thread, rank)
                    found[missing] = _most_of(frames, start[missing], end[missing])
                    missing = missing[found[missing] < 0]
        return found

    def heaviest(self, threads: Int64s | Int32s, times: Int64s, weights: Int64s) -> str | None:
        """The line in which most of these moments lie, by weight; None where that is none."""
        sums = np.bincount(self.at(threads, times) + 1, weights)
        best = int(np.argmax(sums)) - 1 if len(sums) else -1
        return self.texts[best] if best >= 0 else None

    @cached_property
    def _frames(self) -> dict[int, tuple[int, str]]:
        """Rank and text of the line by name id, of names that are functions of a file."""
        rows = np.flatnonzero(self.trace.kind == Kind.PYTHON)
        made = {i: _line(self.trace.names[i][:_LONGEST]) for i in used(self.trace, rows)}
        return {i: line for i, line in made.items() if line is not None}

    @cached_property
    def _of_events(self) -> tuple[Int64s, Int64s, Int64s]:
        """Row of each function's call, and by name id its rank and the number of its line."""
        number = {text: i for i, text in enumerate(self.texts)}
        rank, label = (np.full(len(self.trace.names), -1, dtype=np.int64) for _ in range(2))
        for i, (of, text) in self._frames.items():
            rank[i], label[i] = of, number[text]
        return np.flatnonzero(self.trace.kind == Kind.PYTHON), rank, label

    def _nested(self, thread: int, of: int) -> Nesting:
        """The calls on a thread of functions of this rank."""
        if (thread, of) not in self._made:
            rows, rank, label = self._of_events
            mine = (self.trace.lane[rows] == thread) & (rank[self.trace.name[rows]] == of)
            self._made[thread, of] = nested(self.trace, rows[mine], label)
        return self._made[thread, of]


def _line(name: str) -> tuple[int, str] | None:
    """Rank and text of a function's line; None where it is no file's, or perfkit's."""
    match = _FRAME.fullmatch(name)
    if match is None:
        return None
    path, rank = _INSTALLED.sub("", match["file"].replace("\\", "/")), _rank(match["file"])
    if rank is None:
        return None
    return rank, f"{_short(path)}:{match['line']} in {match['function']}"


def _rank(file: str) -> int | None:
    path = file.replace("\\", "/")
    inside = _INSTALLED.sub("", path)
    top, below, _ = inside.partition("/")
    if top == "perfkit" and below:
        return None
    if top in ("torch", "functorch") or _OF_PYTHON.match(path):
        return _BELOW
    if inside != path or top in _LIBRARIES:
        return _LIBRARY
    of_python = top in _PACKAGES_OF_PYTHON if below else top[:-3] in _MODULES_OF_PYTHON
    return _BELOW if of_python or _GENERATED.match(path) else _OWN


def _short(path: str) -> str:
    most = _PARTS_OF_AN_ABSOLUTE if path.startswith("/") or path[1:2] == ":" else _PARTS_OF_A_PATH
    return "/".join(path.lstrip("/").split("/")[-most:])


def _most_of(frames: Nesting, start: Int64s, end: Int64s) -> Int64s:
    """The label that fills most of each interval, of short ones the label at their start."""
    found = frames.at(start)
    long = np.flatnonzero(end - start >= _LONG_NS)
    if len(long) and len(frames.start):
        found[long] = _filling(frames, start[long], end[long])
    return found


def _filling(frames: Nesting, start: Int64s, end: Int64s) -> Int64s:
    edges = distinct(np.concatenate((frames.start, frames.end)))
    starts, ends, parent = split_any(start, end, edges)
    labels = int(frames.path.max()) + 2
    keys, inverse = np.unique(parent * labels + frames.at(starts) + 1, return_inverse=True)
    weight = np.bincount(inverse, ends - starts)
    order = np.lexsort((-weight, keys // labels))  # every interval has at least one part
    first = order[np.diff(keys[order] // labels, prepend=-1) > 0]
    return np.asarray(keys[first] % labels - 1, dtype=np.int64)
