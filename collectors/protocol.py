"""What every collector is: started with a run, told of each step, stopped once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from perfkit.collectors.records import RecordFile
from perfkit.model.capture import Sight


@dataclass(frozen=True)
class Run:
    """What collectors share: this rank's folder and identity.

    `records(name)` opens `<name>.jsonl` in the folder, for records of `perfkit.model.capture`.
    `phase()` is what the step is in: "data", "forward", "backward", "optimizer", or None. A
    collector that wraps the training thread's wait for a batch does so `with waiting():`, which
    counts it as the step's data wait (once, where waits nest) and marks it in every profiler.
    What stands in `on_phase_end` is called on the training thread as it leaves a phase, by name.
    """

    folder: Path
    rank: int = 0
    world_size: int = 1
    local_rank: int | None = None
    record_shapes: bool = False
    with_stack: bool = False
    memory_snapshot: bool = False
    phase: Callable[[], str | None] = field(default=lambda: None)
    waiting: Callable[[], AbstractContextManager[object]] = field(default=nullcontext)
    on_phase_end: list[Callable[[str], None]] = field(default_factory=list)

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

    def step(self, step: int) -> None:
        """Step number `step` has just ended; called on the training thread, so be quick."""
        ...

    def stop(self) -> None:
        """Write what is left and undo every hook. Called once, also after a failed start."""
        ...
