"""Where a moment lies among nested events: the path of modules, or of the program's own ranges."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from perfkit.analyzers.intervals import spans
from perfkit.analyzers.names import used
from perfkit.analyzers.rows import present
from perfkit.model.trace import Int64s, Kind, Trace

_MODULE = re.compile(r"^nn\.Module: (.+?)(?:_\d{1,9})?$")
# Ranges of PyTorch, of engines and of perfkit are no part of the program.
NOT_THE_PROGRAMS = re.compile(
    r"^(ProfilerStep|Optimizer\.|enumerate\(|perfkit(::|_record)|PyTorch Profiler|nccl:|gloo:"
    r"|c10d::|(Distributed)?DataParallel\.|FullyShardedDataParallel\.|FSDP::|torch\.distributed|autograd::"
    r"|## Call |Torch-Compiled|TorchDynamo|CompiledFunction|triton_"
    r"|execute_(new|context|\d)|step\[|(prefill|decode)\[|\[Executor\]|\[pl\])"
)
_MOST_OF_IT = 0.5
_LONGEST_PART = 60
_MOST_PARTS = 8
BETWEEN = " > "


@dataclass(frozen=True)
class Nesting:
    """Nested events of one thread and the path of names that leads to each; shape (events,).

    `path` numbers the paths; `parents` and `parts` are of each path: the path around it (-1 for
    none) and its last name. A path's number is higher than that of the path around it.
    """

    start: Int64s
    end: Int64s
    around: Int64s
    path: Int64s
    parents: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def at(self, times: Int64s) -> Int64s:
        """The path of the innermost event open at each time, -1 for none."""
        found = np.searchsorted(self.start, times, side="right") - 1
        end, around = np.append(self.end, np.iinfo(np.int64).max), np.append(self.around, -1)
        while (left := end[found] <= times).any():
            found[left] = around[found[left]]
        return np.append(self.path, -1)[found]

    def most(self, paths: Int64s, weights: Int64s) -> str | None:
        """The longest path that holds more than half of the weight."""
        whole, inside = int(weights.sum()), [0] * len(self.parents)
        named = paths >= 0
        sums = np.bincount(paths[named], weights[named], len(inside)).astype(np.int64).tolist()
        for number in reversed(range(len(inside))):
            inside[number] += sums[number]
            if self.parents[number] >= 0:
                inside[self.parents[number]] += inside[number]
        deep = [i for i, weight in enumerate(inside) if weight > _MOST_OF_IT * whole]
        return self._text(deep[-1]) if deep else None

    def _text(self, path: int) -> str:
        parts: list[str] = []
        while path >= 0:
            parts.append(self.parts[path][:_LONGEST_PART])
            path = self.parents[path]
        return BETWEEN.join(reversed(parts[:_MOST_PARTS]))


@dataclass(frozen=True)
class Nestings:
    """Nestings of one kind of events, by thread; empty where the trace has none."""

    of: dict[int, Nesting]

    def most(self, threads: Int64s, times: Int64s, weights: Int64s) -> str | None:
        """The path in which most of these moments lie, by weight; on the heaviest thread alone."""
        if not self.of or not len(threads):
            return None
        thread = int(np.argmax(np.bincount(np.maximum(threads, 0), weights)))
        nesting, mine = self.of.get(thread), threads == thread
        if nesting is None or weights[mine].sum() <= _MOST_OF_IT * weights.sum():
            return None
        return nesting.most(nesting.at(times[mine]), weights[mine])


def modules(trace: Trace) -> Nestings:
    """Paths of `nn.Module` classes, which a trace with stacks names."""
    return _nestings(trace, Kind.PYTHON, _module_class)


def ranges(trace: Trace) -> Nestings:
    """Paths of the program's own ranges, such as those of `record_function`."""
    return _nestings(trace, Kind.ANNOTATION, _own_range)


def _module_class(name: str) -> str | None:
    match = _MODULE.match(name) if name.startswith("nn.Module: ") else None
    return match[1] if match else None


def _own_range(name: str) -> str | None:
    return None if NOT_THE_PROGRAMS.match(name) else name


def _nestings(trace: Trace, kind: Kind, label_of: Callable[[str], str | None]) -> Nestings:
    rows = np.flatnonzero(trace.kind == kind)
    labels = {i: text for i in used(trace, rows) if (text := label_of(trace.names[i]))}
    texts = sorted(set(labels.values()))
    number = {text: i for i, text in enumerate(texts)}
    table = np.full(len(trace.names), -1, dtype=np.int64)
    table[list(labels)] = [number[text] for text in labels.values()]
    rows = rows[table[trace.name[rows]] >= 0]
    return Nestings({thread: _nesting(trace, rows[trace.lane[rows] == thread], table, texts)
                     for thread in present(trace.lane[rows])})  # fmt: skip


def nested(trace: Trace, rows: Int64s, table: Int64s) -> Nesting:
    """Nested events of one thread, each with its own label, by name id, in place of a path."""
    start, end, label = _in_order(trace, rows, table)
    return Nesting(start, end, _around(start, end)[0], label)


def _nesting(trace: Trace, rows: Int64s, table: Int64s, texts: list[str]) -> Nesting:
    start, end, label = _in_order(trace, rows, table)
    around, depth = _around(start, end)
    path, parents, parts = _paths(around, depth, label, len(texts))
    return Nesting(start, end, around, path, parents, [texts[i] for i in parts])


def _in_order(trace: Trace, rows: Int64s, table: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Start, end and label of these events, what is outside before what it holds."""
    start, end = spans(trace, rows)
    order = np.lexsort((-end, start))
    return start[order], end[order], table[trace.name[rows[order]]]


def _around(start: Int64s, end: Int64s) -> tuple[Int64s, Int64s]:
    """Position of the event around each, -1 for none, and how many are around it."""
    # All that ended before an event began, began before it, too.
    depth = np.arange(len(start)) - np.searchsorted(np.sort(end), start, side="right")
    around = np.full(len(start), -1, dtype=np.int64)
    outer = np.flatnonzero(depth == 0)
    for level in range(1, int(depth.max(initial=0)) + 1):
        inner = np.flatnonzero(depth == level)
        if len(outer):
            at = np.searchsorted(outer, inner) - 1
            around[inner] = np.where(at >= 0, outer[at], -1)
        outer = inner
    return around, depth


def _paths(
    around: Int64s, depth: Int64s, label: Int64s, labels: int
) -> tuple[Int64s, list[int], list[int]]:
    """A number for each path of labels, the outer paths first."""
    path = np.full(len(around) + 1, -1, dtype=np.int64)
    parents: list[int] = []
    parts: list[int] = []
    for level in range(int(depth.max(initial=-1)) + 1):
        rows = np.flatnonzero(depth == level)
        keys, inverse = np.unique(
            (path[around[rows]] + 1) * labels + label[rows], return_inverse=True
        )
        path[rows] = len(parents) + inverse
        parents += (keys // labels - 1).tolist()
        parts += (keys % labels).tolist()
    return path[:-1], parents, parts
