"""One run on one rank: its steps, and the collectors that watch them."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from threading import get_ident
from typing import Any, Literal
from weakref import WeakSet

from perfkit.collectors import watchers
from perfkit.collectors.folder import CaptureFolder
from perfkit.collectors.guard import attempt, failed, say_once
from perfkit.collectors.phases import Phases
from perfkit.collectors.protocol import Collector, EachSecond, EachStep, Run, Unwatched, unwatched
from perfkit.collectors.step_clock import StepClock
from perfkit.collectors.torch_profiler import Reason, TorchProfiler
from perfkit.collectors.trigger import SignalTrigger
from perfkit.model.capture import Schedule, Window

Marker = Literal["dataloader", "optimizer", "decorator", "steps()", "step()"]
Ended = Literal["finished", "exception", "signal"]
_STRENGTH: dict[Marker, int] = {
    "dataloader": 0,
    "optimizer": 1,
    "decorator": 2,
    "steps()": 2,
    "step()": 2,
}
_WAITS_NEXT: frozenset[Marker] = frozenset({"dataloader", "steps()"})
"""Where a step ends so, a batch is waited for at once."""
_TRIGGERED_WINDOWS = 3
_TICK_NS = 1_000_000_000
_REST_NS = 100_000_000
"""After so long collectors are told of a step that none of them has asked for."""
_MOST_QUIET = 512
"""Quiet steps in a row, should no collector name a step."""
_MOST_ACCUMULATED = 256
"""Batches with a backward pass after which no optimizer is expected any more."""


@dataclass(frozen=True)
class Options:
    """What a user chose for a run; `ranks` are those that open profiled windows (None: all)."""

    folder: Path
    schedule: Schedule = field(default_factory=Schedule)
    ranks: Sequence[int] | None = None
    record_shapes: bool = False
    with_stack: bool = False
    memory_snapshot: bool = False
    watch: bool = True


class Session:
    """Drives every collector; what fails in one is said once and ends with it.

    The strongest marker of steps that the run has shown counts: the user's own, else optimizer
    steps (so that accumulated gradients are one step), else batches.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._marker: Marker | None = None
        self._strength = -1
        """Of the marker; none yet."""
        self._looks = True
        """Whether a step's end has to look who is there to see phases; a wait does so itself."""
        self._optimizer: int | None = None
        self._accumulated = 0
        self._triggers = _TRIGGERED_WINDOWS if options.watch else 0
        self._collectors: list[Collector] = []
        self._each_step: list[tuple[Collector, Callable[[int], float]]] = []
        self._each_second: list[tuple[Collector, Callable[[], None]]] = []
        self._tick_due_ns = 0
        self._due_step: float = 0
        """The step whose end a collector has asked to be told of."""
        self.quiet_until_ns = 0
        """Until then no collector has to be told of others; see `quiet_steps`."""
        self.windows = 0
        """Profiled windows that were written."""
        self.active = False
        self.inside = False
        """Whether a decorated step runs: one inside of it is a part of it."""
        self.quiet: WeakSet[Generator[Any, None, None]] = WeakSet()
        """Stretches of quiet steps, which tell of their waits as they are closed."""
        self._unwatched: list[Callable[[Any], Unwatched | None]] = []
        self.phases = Phases()
        self.clock = StepClock(self.phases)
        self._profiler = TorchProfiler(options.schedule, self._window_ended)

    def start(self) -> None:
        """Make the folder and start the collectors; a run that cannot write is left alone."""
        ranks = list(self._options.ranks) if self._options.ranks is not None else None
        try:
            self._folder = CaptureFolder(self._options.folder, self._options.schedule, ranks)
        except OSError as error:
            say_once(
                f"nothing is collected, for {self._options.folder} cannot be written"
                f" ({error.strerror}): choose a folder you may write to."
            )
            return
        self.active = True
        rank = self._folder.facts.rank
        self._collectors = [self.clock, *watchers(), SignalTrigger(self._request)]
        if ranks is None or rank in ranks:
            self._collectors.append(self._profiler)
        self.phases.on_optimizer, self.phases.on_wait = self._optimizer_stepped, self._batch_wanted
        attempt("Hooking into torch", self.phases.install)
        self._keep(self._each("start", self._run()))
        self.clock.set_profiled(self._profiler.recording)
        self.phases.look()
        self._tell()
        atexit.register(self.stop)

    @property
    def rank(self) -> int:
        """This process's, of a session that has started."""
        return self._folder.facts.rank

    @property
    def root(self) -> Path:
        """The Capture, of a session that has started."""
        return self._folder.root

    def begin(self, marker: Marker) -> None:
        """A step begins here, where the run has shown none yet; on the training thread."""
        if self.active and _STRENGTH[marker] > self._strength:
            self.phases.thread = get_ident()
            self._take(marker)

    def begin_anew(self, marker: Marker) -> None:
        """A step begins here; what ran since the last one ended belongs to none."""
        self.begin(marker)
        if self.active and self.phases.is_training_thread():
            self.clock.restart()

    def step(self, marker: Marker) -> int:
        """A step has ended, and the next one begins. Raises nothing.

        Returns when that was, on the clock of `time.perf_counter_ns`; 0 where that is past.
        """
        if not self.active or get_ident() != self.phases.thread:
            return 0
        strength = _STRENGTH[marker]
        try:
            if strength == self._strength:
                return self._end_step()
            if strength > self._strength:
                self._take(marker)
        except Exception as error:
            failed("Ending a step", error)
        return 0

    def enter_step(self) -> None:
        """A decorated call begins."""
        self.inside = True
        self.begin("decorator")
        phases = self.phases
        if self.active and phases.current is None and phases.is_training_thread() and phases.look():
            phases.enter("forward")

    def leave_step(self, *, completed: bool) -> None:
        """A decorated call ends, which is a step if it did not raise."""
        self.inside = False
        if completed:
            self.step("decorator")

    def stop(self, ended: Ended | None = None, error: type[BaseException] | None = None) -> None:
        """Finish every file. Only the first call does anything, and only in the run's process.

        `error` is the class of the exception that ended the run.
        """
        if not self.active:
            return
        self.active, self.quiet_until_ns = False, 0
        atexit.unregister(self.stop)
        attempt("Closing a range", self.phases.enter, None)
        attempt("Ending quiet steps", self._end_quiet)
        self._tell()
        self._collectors.reverse()
        self._each("stop")
        attempt("Undoing hooks", self.phases.remove)
        ended = ended or ("exception" if hasattr(sys, "last_value") else "finished")
        if ended == "exception":
            error = error or getattr(sys, "last_type", None)
        attempt("The facts of the run", self._folder.update, ended=ended,
                error=error.__name__ if error else None, ended_ns=time.time_ns())  # fmt: skip

    def abandon(self) -> None:
        """This is a forked child, and the run is its parent's."""
        self.active, self.quiet_until_ns = False, 0
        self.phases.thread = -1

    def _run(self) -> Run:
        facts = self._folder.facts
        return Run(
            folder=self._folder.path,
            rank=facts.rank,
            world_size=facts.world_size,
            local_rank=facts.local_rank,
            record_shapes=self._options.record_shapes,
            with_stack=self._options.with_stack,
            memory_snapshot=self._options.memory_snapshot,
            begin_wait=self.phases.begin_wait,
            end_wait=self.phases.end_wait,
            wait=self.phases.wait,
            on_phase_end=self.phases.on_phase_end,
            running_step=lambda: self.clock.running_step or None,
            unwatched=self._unwatched,
        )

    def _each(self, method: str, *args: object) -> list[Collector]:
        """Call a method of every collector; those that did not fail."""
        return [c for c in self._collectors if self._works(c, method, *args)]

    def _works(self, collector: Collector, method: str, *args: object) -> bool:
        try:
            getattr(collector, method)(*args)
        except Exception as error:
            if method == "stop":
                _say_lost(collector, error)
            else:
                self._drop(collector, error)
            return False
        return True

    def _drop(self, collector: Collector, error: Exception) -> None:
        _say_lost(collector, error)
        self._works(collector, "stop")
        self._keep([c for c in self._collectors if c is not collector])

    def _keep(self, collectors: list[Collector]) -> None:
        self._collectors = collectors
        each_step = [(c, c.step) for c in collectors if isinstance(c, EachStep)]
        self._each_step = [(self.clock, self.clock.settle), *each_step]
        self._each_second = [(c, c.tick) for c in collectors if isinstance(c, EachSecond)]

    def _take(self, marker: Marker) -> None:
        """Steps are marked so from here on, and one begins; weaker markers need no call more."""
        self._marker, self._strength = marker, _STRENGTH[marker]
        self._looks = marker not in _WAITS_NEXT
        if self._strength > _STRENGTH["dataloader"]:
            self.phases.on_wait = None
        if self._strength > _STRENGTH["optimizer"]:
            self.phases.on_optimizer = None
        self.clock.forget()
        self._request_step()
        self.phases.look()

    def quiet_steps(self) -> int:
        """So many of the next steps, until `quiet_until_ns`, need not end with `step`.

        They have to be added to `clock`, while nobody looks at phases.
        """
        left = 0 if self.phases.looked_at else self._due_step - self.clock.running_step
        return int(min(max(left, 0), _MOST_QUIET))

    def may_be_quiet(self, now_ns: int) -> bool:
        """Whether quiet steps may go on now, among which other loops may have had theirs."""
        is_due = now_ns >= self.quiet_until_ns or self.clock.running_step >= self._due_step
        return not is_due and not self.phases.listening()

    def unwatched(self, iterator: Any) -> Unwatched:
        """How to ask it for batches in quiet steps."""
        for how in self._unwatched:
            found = attempt("Watching a loader", how, iterator)
            if found is not None:
                return found
        return unwatched(iterator)

    def _end_quiet(self) -> None:
        """A loop that the user keeps has waits to tell of; that in which this runs cannot end."""
        for stretch in tuple(self.quiet):
            with suppress(ValueError):  # it runs
                stretch.close()

    def _end_step(self) -> int:
        phases, step = self.phases, self.clock.running_step
        if phases.current is not None:
            phases.enter(None)
        now = self.clock.end_step()
        if step < self._due_step and now < self.quiet_until_ns and not self._looks:
            return now
        if step >= self._due_step or now >= self.quiet_until_ns:
            self._tell_of_step(step, now)
        if self._looks:
            phases.look()
        return 0

    def _tell_of_step(self, step: int, now_ns: int) -> None:
        """The collectors hear that it has ended, and say which one they have to hear of next."""
        clock, self._due_step = self.clock, inf
        self.quiet_until_ns = now_ns + _REST_NS
        for collector, ended in self._each_step:
            try:
                due = ended(step)  # in which a signal may set _due_step
                self._due_step = min(self._due_step, due)
            except Exception as error:
                self._drop(collector, error)
        was_recording, recording = clock.profiled, self._profiler.recording
        clock.set_profiled(recording)
        if was_recording and not recording:
            clock.restart()  # exporting is perfkit's time, not the next step's
        elif clock.slowdown is not None:
            self._open_for_slowdown()
        if now_ns >= self._tick_due_ns:
            self._tick()

    def _tick(self) -> None:
        self._tick_due_ns = time.perf_counter_ns() + _TICK_NS
        for collector, tick in self._each_second:
            try:
                tick()
            except Exception as error:
                self._drop(collector, error)

    def _open_for_slowdown(self) -> None:
        found, self.clock.slowdown = self.clock.slowdown, None
        if found is not None and self._triggers:
            self._triggers -= 1
            self._request(found)

    def _request(self, reason: Reason) -> None:
        """Open a window at the next step."""
        self._profiler.request(reason)
        self._request_step()

    def _request_step(self) -> None:
        """Collectors have to be told of the running step's end."""
        self._due_step, self.quiet_until_ns = 0, 0

    def _optimizer_stepped(self, optimizer: int) -> None:
        self._optimizer = self._optimizer or optimizer
        if optimizer == self._optimizer:
            self.step("optimizer")

    def _batch_wanted(self) -> None:
        """A batch is a step, unless gradients are seen, which an optimizer will step with."""
        if self._marker == "dataloader" and self.phases.has_backward:
            self._accumulated += 1
            if self._accumulated <= _MOST_ACCUMULATED:
                return
        self.step("dataloader")

    def _window_ended(self, window: Window) -> None:
        self._folder.add_window(window)
        self.windows += 1

    def _tell(self) -> None:
        """Write what each collector sees, and how steps are marked."""
        sights = [attempt(f"Asking {c.name}", c.sight) for c in self._collectors]
        seen = [sight for sight in sights if sight is not None]
        attempt("rank.json", self._folder.update, step_marker=self._marker, collectors=seen)


def _say_lost(collector: Collector, error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}"
    say_once(f"the collector of {collector.name} failed and is left out ({reason}).")


_current: Session | None = None


def current() -> Session | None:
    """The session that runs in this process."""
    return _current if _current is not None and _current.active else None


def begin_session(options: Options) -> Session:
    """Start one, or join the one that runs: a process has one Capture."""
    global _current  # noqa: PLW0603
    running = current()
    if running is not None:
        return running
    session = _current = Session(options)
    attempt("Starting", session.start)
    return session


def _in_forked_child() -> None:
    if _current is not None:
        _current.abandon()


os.register_at_fork(after_in_child=_in_forked_child)
