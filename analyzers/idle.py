"""Why the GPU was idle: every gap cut into pieces, each with the Cause it waited for.

A gap ends with a GPU operation. If that operation was launched after the gap began, the gap waited
for the launch, and before it for what the launching thread was doing (`host`); if it stood in a
queue already, the gap is the device's own, or another GPU's that works meanwhile. Time that follows
from a blocking call is that call's (`blockers`). Where records are missing, the time is named so
and charged to nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from perfkit.analyzers.blockers import GENERIC, Blockers, blockers, chains, claims
from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.host import Host, Timeline
from perfkit.analyzers.intervals import Intervals, distinct, spans, split, union
from perfkit.analyzers.launches import Launches
from perfkit.analyzers.pieces import Pieces, in_order, relabelled, same
from perfkit.analyzers.rows import present
from perfkit.analyzers.steps import Windows, step_of
from perfkit.analyzers.unrecorded import unrecorded
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Bools, Int8s, Int32s, Int64s, Kind, Trace

QUEUE_GAP_NS = 10_000
"""Queued kernels follow one another within this; real gaps are 0.75-2 us, on AMD up to 8 us."""
_LATE_START_NS = 50_000  # an idle GPU starts a launched kernel well within this
_DEEP_QUEUE_NS = 1_000_000  # launched this long before an idle gap: something unseen ran
_LONG_LATENCY_NS = 15_000  # where a trace has none to measure: launch to start on an idle GPU


@dataclass(frozen=True)
class _Gaps:
    """Idle gaps and the operation that ends each; shapes (gaps,)."""

    start: Int64s
    end: Int64s
    op: Int64s
    launch: Int64s
    launch_end: Int64s
    thread: Int32s
    has_launch: Bools

    def waited(self, by_launch: Bools) -> Bools:
        """Whether the launching call held up the operation; `by_launch` is of all operations."""
        set_by_launch = (self.op >= 0) & np.append(by_launch, False)[self.op]
        began_inside = self.has_launch & (set_by_launch | (self.launch > self.start))
        still_open = self.has_launch & (self.launch_end >= self.end)
        return np.asarray(began_inside | still_open)

    def holding(self, times: Int64s) -> Int64s:
        """Positions of the gaps that these times are in."""
        return np.asarray(np.searchsorted(self.start, times, side="right") - 1)


def idle_pieces(
    trace: Trace,
    work: GpuWork,
    calls: Launches,
    host: Host,
    windows: Windows,
    by_launch: Callable[[], Bools],
) -> Pieces:
    """All idle time inside the windows, each nanosecond with one Cause.

    `by_launch` tells of each operation whether its launch set its start (graph.binding); it is
    asked last, so that a graph may be built meanwhile.
    """
    idle, op = _idle(work, windows)
    call = calls.call[op[op >= 0]]
    threads = present(trace.lane[call[call >= 0]])
    lines = {thread: host.timeline(thread) for thread in threads}
    groups = chains(host, threads)
    waits = [blockers(host, work, chain) for chain in groups]
    gaps = _gaps(trace, calls, idle, op)
    walks = _host_pieces(gaps, lines, groups)
    waited = gaps.waited(by_launch())
    queued = _behind_another_gpu(_device_pieces(calls, gaps, waited), trace, work)
    held_up = (walk.take(waited[gaps.holding(walk.start)]) for walk in walks)
    pieces = in_order(queued, *held_up)
    pieces = _without_operators(pieces, trace)
    pieces = _unobserved(pieces, unrecorded(trace, work, calls, int(windows.end[-1])))
    pieces = _beyond_calls(pieces, trace)
    for chain, found in zip(groups, waits, strict=True):
        pieces = _charged(pieces, found, chain, windows)
    return _inside(pieces.cut(windows.edges), windows)


def _idle(work: GpuWork, windows: Windows) -> tuple[Intervals, Int64s]:
    """The gaps, and the operation that ends each, -1 for none."""
    first, last = int(windows.start[0]), int(windows.end[-1])
    horizon = max([last, *work.end[-1:].tolist()])
    idle = work.busy.complement(first, horizon)
    op = np.searchsorted(work.start, idle.end, side="left")
    return idle, np.where(op < len(work), op, -1)


def _gaps(trace: Trace, calls: Launches, idle: Intervals, op: Int64s) -> _Gaps:
    call = np.where(op >= 0, calls.call[op], -1) if len(calls.call) else np.full(len(idle), -1)
    has_launch = call >= 0
    launch, launch_end = spans(trace, call)
    return _Gaps(
        start=idle.start,
        end=idle.end,
        op=op,
        launch=np.where(has_launch, launch, 0),
        launch_end=np.where(has_launch, launch_end, 0),
        thread=np.where(has_launch, trace.lane[call], -1).astype(np.int32),
        has_launch=has_launch,
    )


def _host_pieces(gaps: _Gaps, lines: dict[int, Timeline], groups: list[list[int]]) -> list[Pieces]:
    """From each gap's start to the end of its operation's launch: what the thread was doing.

    Also of gaps whose launch began before them, which may turn out to have waited for another.
    """
    return [_walked(gaps, thread, lines, group) for group in groups for thread in group]


def _walked(gaps: _Gaps, thread: int, lines: dict[int, Timeline], group: list[int]) -> Pieces:
    mine = gaps.thread == thread
    start, end = gaps.start[mine], np.minimum(gaps.launch_end[mine], gaps.end[mine])
    keep = end > start
    pieces = same(start[keep], end[keep], Cause.PYTHON, thread)
    # A thread with nothing open waits for another that launches: backward for forward, and back.
    for other in (thread, *(other for other in lines if other != thread)):
        pieces = relabelled(pieces, lines[other], other, foreign=other not in group)
    return pieces


def _without_operators(pieces: Pieces, trace: Trace) -> Pieces:
    """Where no operator was recorded, a thread outside of calls may be in one or in Python."""
    if (trace.kind == Kind.OPERATOR).any():
        return pieces
    bare = pieces.cause == CODE[Cause.PYTHON]
    return replace(pieces, cause=np.where(bare, CODE[Cause.UNKNOWN], pieces.cause).astype(np.int8))


def _device_pieces(calls: Launches, gaps: _Gaps, waited: Bools) -> Pieces:
    """What of each gap is left when the launch has been made."""
    start = np.where(waited, np.clip(gaps.launch_end, gaps.start, gaps.end), gaps.start)
    late = np.where(waited, np.minimum(start + _LATE_START_NS, gaps.end), gaps.end)
    cause = np.where(waited, CODE[Cause.LAUNCH], _queued_cause(calls, gaps)).astype(np.int8)
    in_time = replace(same(start, late, Cause.UNKNOWN, gaps.thread), cause=cause)
    both = in_order(in_time, same(late, gaps.end, Cause.UNKNOWN, gaps.thread))
    return both.take(both.end > both.start)


def _behind_another_gpu(pieces: Pieces, trace: Trace, work: GpuWork) -> Pieces:
    """What a queued operation waits for while another GPU of the process works.

    As where the layers of a model lie on several GPUs.
    """
    if len(work) == np.count_nonzero(trace.is_gpu_work):
        return pieces
    others = np.setdiff1d(np.flatnonzero(trace.is_gpu_work), work.rows)
    busy = union(*spans(trace, others))
    pieces = pieces.cut(distinct(np.concatenate((busy.start, busy.end))))
    unexplained = np.isin(pieces.cause, [CODE[Cause.UNKNOWN], CODE[Cause.UNOBSERVED]])
    hit = unexplained & (pieces.thread >= 0) & (busy.covered(pieces.start, pieces.end) > 0)
    cause = np.where(hit, CODE[Cause.OTHER_GPU], pieces.cause).astype(np.int8)
    return replace(pieces, cause=cause)


def _queued_cause(calls: Launches, gaps: _Gaps) -> Int8s:
    """Cause of a gap whose operation was launched before it began."""
    length = gaps.end - gaps.start
    usual_gap, latency = _usual_gap(gaps), _long_latency(gaps)
    in_flight = gaps.has_launch & (gaps.end - gaps.launch <= latency)
    deep = gaps.launch < gaps.start - _DEEP_QUEUE_NS
    cause = np.full(len(length), CODE[Cause.UNKNOWN], dtype=np.int8)
    hidden = (deep | _within_one_launch(calls, gaps)) & (length > _LATE_START_NS)
    cause[hidden] = CODE[Cause.UNOBSERVED]
    cause[length <= QUEUE_GAP_NS] = CODE[Cause.KERNEL_GAP]
    cause[in_flight & (length > usual_gap)] = CODE[Cause.LAUNCH]
    cause[~gaps.has_launch] = CODE[Cause.UNKNOWN]
    return cause


def _usual_gap(gaps: _Gaps) -> int:
    """Nanoseconds between kernels that queue up: upper end of this trace's own, 0 if none do."""
    length = gaps.end - gaps.start
    long_queued = gaps.has_launch & (gaps.start - gaps.launch_end > _LATE_START_NS)
    seen = length[long_queued & (length <= QUEUE_GAP_NS)]
    return int(np.percentile(seen, 90)) if len(seen) else 0


def _long_latency(gaps: _Gaps) -> int:
    """Nanoseconds from launch to start on an idle GPU: beyond the upper end of this trace's own."""
    waited = (gaps.end - gaps.launch)[gaps.has_launch & (gaps.launch > gaps.start)]
    waited = waited[(waited > 0) & (waited <= _LATE_START_NS)]
    return int(1.5 * np.percentile(waited, 90)) if len(waited) else _LONG_LATENCY_NS


def _within_one_launch(calls: Launches, gaps: _Gaps) -> Bools:
    """Gaps between two nodes of the same graph launch."""
    if not len(calls.call):
        return np.zeros(len(gaps.op), dtype=np.bool_)
    before = calls.call[np.maximum(gaps.op - 1, 0)]
    same = before == calls.call[gaps.op]
    return np.asarray((gaps.op > 0) & gaps.has_launch & same, dtype=np.bool_)


def _unobserved(pieces: Pieces, where: Intervals) -> Pieces:
    if not len(where):
        return pieces
    pieces = pieces.cut(distinct(np.concatenate((where.start, where.end))))
    hit = where.covered(pieces.start, pieces.end) > 0
    hit &= pieces.cause != CODE[Cause.UNKNOWN]
    cause = np.where(hit, CODE[Cause.UNOBSERVED], pieces.cause).astype(np.int8)
    return replace(pieces, cause=cause)


def _beyond_calls(pieces: Pieces, trace: Trace) -> Pieces:
    """In a file that is cut, launches may be lost before the first call it has and after the last.

    Kineto writes operators first, and calls with GPU records buffer by buffer.
    """
    rows = np.flatnonzero(trace.kind == Kind.RUNTIME)
    if not trace.info.damage.truncated or not len(rows):
        return pieces
    start, end = spans(trace, rows)
    pieces = pieces.cut(np.array([start.min(), end.max()]))
    lost = (pieces.start < start.min()) | (pieces.start >= end.max())
    lost &= np.isin(pieces.cause, [CODE[cause] for cause in GENERIC])
    cause = np.where(lost, CODE[Cause.UNOBSERVED], pieces.cause).astype(np.int8)
    return replace(pieces, cause=cause)


def _charged(pieces: Pieces, found: Blockers, chain: list[int], windows: Windows) -> Pieces:
    """Generic host time after a blocking call, as far as the call claims it."""
    pieces = pieces.cut(distinct(np.concatenate((found.end, found.losses, windows.start))))
    generic = np.isin(pieces.cause, [CODE[cause] for cause in GENERIC])
    generic &= np.isin(pieces.thread, chain) & (pieces.blocker < 0)
    start, end = pieces.start[generic], pieces.end[generic]
    claimed = claims(found, start, end, windows)
    if not len(claimed.start):
        return pieces
    summed = np.cumsum(end - start)
    cuts = distinct(np.concatenate((claimed.start, claimed.end)))
    before = summed - (end - start)
    low, high, parent = split(before, summed, cuts)
    offset = start[parent] - before[parent]
    parts = replace(pieces.take(generic).take(parent), start=low + offset, end=high + offset)
    at = np.searchsorted(claimed.start, low, side="right") - 1
    hit = (at >= 0) & (low < claimed.end[np.maximum(at, 0)])
    blocker = claimed.blocker[np.maximum(at, 0)]
    charged = replace(
        parts,
        cause=np.where(hit, found.cause[blocker], parts.cause).astype(np.int8),
        blocker=np.where(hit, found.row[blocker], -1),
    )
    return in_order(charged, pieces.take(~generic))


def _inside(pieces: Pieces, windows: Windows) -> Pieces:
    return pieces.take(step_of(pieces.start, windows) >= 0)
