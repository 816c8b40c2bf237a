"""Calls that held the host until the GPU had caught up, and the idle time that follows from them.

While such a call waits for the GPU, the host loses the lead it had. The launches, dispatch and
Python that come next would have run behind queued kernels, so the idle time they cause is the
call's, but never more of it than the time the call had waited for a working GPU. A lead is used up
once, in order of time. It is lost when the host waits for loader workers, which an earlier host
would have waited for just the longer, and forgotten after one step.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.gpu import GpuWork
from perfkit.analyzers.host import Host
from perfkit.analyzers.intervals import spans
from perfkit.analyzers.names import matching
from perfkit.analyzers.steps import Windows
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Int8s, Int64s

_WORKERS = re.compile(r"enumerate\(DataLoader\)#\w*MultiProcessing")
_READY_NS = 200_000  # a batch that was ready is handed over well within this
_LOSS = -2
BLOCKING = (Cause.SYNC, Cause.COPY, Cause.ALLOCATOR)
GENERIC = (Cause.LAUNCH, Cause.DISPATCH, Cause.PYTHON)


def chains(host: Host, threads: list[int]) -> list[list[int]]:
    """Launching threads grouped: autograd's with the main one, which waits for them; others alone.

    A wait of one chain takes no lead from another.
    """
    autograd = autograd_threads(host, threads)
    rest = [t for t in threads if t not in autograd]
    main = main_thread(host, rest)
    first = [*autograd, *([] if main is None else [main])]
    return [first, *([t] for t in rest if t != main)]


def main_thread(host: Host, threads: list[int]) -> int | None:
    """Of these, the one that runs the training: autograd's do more, but only what it asks for."""
    autograd = autograd_threads(host, threads)
    rest = [t for t in threads if t not in autograd] or threads
    return max(rest, key=lambda t: int(host.counts[t]), default=None)


def autograd_threads(host: Host, threads: list[int]) -> list[int]:
    """Of these, the ones that ran a backward pass."""
    return [t for t in threads if t in host.autograd_threads]


@dataclass(frozen=True)
class Blockers:
    """Blocking calls in order of their end; shapes (calls,), times in nanoseconds."""

    row: Int64s
    end: Int64s
    waited: Int64s
    """Time in the call during which the GPU worked."""
    cause: Int8s
    losses: Int64s
    """Ends of waits for loader workers, which use up any lead; shape (waits,)."""


def blockers(host: Host, work: GpuWork, threads: list[int]) -> Blockers:
    """The blocking calls of the launching threads."""
    keep = np.isin(host.cause, [CODE[c] for c in BLOCKING]) & np.isin(host.thread, threads)
    rows, cause = host.rows[keep], host.cause[keep]
    start, end = spans(host.trace, rows)
    # A blocking copy's own transfer is no wait for earlier work.
    waited = np.where(
        cause == CODE[Cause.COPY],
        work.kernels.covered(start, end),
        work.busy.covered(start, end),
    )
    order = np.argsort(end, kind="stable")
    order = order[waited[order] > 0]
    return Blockers(rows[order], end[order], waited[order], cause[order], _losses(host))


def _losses(host: Host) -> Int64s:
    waits = host.rows[matching(host.trace, _WORKERS)[host.trace.name[host.rows]]]
    return spans(host.trace, waits[host.trace.dur[waits] > _READY_NS])[1]


@dataclass(frozen=True)
class Claims:
    """Idle time claimed by blockers, on the axis of summed generic idle time; shapes (claims,)."""

    start: Int64s
    end: Int64s
    blocker: Int64s


def claims(found: Blockers, idle_start: Int64s, idle_end: Int64s, windows: Windows) -> Claims:
    """Hand generic idle intervals (disjoint, in order of time) to the blockers before them."""
    summed = np.concatenate(([0], np.cumsum(idle_end - idle_start)))

    def before(times: Int64s) -> Int64s:
        at = np.searchsorted(idle_start, times, side="right")
        excess = np.maximum(np.append(idle_end, 0)[at - 1] - times, 0)
        return np.asarray(summed[at] - np.where(at > 0, excess, 0), dtype=np.int64)

    lifetime = int(np.median(windows.end - windows.start))
    times, order = _ticks(found, windows)
    position = np.append(before(times), summed[-1]).tolist()
    out: list[tuple[int, int, int]] = []
    credit: deque[list[int]] = deque()
    for i, (time, blocker) in enumerate(zip(times.tolist(), order.tolist(), strict=True)):
        while credit and credit[0][1] < time - lifetime:
            credit.popleft()
        if blocker == _LOSS:
            credit.clear()
        elif blocker >= 0:
            credit.append([blocker, time, int(found.waited[blocker])])
        _spend(credit, position[i], position[i + 1], out)
    table = np.array(out, dtype=np.int64).reshape(-1, 3)
    return Claims(table[:, 0], table[:, 1], table[:, 2])


def _ticks(found: Blockers, windows: Windows) -> tuple[Int64s, Int64s]:
    """Ends of blockers, losses (blocker -2) and step borders (-1) in order of time."""
    times = np.concatenate((found.end, found.losses, windows.start))
    blocker = np.concatenate((
        np.arange(len(found.end)),
        np.full(len(found.losses), _LOSS),
        np.full(len(windows), -1),
    ))  # fmt: skip
    order = np.argsort(times, kind="stable")
    return times[order], blocker[order]


def _spend(credit: deque[list[int]], start: int, end: int, out: list[tuple[int, int, int]]) -> None:
    """Charge [start, end) of generic idle time to the oldest leads."""
    while credit and start < end:
        blocker, _, left = credit[0]
        taken = min(left, end - start)
        out.append((start, start + taken, blocker))
        start += taken
        credit[0][2] -= taken
        if credit[0][2] == 0:
            credit.popleft()
