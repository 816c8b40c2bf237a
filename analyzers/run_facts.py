"""A Capture in, the facts of its run out: what the records say beside the trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.clock_facts import clocks
from perfkit.analyzers.loader_facts import loaders
from perfkit.analyzers.machine_facts import gpus, host
from perfkit.analyzers.memory_facts import memory
from perfkit.analyzers.occasion_facts import checkpoints, collections
from perfkit.analyzers.setup_facts import setup
from perfkit.model.capture import FileSystem, StepTimes
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import (
    FileSystemFacts,
    MemoryFacts,
    RunFacts,
    RunSteps,
    RunWindow,
    StepPoint,
    StepStats,
)

if TYPE_CHECKING:
    from perfkit.trace.capture import Capture
    from perfkit.trace.capture_folder import Recording
    from perfkit.trace.capture_records import Records

_MOST_POINTS = 400
_LAST_STEP = 1 << 53  # no run gets there, and numbers beyond are not exact
_MUCH_LESS_WAIT = 0.05  # of the step: as much as makes a loader a warning
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """All steps in order; every column has shape (steps,), times in microseconds."""

    number: NDArray[np.int64]
    wall: Floats
    data: Floats
    profiled: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | slice) -> Steps:
        """Some of the steps."""
        return Steps(self.number[rows], self.wall[rows], self.data[rows], self.profiled[rows])

    def __len__(self) -> int:
        return len(self.number)


def with_run(diagnosis: Diagnosis, capture: Capture) -> Diagnosis:
    """The diagnosis with what the run's records say."""
    run = run_facts(capture)
    notes = [*diagnosis.fidelity.notes, *capture.notes, *_hidden_wait(run.steps)]
    return msgspec.structs.replace(
        diagnosis,
        source=msgspec.structs.replace(diagnosis.source, format="capture"),
        fidelity=msgspec.structs.replace(diagnosis.fidelity, notes=notes),
        run=run,
        memory=_memory(diagnosis.memory, memory(capture.records)),
        setup=setup(capture.facts, capture.records),
        clocks=clocks(capture.trace, capture.records, diagnosis.device.index),
    )


def _memory(traced: MemoryFacts | None, watched: MemoryFacts | None) -> MemoryFacts | None:
    """What was watched over the run, with the failure that only the trace tells of."""
    if watched is None or traced is None:
        return watched or traced
    return msgspec.structs.replace(watched, failed=traced.failed)


def _hidden_wait(steps: RunSteps | None) -> list[str]:
    """A profiler makes steps longer, and loaders catch up meanwhile."""
    if steps is None or steps.unprofiled is None or steps.window is None:
        return []
    usual, window = steps.unprofiled.data_share, steps.window.data_share
    if usual - window < _MUCH_LESS_WAIT:
        return []
    return [
        f"Without the profiler, steps wait {usual * 100:.0f} % of their time for data, in this "
        f"window {window * 100:.0f} %: the run loses more to its input than the breakdown shows."
    ]


def run_facts(capture: Capture) -> RunFacts:
    """Everything the records of one rank say; what was not recorded is absent."""
    records, facts = capture.records, capture.facts
    taken, machine = steps_of(records), host(records)
    return RunFacts(
        capture=capture.path,
        rank=capture.rank,
        ranks=len(capture.ranks),
        world_size=facts.world_size if facts else None,
        script=capture.manifest.script if capture.manifest else None,
        host=facts.host if facts else None,
        ended=facts.ended if facts else None,
        error=facts.error if facts else None,
        duration_us=(facts.ended_ns - facts.started_ns) / 1000
        if facts and facts.ended_ns
        else None,
        step_marker=facts.step_marker if facts else None,
        window=_window(capture),
        steps=step_facts(taken, capture.recording) if len(taken) else None,
        loaders=loaders(records, taken.wall, taken.data, machine),
        file_systems=_file_systems(records),
        checkpoints=checkpoints(records, len(taken)),
        gpus=gpus(records),
        cpu=machine,
        gc=collections(records, len(taken)),
        missing=[said for sight in (facts.collectors if facts else []) for said in sight.missing],
    )


def _window(capture: Capture) -> RunWindow:
    found = capture.recording
    return RunWindow(
        number=capture.number,
        count=capture.windows,
        first_step=found.first_step,
        steps=found.steps,
        reason=found.reason,
    )


def steps_of(records: Records) -> Steps:
    """The steps of all blocks, by number; times that are no times are left out."""
    blocks = [_block(times) for times in records.of(StepTimes)]
    number, wall, data, profiled = (
        np.concatenate([block[i] for block in blocks]) if blocks else np.empty(0) for i in range(4)
    )
    good = np.isfinite(wall) & np.isfinite(data) & (wall > 0) & (data >= 0)
    good &= np.abs(number) < _LAST_STEP
    order = np.argsort(number[good], kind="stable")
    return Steps(
        number[good][order].astype(np.int64),
        wall[good][order],
        np.minimum(data[good][order], wall[good][order]),
        profiled[good][order].astype(np.bool_),
    )


def _block(times: StepTimes) -> tuple[Floats, ...]:
    count = min(len(times.wall_us), len(times.data_us))
    return (
        times.first + np.arange(count, dtype=np.float64),
        np.array(times.wall_us[:count], dtype=np.float64),
        np.array(times.data_us[:count], dtype=np.float64),
        np.full(count, float(times.profiled)),
    )


def step_facts(taken: Steps, recording: Recording) -> RunSteps:
    """Unprofiled steps against those of the window; the run's first step stands alone."""
    later = taken.take(slice(1, None)) if len(taken) > 1 and taken.number[0] == 0 else taken
    unprofiled = _stats(later.take(~later.profiled))
    window = _stats(later.take(_in_window(later, recording)))
    overhead = (
        window.mean_us / unprofiled.mean_us - 1 if window is not None and unprofiled else None
    )
    return RunSteps(
        total=len(taken),
        first_us=float(taken.wall[0]) if len(later) < len(taken) else None,
        unprofiled=unprofiled,
        window=window,
        overhead_share=overhead,
        points=_points(taken),
    )


def _in_window(taken: Steps, recording: Recording) -> NDArray[np.bool_]:
    first, steps = recording.first_step, recording.steps
    if first is None or steps is None:
        return taken.profiled
    inside = (taken.number >= first) & (taken.number < first + steps)
    return np.asarray(inside & taken.profiled, dtype=np.bool_)


def _stats(some: Steps) -> StepStats | None:
    if not len(some):
        return None
    return StepStats(
        count=len(some),
        mean_us=float(some.wall.mean()),
        p50_us=float(np.percentile(some.wall, 50)),
        p95_us=float(np.percentile(some.wall, 95)),
        max_us=float(some.wall.max()),
        data_mean_us=float(some.data.mean()),
        data_share=min(float(some.data.sum() / some.wall.sum()), 1.0),
    )


def _points(taken: Steps) -> list[StepPoint]:
    """The run as at most so many points, each of consecutive steps of one kind."""
    size = -(-len(taken) // (_MOST_POINTS // 2))
    turns = np.flatnonzero(np.diff(taken.profiled.astype(np.int8))) + 1
    edges = np.unique(np.concatenate(([0], turns, np.arange(0, len(taken), size))))
    parts = np.split(np.arange(len(taken)), edges[1:])
    return [_point(taken, part) for part in parts[:_MOST_POINTS]]


def _point(taken: Steps, rows: NDArray[np.int64]) -> StepPoint:
    return StepPoint(
        step=int(taken.number[rows[0]]),
        wall_us=float(taken.wall[rows].mean()),
        max_us=float(taken.wall[rows].max()),
        data_us=float(taken.data[rows].mean()),
        profiled=bool(taken.profiled[rows[0]]),
    )


def _file_systems(records: Records) -> list[FileSystemFacts]:
    """Each place once, as it was seen last."""
    names = FileSystemFacts.__struct_fields__
    last = {(found.role, found.path): found for found in records.of(FileSystem)}
    return [
        FileSystemFacts(**{name: getattr(found, name) for name in names})
        for _, found in sorted(last.items())
    ]
