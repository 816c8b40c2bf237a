"""What every collector is: started with a run, told of its steps, stopped once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from perfkit.collectors.records import RecordFile
from perfkit.model.capture import Sight


class Wait:
    """The training thread's wait for a batch, which waits inside of it are a part of."""

    is_on = False


class Unwatched(NamedTuple):
    """How the training thread asks an iterator for batches while nobody has to watch.

    Instead of each wait, `tell` hears once of all: how many gave a batch, what they took, when the
    first began (nanoseconds, of `time.perf_counter_ns`), and what the last one took that found the
    end, None where none did.
    """

    ask: Callable[[], Any]
    until_ns: float
    tell: Callable[[int, int, int, int | None], None]


def _nobody(batches: int, took_ns: int, began_ns: int, end_ns: int | None) -> None:
    """Nobody watches."""


def unwatched(iterator: Any) -> Unwatched:
    """Of an iterator that no collector watches; its own `__next__` need not be its class's."""
    return Unwatched(partial(next, iterator), inf, _nobody)


def _inside() -> bool:
    return False


def _ended(completed: bool) -> None:
    """Nobody listens."""


def _unknown() -> None:
    """No step is known."""


@dataclass(frozen=True)
class Run:
    """What collectors share: this rank's folder and identity.

    `records(name)` opens `<name>.jsonl` in the folder, for records of `perfkit.model.capture`.
    A collector that wraps the training thread's wait for a batch calls `begin_wait()` before it
    and, where that said True, `end_wait(completed)` after it, whatever happens: so the wait counts
    as the step's data wait (once, where waits nest) and is marked in every profiler. While
    `wait.is_on` it would say False.
    What stands in `on_phase_end` is called on the training thread as it leaves a phase, with its
    name: "data", "forward", "backward" or "optimizer". While nothing stands there and no profiler
    runs, phases are not told apart, which makes them free. `running_step` gives the number of the
    step that runs, once another has ended. A collector that watches iterators puts a function into
    `unwatched` that says how one of these is to be asked unwatched, or None.
    """

    folder: Path
    rank: int = 0
    world_size: int = 1
    local_rank: int | None = None
    record_shapes: bool = False
    with_stack: bool = False
    memory_snapshot: bool = False
    begin_wait: Callable[[], bool] = _inside
    end_wait: Callable[[bool], None] = _ended
    wait: Wait = field(default_factory=Wait)
    on_phase_end: list[Callable[[str], None]] = field(default_factory=list)
    running_step: Callable[[], int | None] = _unknown
    unwatched: list[Callable[[Any], Unwatched | None]] = field(default_factory=list)

    def records(self, name: str) -> RecordFile:
        """A file for one kind of records; the caller closes it."""
        return RecordFile(self.folder / f"{name}.jsonl")


class Collector(Protocol):
    """One source of facts about a run. Any exception it lets out switches it off, never the run."""

    name: str

    def sight(self) -> Sight:
        """What it can see on this machine and what not, with the remedy; needs no run."""
        ...

    def start(self, run: Run) -> None:
        """Begin. A collector that sees nothing here does nothing from now on."""
        ...

    def stop(self) -> None:
        """Write what is left and undo every hook. Called once, also after a failed start."""
        ...


@runtime_checkable
class EachStep(Protocol):
    """A collector that is told of steps: those it asks for, and at least one in 100 ms."""

    def step(self, step: int) -> float:
        """Step number `step` has just ended; on the training thread, so take a microsecond.

        Returns the number of the step whose end it has to be told of next, `inf` for none.
        """
        ...


@runtime_checkable
class EachSecond(Protocol):
    """A collector that is told now and then."""

    def tick(self) -> None:
        """A step has just ended, the first one or a second after the last call; as above."""
        ...
