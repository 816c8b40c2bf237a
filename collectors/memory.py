"""CUDA memory as PyTorch's caching allocator holds it, step by step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from perfkit.collectors.guard import attempt, guarded
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.model.capture import MemoryStep, Sight

_EVERY_STEP_UNTIL = 200
_PERIOD_S = 0.1
_SNAPSHOT = "memory_snapshot.pickle"
_MOST_EVENTS = 100_000
"""In a snapshot; a few hundred bytes each."""


class Memory:
    """Reads the current GPU's allocator after a step; after 200 steps at most ten times a second.

    It never initializes CUDA and never resets a peak: `torch.cuda.max_memory_allocated()` stays
    what it was. So a step's own peak is known only where the peak rose in it, and a phase's is
    what is allocated at its end, or the run's peak where that rose in it. Phases are looked at
    in the steps that are read, which are chosen before they begin. With
    `run.memory_snapshot` the last 100 000 allocations are left as memory_snapshot.pickle, for
    pytorch.org/memory_viz.
    """

    name = "memory"

    def __init__(self) -> None:
        self._records: RecordFile | None = None
        self._snapshot: Path | None = None
        self._is_recording = False
        self._due = 0.0
        self._peak: int | None = None
        self._by_phase: dict[str, int] = {}
        self._before: int | None = None
        self._last: MemoryStep | None = None
        self._is_reading = False
        """Whether the running step is read when it ends."""
        self._on_phase_end: list[Callable[[str], None]] = []
        self._owner = os.getpid()

    def sight(self) -> Sight:
        """Whether there is a CUDA allocator in this process to be read."""
        torch = sys.modules.get("torch")
        missing = _why_blind(torch)
        if missing is not None:
            return Sight(collector=self.name, active=False, missing=[missing])
        sees = ["memory allocated and reserved", "peaks so far", "retries", "out of memory"]
        return Sight(
            collector=self.name,
            active=True,
            sees=sees if _has_native_allocator(torch) else sees[:2],
            missing=[] if _has_native_allocator(torch) else [_OTHER_ALLOCATOR],
        )

    def start(self, run: Run) -> None:
        """Begin, once the process has initialized CUDA."""
        self._owner, self._records = os.getpid(), run.records("memory")
        self._snapshot = run.folder / _SNAPSHOT if run.memory_snapshot else None
        self._on_phase_end = run.on_phase_end
        self._record_history()

    def step(self, step: int) -> float:
        """Record the allocator's numbers, and choose whether the next step's are."""
        now, cuda = time.monotonic(), _live_cuda()
        if cuda is None or self._records is None:
            return inf
        if step < _EVERY_STEP_UNTIL or self._is_reading or now >= self._due:
            self._look(cuda, self._records, step, now)
        return step + 1 if step + 1 < _EVERY_STEP_UNTIL or self._is_reading else inf

    def _look(self, cuda: Any, file: RecordFile, step: int, now: float) -> None:
        if step < _EVERY_STEP_UNTIL or self._is_reading:
            self._record_history()
            file.add(self._read(cuda, step))
        self._choose(cuda, step + 1 < _EVERY_STEP_UNTIL or now >= self._due, now)

    def _choose(self, cuda: Any, is_reading: bool, now: float) -> None:
        """Read the next step and hear of its phases, or not."""
        self._is_reading = is_reading
        if is_reading:
            self._due = now + _PERIOD_S
            self._peak = _allocated(cuda)["peak"]
        heard = self._phase_ended in self._on_phase_end
        if is_reading and not heard:
            self._on_phase_end.append(self._phase_ended)
        elif heard and not is_reading:
            self._on_phase_end.remove(self._phase_ended)

    def stop(self) -> None:
        """Record a step that ran out of memory, and write the snapshot, if one was asked for."""
        if os.getpid() != self._owner:
            return
        attempt("Reading memory at the end", self._read_end)
        if self._is_recording and self._snapshot is not None:
            attempt("Writing the memory snapshot", _dump, self._snapshot)
        if self._records is not None:
            self._records.close()

    @guarded("Reading memory by phase")
    def _phase_ended(self, phase: str) -> None:
        cuda = _live_cuda()
        if cuda is None:
            return
        allocated = _allocated(cuda)
        rose = allocated["peak"] > (self._peak or 0)
        most = allocated["peak"] if rose else allocated["current"]
        self._peak = allocated["peak"]
        self._by_phase[phase] = max(most, self._by_phase.get(phase, 0))

    def _read_end(self) -> None:
        """A step that raised has no end to be read at."""
        cuda = _live_cuda()
        if cuda is None or self._records is None or self._last is None:
            return
        before = self._last
        found = self._read(cuda, before.step + 1)
        if (found.ooms or 0) > (before.ooms or 0):
            self._records.add(found)

    def _read(self, cuda: Any, step: int) -> MemoryStep:
        stats = cuda.memory.memory_stats_as_nested_dict()
        allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
        before, self._before = self._before, allocated["peak"]
        by_phase, self._by_phase = self._by_phase, {}
        more = _native_facts(stats) if _has_native_allocator(sys.modules["torch"]) else {}
        self._last = MemoryStep(
            step=step,
            allocated_bytes=allocated["current"],
            reserved_bytes=reserved["current"],
            peak_allocated_bytes=allocated["peak"],
            peak_rose=before is not None and allocated["peak"] > before,
            peak_reserved_bytes=reserved["peak"],
            peak_by_phase_bytes=by_phase or None,
            **more,
        )
        return self._last

    def _record_history(self) -> None:
        """Only where CUDA runs already, which this would start otherwise."""
        cuda = _live_cuda()
        if self._snapshot is None or self._is_recording or cuda is None:
            return
        self._is_recording = True
        attempt(
            "Recording memory history", cuda.memory._record_memory_history, max_entries=_MOST_EVENTS
        )


_OTHER_ALLOCATOR = (
    "This run uses an allocator other than PyTorch's own, which does not count retries and "
    "fragments: unset the backend in PYTORCH_CUDA_ALLOC_CONF to see them."
)


def _why_blind(torch: Any) -> str | None:
    if torch is None or not hasattr(torch, "cuda"):
        return "GPU memory is PyTorch's to tell, which this process has not imported: run a script."
    if not torch.version.cuda and not getattr(torch.version, "hip", None):
        return "This torch is built for CPUs: install a CUDA or ROCm build to see GPU memory."
    if not torch.cuda.is_initialized():
        return "This process has not used a GPU: move the model to one to see its memory."
    return None


def _live_cuda() -> Any:
    """torch.cuda once it is initialized in this process, else None."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return None
    return torch.cuda


def _allocated(cuda: Any) -> dict[str, int]:
    """Bytes allocated now ("current") and at most ("peak")."""
    found: dict[str, int] = cuda.memory.memory_stats_as_nested_dict()["allocated_bytes"]["all"]
    return found


def _has_native_allocator(torch: Any) -> bool:
    return bool(torch.cuda.get_allocator_backend() == "native")


def _native_facts(stats: dict[str, Any]) -> dict[str, Any]:
    """What other allocators report as zero."""
    split = stats.get("inactive_split_bytes", {}).get("all", {})
    return {
        "inactive_split_bytes": split.get("current"),
        "retries": stats.get("num_alloc_retries"),
        "ooms": stats.get("num_ooms"),
        "device_mallocs": stats.get("num_device_alloc"),
        "device_frees": stats.get("num_device_free"),
    }


def _dump(path: Path) -> None:
    """The file is there whole or not at all; recording ends."""
    memory = sys.modules["torch"].cuda.memory
    partial = path.with_name(f".{path.name}")
    try:
        memory._dump_snapshot(str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        memory._record_memory_history(enabled=None)
