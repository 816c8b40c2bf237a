"""Where each nanosecond of a run went, from the simulator's own record of what bound what.

Idle time before an operation bound by its launch is cut by what the host was doing. Whatever of
that the host would have hidden without its waits for the GPU is found by running the same program
again without those waits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .records import GENERIC, LABELS, GpuOp, Recording

CAUSES = (*LABELS, "kernel_gap", "unobserved_gpu_work", "unknown")
STATES = ("compute", "communication", "copy")

IdleKey = tuple[int, str]
Shares = Mapping[IdleKey, Mapping[str, float]]


@dataclass(frozen=True)
class Piece:
    """The part [start, end) of the idle time before `op`, and what it is due to."""

    start: int
    end: int
    label: str
    op: GpuOp


def windows(run: Recording) -> list[tuple[int, int]]:
    """Each step's [start, end): from mark to mark, the last one to the end of the GPU's work."""
    starts = [mark.start for mark in run.marks]
    return list(pairwise([*starts, max(op.end for op in run.ops)]))


def states(run: Recording) -> Iterator[tuple[int, int, str]]:
    """The time line cut into [start, end) and what the GPU did then, "idle" included."""
    edges = [(op.start, 1, op.kind) for op in run.ops] + [(op.end, -1, op.kind) for op in run.ops]
    running: Counter[str] = Counter()
    last = run.marks[0].start
    for time, change, kind in sorted(edges):
        if time > last:
            yield last, time, next((state for state in STATES if running[state]), "idle")
            last = time
        running[kind] += change


def pieces(run: Recording) -> Iterator[Piece]:
    """All idle time, cut by cause; sync credit is not given yet."""
    starting = {op.start: op for op in reversed(run.ops)}
    for start, end, state in states(run):
        if state == "idle":
            yield from _cut(run, start, end, starting[end])


def _cut(run: Recording, start: int, end: int, op: GpuOp) -> Iterator[Piece]:
    if op.bound != "launch":
        yield Piece(start, end, "kernel_gap", op)
        return
    called = min(max(op.call.start, start), end)
    yield from _host(run, start, called, op)
    if called < end:
        yield Piece(called, end, op.label, op)


def _host(run: Recording, start: int, end: int, op: GpuOp) -> Iterator[Piece]:
    leaves = run.leaves
    index = max(bisect_right(leaves, start, key=lambda leaf: leaf.start) - 1, 0)
    while index < len(leaves) and leaves[index].start < end:
        leaf = leaves[index]
        if max(leaf.start, start) < min(leaf.end, end):
            yield Piece(max(leaf.start, start), min(leaf.end, end), leaf.label, op)
        index += 1


def generic_idle(run: Recording) -> Counter[IdleKey]:
    """Idle nanoseconds that only the host's pace explains, by launching step and label."""
    total: Counter[IdleKey] = Counter()
    for piece in pieces(run):
        if piece.label in GENERIC:
            total[piece.op.step, piece.label] += piece.end - piece.start
    return total


def credit(run: Recording, freed: Mapping[str, Recording]) -> dict[IdleKey, dict[str, float]]:
    """The shares of generic idle time that waits are guilty of, by kind of wait.

    `freed` are runs of the same program without the waits of a kind and of those before it.
    """
    left = generic_idle(run)
    shares: dict[IdleKey, dict[str, float]] = {key: {} for key in left}
    total = left.copy()
    for kind, without in freed.items():
        idle = generic_idle(without)
        for key, ns in total.items():
            least = min(idle[key], left[key])
            shares[key][kind] = (left[key] - least) / ns
            left[key] = least
    return shares


def steps(run: Recording, shares: Shares) -> list[dict[str, Any]]:
    """One row per step; all parts sum to the wall time."""
    cuts = windows(run)
    busy = [Counter[str]() for _ in cuts]
    for start, end, state in states(run):
        for index, length in _overlaps(cuts, start, end):
            busy[index][state] += length
    idle = [Counter[str]() for _ in cuts]
    for piece in pieces(run):
        for index, length in _overlaps(cuts, piece.start, piece.end):
            idle[index].update(_blame(piece, length, shares))
    rows = zip(run.marks, cuts, busy, idle, strict=True)
    return [_row(mark.name, end - start, b, i) for mark, (start, end), b, i in rows]


def _overlaps(cuts: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    first = max(bisect_right(cuts, start, key=lambda cut: cut[0]) - 1, 0)
    for index in range(first, len(cuts)):
        length = min(end, cuts[index][1]) - max(start, cuts[index][0])
        if length <= 0:
            return
        yield index, length


def _blame(piece: Piece, length: int, shares: Shares) -> Counter[str]:
    if piece.label not in GENERIC:
        return Counter({piece.label: length})
    blamed, left = Counter[str](), length
    for kind, share in shares[piece.op.step, piece.label].items():
        blamed[kind] = min(round(length * share), left)
        left -= blamed[kind]
    blamed[piece.label] += left
    return blamed


def _row(name: str, wall: int, busy: Counter[str], idle: Counter[str]) -> dict[str, Any]:
    parts = {f"{state}_ns": busy[state] for state in STATES}
    causes = {cause: idle[cause] for cause in CAUSES}
    return {"step": name, "wall_ns": wall, **parts, "idle_ns": causes}
