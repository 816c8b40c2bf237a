"""Step times of the whole run, and the steps that are slow against the run's own baseline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Literal

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

    `take_data_ns` gives what was waited for data since it was last asked.
    """

    name = "step times"

    def __init__(self, take_data_ns: Callable[[], int]) -> None:
        self._take_data_ns = take_data_ns
        self.profiled = False
        """Whether the profiler runs, and its overhead is in the times."""
        self._file: RecordFile | None = None
        self._block_start_ns = 0
        self._first = 0
        self._wall_us: list[float] = []
        self._data_us: list[float] = []
        self._was_profiled = False
        self._last_ns = 0
        self.watch = Watch()

    def sight(self) -> Sight:
        """Clocks are everywhere."""
        return Sight(collector=self.name, active=True, sees=["step times", "data-wait times"])

    def start(self, run: Run) -> None:
        """Begin the first step."""
        self._file = run.records("steps")
        self.restart(0)

    def restart(self, step: int) -> None:
        """Forget the running step: the next one is number `step` and begins now."""
        self._write()
        self._restart(step)

    def forget(self, step: int) -> None:
        """Forget the steps of late too, which a weaker marker had cut."""
        self._wall_us, self._data_us = [], []
        self._restart(step)

    def _restart(self, step: int) -> None:
        self._take_data_ns()
        self._last_ns = time.perf_counter_ns()
        self._begin_block(step)

    def step(self, step: int) -> None:
        """Step number `step` has ended."""
        now = time.perf_counter_ns()
        data_ns = self._take_data_ns()
        wall_us = (now - self._last_ns) / 1000
        self._last_ns = now
        if self.profiled is not self._was_profiled:
            self._write()
            self._begin_block(step, wall_us)
        self._wall_us.append(round(wall_us, 1))
        self._data_us.append(round(min(data_ns / 1000, wall_us), 1))
        if not self.profiled:
            self.watch.add(wall_us)
        if len(self._wall_us) >= _BLOCK_STEPS or time.time_ns() - self._block_start_ns > _BLOCK_NS:
            self._write()
            self._begin_block(step + 1)

    def stop(self) -> None:
        """Write the last block."""
        self._write()
        if self._file is not None:
            self._file.close()

    def _begin_block(self, first: int, running_us: float = 0.0) -> None:
        self._was_profiled = self.profiled
        self._first = first
        self._block_start_ns = time.time_ns() - round(running_us * 1000)

    def _write(self) -> None:
        if self._file is None or not self._wall_us:
            return
        wall, self._wall_us = self._wall_us, []
        data, self._data_us = self._data_us, []
        self._file.add(
            StepTimes(
                first=self._first,
                start_ns=self._block_start_ns,
                wall_us=wall,
                data_us=data,
                profiled=self._was_profiled,
            )
        )


class Watch:
    """Compares recent steps with a baseline of this run's own, which follows after each report."""

    def __init__(self) -> None:
        self._baseline: deque[float] = deque(maxlen=_BASELINE_STEPS)
        self._recent: deque[float] = deque(maxlen=_RECENT_STEPS)
        self._since, self._since_us = 0, 0.0
        self._found: Slowdown | None = None

    def add(self, wall_us: float) -> None:
        """One more unprofiled step."""
        if len(self._recent) == _RECENT_STEPS:
            self._baseline.append(self._recent[0])
        self._recent.append(wall_us)
        self._since += 1
        self._since_us += wall_us
        due = self._since >= _JUDGED_STEPS and self._since_us >= _JUDGED_US
        if due and len(self._baseline) >= _BASELINE_STEPS // 2:
            self._since, self._since_us = 0, 0.0
            self._found = self._found or self._judge()

    def take(self) -> Slowdown | None:
        """What was found since the last call; the baseline then starts anew."""
        found, self._found = self._found, None
        if found is not None:
            self._baseline.clear()
            self._recent.clear()
        return found

    def _judge(self) -> Slowdown | None:
        usual = median(self._baseline)
        recent = list(self._recent)
        if median(recent) > _SHIFT * usual:
            return "slow-steps"
        if min(recent[-_LASTING_STEPS:]) > _SHIFT * usual:
            return None  # perhaps a shift that has just begun
        excess = [us - usual for us in recent if us > _SPIKE * usual]
        before = sum(us > _SPIKE * usual for us in self._baseline) / len(self._baseline)
        more = len(excess) / len(recent) > 2 * before
        costly = sum(excess) > _SPIKE_SHARE * sum(recent)
        return "slow-step" if len(excess) >= _SPIKES and costly and more else None
