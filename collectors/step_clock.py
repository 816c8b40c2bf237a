"""Step times of the whole run, and the steps that are slow against the run's own baseline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from time import perf_counter_ns
from typing import Literal

from perfkit.collectors.phases import Phases
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.model.capture import Sight, StepTimes

_BLOCK_STEPS = 512
_BLOCK_NS = 1_000_000_000
_BASELINE_STEPS = 200
_RECENT_STEPS = 32
_JUDGED_STEPS, _JUDGED_US = 16, 1e6
"""Recent steps are judged after so many and so long."""
_SPIKE = 1.5
"""A slow step takes this many times the baseline's median."""
_SPIKES = 3
_SPIKE_SHARE = 0.05
"""Slow steps matter when their excess is this share of the recent steps' time."""
_LASTING_STEPS = 8
_SHIFT = 1.15
"""A level shift: the recent median against the baseline's."""

Slowdown = Literal["slow-step", "slow-steps"]


class StepClock:
    """Wall time and data wait of every step, kept as blocks of StepTimes.

    Data waits are those of `phases`. A step ends with `end_step`, or where both lists get one more:
    nothing is written then, but by `settle`, which has to be called for the step that this said.
    """

    name = "step times"

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self.profiled = False
        """Whether the profiler runs, and its overhead is in the times; for `set_profiled`."""
        self.slowdown: Slowdown | None = None
        """What the watch has found; whoever acts upon it takes it away."""
        self.ends_ns = [0]
        """When the block begins, and its steps end, on the clock of `time.perf_counter_ns`."""
        self.waited_ns = [0]
        """What had been waited for data by then."""
        self._file: RecordFile | None = None
        self._first = 0
        """The block's first step."""
        self._block_start_ns = 0
        self._block_due_ns = 0
        self._watch = Watch()

    @property
    def running_step(self) -> int:
        """Its number."""
        return self._first + len(self.ends_ns) - 1

    def sight(self) -> Sight:
        """Clocks are everywhere."""
        return Sight(collector=self.name, active=True, sees=["step times", "data-wait times"])

    def start(self, run: Run) -> None:
        """Begin the first step."""
        self._file = run.records("steps")
        self.restart()

    def restart(self) -> None:
        """The running step begins anew."""
        self._write()
        self.forget()

    def forget(self) -> None:
        """The same, and steps of late are left out, which a weaker marker had cut."""
        self._begin_block(perf_counter_ns())

    def end_step(self) -> int:
        """The running step ends now, which is returned."""
        now = perf_counter_ns()
        self.ends_ns.append(now)
        self.waited_ns.append(self._phases.waited_ns)
        return now

    def settle(self, step: int) -> int:
        """Write the block if it is full with step number `step`, which has just ended.

        Returns the number of the step that fills the block that follows.
        """
        if self.ends_ns[-1] >= self._block_due_ns or step >= self._first + _BLOCK_STEPS - 1:
            self._write()
        return self._first + _BLOCK_STEPS - 1

    def set_profiled(self, profiled: bool) -> None:
        """From the running step on, which has just begun, the profiler runs or does not."""
        if profiled is not self.profiled:
            self._write()
            self.profiled = profiled

    def stop(self) -> None:
        """Write the last block."""
        self._write()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _begin_block(self, now_ns: int) -> None:
        """With the running step; the lists stay the same ones, as others add to them."""
        self._first = self.running_step
        self.ends_ns[:], self.waited_ns[:] = [now_ns], [self._phases.waited_ns]
        self._block_start_ns = time.time_ns() - (perf_counter_ns() - now_ns)
        self._block_due_ns = now_ns + _BLOCK_NS

    def _write(self) -> None:
        """The block as a record, and before the watch; another block begins."""
        wall, data = _between(self.ends_ns), _between(self.waited_ns)
        record = StepTimes(
            first=self._first,
            start_ns=self._block_start_ns,
            wall_us=_tenths_us(wall),
            data_us=_tenths_us(map(min, data, wall)),
            profiled=self.profiled,
        )
        self._begin_block(self.ends_ns[-1])
        if self._file is None or not wall:
            return
        if not self.profiled:
            self.slowdown = self._watch.add(record.wall_us) or self.slowdown
        self._file.add(record)


def _between(times_ns: Sequence[int]) -> list[int]:
    return [b - a for a, b in pairwise(times_ns)]


def _tenths_us(times_ns: Iterable[int]) -> list[float]:
    """Microseconds, rounded to tenths."""
    return [(ns + 50) // 100 / 10 for ns in times_ns]


class Watch:
    """Compares recent steps with a baseline of this run's own, which follows after each report."""

    def __init__(self) -> None:
        self._times_us: deque[float] = deque(maxlen=_BASELINE_STEPS + _RECENT_STEPS)
        self._since, self._since_us = 0, 0.0

    def add(self, wall_us: Sequence[float]) -> Slowdown | None:
        """More unprofiled steps, and what they have shown; the baseline then starts anew."""
        self._times_us.extend(wall_us)
        self._since += len(wall_us)
        self._since_us += sum(wall_us)
        if self._since < _JUDGED_STEPS or self._since_us < _JUDGED_US:
            return None
        if len(self._times_us) < _RECENT_STEPS + _BASELINE_STEPS // 2:
            return None
        self._since, self._since_us = 0, 0.0
        found = self._judge()
        if found is not None:
            self._times_us.clear()
        return found

    def _judge(self) -> Slowdown | None:
        times = list(self._times_us)
        baseline, recent = times[:-_RECENT_STEPS], times[-_RECENT_STEPS:]
        usual = median(baseline)
        if median(recent) > _SHIFT * usual:
            return "slow-steps"
        if min(recent[-_LASTING_STEPS:]) > _SHIFT * usual:
            return None  # perhaps a shift that has just begun
        excess = [us - usual for us in recent if us > _SPIKE * usual]
        before = sum(us > _SPIKE * usual for us in baseline) / len(baseline)
        more = len(excess) / len(recent) > 2 * before
        costly = sum(excess) > _SPIKE_SHARE * sum(recent)
        return "slow-step" if len(excess) >= _SPIKES and costly and more else None
