"""A Trace in, a Diagnosis out (without findings, which rules add)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from perfkit.analyzers.allocation_facts import allocated_memory
from perfkit.analyzers.breakdown import StepTimes
from perfkit.analyzers.communication_facts import communication_facts
from perfkit.analyzers.compute_facts import compute_facts
from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.fidelity import fidelity
from perfkit.analyzers.framework import framework
from perfkit.analyzers.inference_facts import inference_facts
from perfkit.analyzers.kernels import kernel_tables
from perfkit.analyzers.outliers import outliers
from perfkit.analyzers.places import host_calls, places
from perfkit.analyzers.python_gaps import python_gaps
from perfkit.analyzers.run_facts import with_run
from perfkit.analyzers.timeline import timeline_of_step
from perfkit.analyzers.transfers import collectives, copies, overlap
from perfkit.analyzers.waste_facts import waste_facts
from perfkit.analyzers.whatif import saved_by_cause, what_if
from perfkit.model.cause import CAUSES
from perfkit.model.communication_facts import CommunicationFacts
from perfkit.model.compute_facts import Peak
from perfkit.model.diagnosis import (
    Breakdown,
    DeviceFacts,
    Diagnosis,
    Fidelity,
    RankRow,
    Source,
    StepRow,
    Steps,
    WhatIf,
)
from perfkit.model.trace import Int64s, Trace
from perfkit.version import __version__

if TYPE_CHECKING:
    from perfkit.trace.capture import Capture


Peaks = Mapping[str, Peak]


def diagnose(
    trace: Trace, capture: Capture | None = None, own_peaks: Peaks | None = None
) -> Diagnosis:
    """Everything one rank's trace shows, and the records of the Capture it is of.

    `own_peaks` are rates of devices by name, which come before those perfkit knows. `verdict` and
    `findings` are left to the advice rules.
    """
    return diagnosis_of(facts_of(trace), capture, own_peaks)


def diagnosis_of(
    facts: Facts, capture: Capture | None = None, own_peaks: Peaks | None = None
) -> Diagnosis:
    """The same from facts that are at hand, and may be asked more afterwards."""
    found = _of_trace(facts, own_peaks or {})
    return found if capture is None else with_run(found, capture)


class _Slow(NamedTuple):
    """What is made beside the tables: the replay, what rests on it, and facts of collectives."""

    fidelity: Fidelity
    saved_us: dict[str, float]
    whatif: WhatIf
    collective_facts: CommunicationFacts | None

    @classmethod
    def of(cls, facts: Facts) -> _Slow:
        """All of it, in the order in which one needs the other."""
        return cls(
            fidelity(facts), saved_by_cause(facts), what_if(facts), communication_facts(facts)
        )


def _of_trace(facts: Facts, own_peaks: Peaks) -> Diagnosis:
    with ThreadPoolExecutor(1) as beside:  # numpy mostly works without the interpreter's lock
        return _tables(facts, own_peaks, beside)


def _tables(facts: Facts, own_peaks: Peaks, beside: Executor) -> Diagnosis:
    """Everything; half of it is made beside the rest, and asked for last."""
    slow = beside.submit(_Slow.of, facts)
    kernels, summary = kernel_tables(facts)
    breakdown, idle = _means(facts)
    software, matrix = framework(facts, kernels), compute_facts(facts, own_peaks)
    waste = beside.submit(waste_facts, facts, software)
    return Diagnosis(
        perfkit_version=__version__,
        source=_source(facts.trace),
        device=_device(facts),
        verdict="",
        steps=_steps(facts),
        breakdown_us=breakdown,
        idle_us=idle,
        overlap=overlap(facts),
        kernels=kernels,
        kernel_summary=summary,
        host_calls=host_calls(facts),
        copies=copies(facts),
        collectives=collectives(facts),
        framework=software,
        places=places(facts),
        step_rows=_step_rows(facts),
        ranks=_ranks(facts.trace, breakdown, idle),
        blame=[],
        findings=[],
        timeline=timeline_of_step(facts),
        python_gaps=python_gaps(facts),
        memory=allocated_memory(facts),
        inference=inference_facts(facts, software, kernels, matrix),
        compute=matrix,
        outliers=outliers(facts),
        waste=waste.result(),
        environment=_environment(facts.trace),
        fidelity=slow.result().fidelity,
        saved_us=slow.result().saved_us,
        whatif=slow.result().whatif,
        collective_facts=slow.result().collective_facts,
    )


# Log lines and the name of whoever ran the job do not belong into a report that is passed on.
_NOT_FOR_A_REVIEW = frozenset(("INFO", "WARNING", "ERROR", "username"))


def _source(trace: Trace) -> Source:
    return Source(
        path=trace.info.source,
        format="kineto",
        events=len(trace),
        rank=trace.info.rank,
        world_size=trace.info.world_size,
    )


def _device(facts: Facts) -> DeviceFacts:
    devices = facts.trace.info.devices
    mine = next((d for d in devices if d.id == facts.work.device), devices[0] if devices else None)
    streams = len(np.unique(facts.trace.lane[facts.work.rows]))
    kind = cast("Any", facts.device_kind)
    if mine is None or kind == "cpu":
        return DeviceFacts(kind=kind, streams=streams or None)
    capability = f"{mine.compute_major}.{mine.compute_minor}"
    return DeviceFacts(
        kind=kind,
        name=mine.name or None,
        count=len(devices),
        index=facts.work.device if facts.work.device >= 0 else None,
        compute_capability=capability if mine.compute_major is not None else None,
        sm_count=mine.sm_count,
        memory_gb=mine.memory_bytes / 1e9 if mine.memory_bytes else None,
        streams=streams or None,
    )


def _steps(facts: Facts) -> Steps:
    wall = facts.times.wall[facts.counted] / 1000
    return Steps(
        count=facts.mean_over,
        excluded=list(facts.windows.excluded),
        marker=facts.windows.marker,
        mean_us=facts.per_step_us(facts.times.wall[facts.counted].sum()),
        p50_us=float(np.percentile(wall, 50)),
        p95_us=float(np.percentile(wall, 95)),
        note=facts.windows.note,
    )


def _means(facts: Facts) -> tuple[Breakdown, dict[str, float]]:
    """Means over the counted steps; sums of integers first, so that the parts add up."""
    times = facts.times.take(facts.counted)
    idle = times.idle.sum(axis=0)
    breakdown = Breakdown(
        compute=facts.per_step_us(times.compute.sum()),
        communication=facts.per_step_us(times.communication.sum()),
        copy=facts.per_step_us(times.copy.sum()),
        idle=facts.per_step_us(idle.sum()),
    )
    return breakdown, _named(idle, 1000 * facts.mean_over)


def _named(idle: Int64s, divisor: int) -> dict[str, float]:
    return {c.value: t / divisor for c, t in zip(CAUSES, idle.tolist(), strict=True)}


def _step_rows(facts: Facts) -> list[StepRow]:
    origin = int(facts.windows.start[0])
    counted = set(facts.counted.tolist())
    return [
        _step_row(facts, facts.times, i, origin, i in counted) for i in range(len(facts.windows))
    ]


def _step_row(facts: Facts, times: StepTimes, i: int, origin: int, counted: bool) -> StepRow:
    return StepRow(
        step=facts.windows.labels[i],
        start_us=(int(facts.windows.start[i]) - origin) / 1000,
        wall_us=int(times.wall[i]) / 1000,
        counted=counted,
        breakdown_us=Breakdown(
            compute=int(times.compute[i]) / 1000,
            communication=int(times.communication[i]) / 1000,
            copy=int(times.copy[i]) / 1000,
            idle=int(times.idle[i].sum()) / 1000,
        ),
        idle_us={k: v for k, v in _named(times.idle[i], 1000).items() if v},
    )


def _ranks(trace: Trace, breakdown: Breakdown, idle: dict[str, float]) -> list[RankRow]:
    return [RankRow(rank=trace.info.rank or 0, breakdown_us=breakdown, idle_us=idle)]


def _environment(trace: Trace) -> dict[str, Any]:
    return {k: v for k, v in trace.info.metadata.items() if k not in _NOT_FOR_A_REVIEW}
