"""Everything the tables are made from, computed once per trace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfkit.analyzers.breakdown import StepTimes, step_times
from perfkit.analyzers.clock import clock_shift, shifted
from perfkit.analyzers.cpu import cpu_step_times, unobserved_step_times
from perfkit.analyzers.device import lost_gpu_work
from perfkit.analyzers.exclusion import with_exclusions
from perfkit.analyzers.gpu import GpuWork, gpu_work
from perfkit.analyzers.graph.binding import bindings, bound_by_launch
from perfkit.analyzers.graph.build import Built, build
from perfkit.analyzers.graph.gates import ReplayErrors, replay_errors, replay_fidelity
from perfkit.analyzers.host import Host, causes_by_name, host_events
from perfkit.analyzers.idle import idle_pieces
from perfkit.analyzers.launches import Launches, launches
from perfkit.analyzers.pieces import Pieces
from perfkit.analyzers.source_lines import SourceLines
from perfkit.analyzers.steps import Windows, step_of, steps
from perfkit.model.diagnosis import Replay
from perfkit.model.trace import Bools, Int64s, Trace

if TYPE_CHECKING:
    from perfkit.analyzers.whatif.part import Stretch


@dataclass(frozen=True)
class Facts:
    """A trace with its GPU work, launches, steps, and the causes of its idle time."""

    trace: Trace
    work: GpuWork
    calls: Launches
    host: Host
    windows: Windows
    times: StepTimes
    pieces: Pieces
    built: Built
    """The dependency graph."""
    errors: ReplayErrors
    clock_shift_ns: int
    """By how much the GPU's times in `trace` are later than in the file."""

    @property
    def counted(self) -> Int64s:
        """Positions of the steps that enter the means."""
        return self.windows.counted

    @property
    def mean_over(self) -> int:
        """Number of counted steps."""
        return len(self.counted)

    def in_counted(self, times: Int64s) -> Bools:
        """Whether each time lies in a counted step."""
        counts = np.zeros(len(self.windows) + 1, dtype=np.bool_)
        counts[self.counted] = True
        return counts[step_of(times, self.windows)]  # -1, outside, is the last entry

    def per_step_us(self, nanoseconds: int | float | np.generic) -> float:
        """A sum over the counted steps as microseconds per step."""
        return float(nanoseconds) / 1000 / self.mean_over

    @cached_property
    def counted_pieces(self) -> Pieces:
        """The idle time that begins in a counted step."""
        return self.pieces.take(self.in_counted(self.pieces.start))

    @cached_property
    def lines(self) -> SourceLines:
        """Lines of the program, where the trace has stacks."""
        return SourceLines(self.trace)

    @cached_property
    def replay(self) -> Replay:
        """How well that graph explains the recording."""
        return replay_fidelity(self)

    @cached_property
    def stretch(self) -> Stretch:
        """The steps that are replayed to see what fixes return."""
        from perfkit.analyzers.whatif.part import stretch

        return stretch(self, self.built)

    @property
    def device_kind(self) -> str:
        """What the breakdown is of: "gpu", "cpu", or "none" when GPU records are missing."""
        if len(self.work):
            return "gpu"
        return "none" if self.lost_gpu_work else "cpu"

    @cached_property
    def lost_gpu_work(self) -> str | None:
        """Why all GPU records are missing, in a sentence; None where they are not."""
        return None if len(self.work) else lost_gpu_work(self.trace, self.calls)


def facts_of(trace: Trace) -> Facts:
    """Analyze one rank's trace."""
    with ThreadPoolExecutor(1) as beside:  # numpy mostly works without the interpreter's lock
        named = beside.submit(causes_by_name, trace)
        trace, work, calls, shift = _launched(trace)
        causes = causes_by_name(trace) if shift else named.result()  # a shift moves events
        host = host_events(trace, work, calls, causes)
        windows = steps(trace, work, calls)
        graph = beside.submit(_Linked.of, trace, work, calls, host, windows)
        errors = beside.submit(lambda: replay_errors(graph.result().built, graph.result().before))
        if len(work):
            pieces = idle_pieces(
                trace, work, calls, host, windows, lambda: graph.result().by_launch
            )
            times = step_times(work, pieces, windows)
        elif lost_gpu_work(trace, calls):
            times, pieces = unobserved_step_times(windows)
        else:
            times, pieces = cpu_step_times(host, windows)
        windows = with_exclusions(windows, times, pieces, trace, calls)
    built = graph.result().built
    return Facts(trace, work, calls, host, windows, times, pieces, built, errors.result(), shift)


class _Linked(NamedTuple):
    """A graph, the point each of its points waited for last, and what launches set the start of."""

    built: Built
    before: Int64s
    by_launch: Bools

    @classmethod
    def of(
        cls, trace: Trace, work: GpuWork, calls: Launches, host: Host, windows: Windows
    ) -> _Linked:
        """The graph of a trace."""
        built = build(trace, work, calls, host, windows)
        before, link = bindings(built.graph)
        return cls(built, before, bound_by_launch(built, link))


def _launched(trace: Trace) -> tuple[Trace, GpuWork, Launches, int]:
    """The trace on one clock, its GPU work, the launches, and the shift of the GPU's clock."""
    work = gpu_work(trace)
    calls = launches(trace, work)
    shift = clock_shift(trace, work, calls)
    if not shift:
        return trace, work, calls, 0
    trace = shifted(trace, shift)
    work = gpu_work(trace)
    return trace, work, launches(trace, work), shift
