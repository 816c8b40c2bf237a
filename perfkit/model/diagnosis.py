"""Everything perfkit says about a run: versioned, the only thing reports and gates read.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured. Breakdown
and idle tables are means over the counted steps, in microseconds. The parts of a Diagnosis are
defined by subject in the modules beside this one, and imported from here.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perfkit.model.clock_facts import ClockFacts
from perfkit.model.communication_facts import CommunicationFacts
from perfkit.model.compute_facts import ComputeFacts, WasteFacts
from perfkit.model.device_work import Collective, Copy, Kernel, KernelClass, KernelSummary, Overlap
from perfkit.model.fidelity import Fidelity, Replay
from perfkit.model.finding import Audience, Confidence, Evidence, Finding, LeftOut, Remedy, Severity
from perfkit.model.inference_facts import InferenceFacts
from perfkit.model.noun import Noun
from perfkit.model.places import HostCall, Place, PythonGaps
from perfkit.model.run_facts import MemoryFacts, RunFacts
from perfkit.model.setup_facts import SetupFacts
from perfkit.model.steps import (
    Breakdown,
    Excluded,
    Marker,
    Outlier,
    Outliers,
    RankRow,
    StepRow,
    Steps,
    Timeline,
    TimelineEvent,
)
from perfkit.model.whatif import Fix, Gain, Money, PerDay, Together, WhatIf

__all__ = [
    "SCHEMA",
    "Audience",
    "Breakdown",
    "Collective",
    "Confidence",
    "Copy",
    "DeviceFacts",
    "Diagnosis",
    "Evidence",
    "Excluded",
    "Fidelity",
    "Finding",
    "Fix",
    "Framework",
    "Gain",
    "HostCall",
    "Kernel",
    "KernelClass",
    "KernelSummary",
    "LeftOut",
    "Marker",
    "Money",
    "Outlier",
    "Outliers",
    "Overlap",
    "PerDay",
    "Place",
    "PythonGaps",
    "RankRow",
    "Remedy",
    "Replay",
    "Severity",
    "Source",
    "StepRow",
    "Steps",
    "Timeline",
    "TimelineEvent",
    "Together",
    "WhatIf",
]

SCHEMA = "perfkit.diagnosis/1"


class Source(Noun, frozen=True, kw_only=True):
    """Where the numbers come from."""

    path: str
    format: str
    events: int
    rank: int | None = None
    world_size: int | None = None


class DeviceFacts(Noun, frozen=True, kw_only=True):
    """The device whose time is cut; `kind` is "gpu", or "cpu" when the trace has no GPU work."""

    kind: Literal["gpu", "cpu", "none"]
    name: str | None = None
    count: int | None = None
    index: int | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    memory_gb: float | None = None
    streams: int | None = None


class Framework(Noun, frozen=True, kw_only=True):
    """What the trace shows of the software above the kernels."""

    parallelism: list[str]
    data_loader: str | None = None
    optimizer: str | None = None
    compiled: bool
    cuda_graphs: bool
    inference: bool
    low_precision_share: float | None = None


class Diagnosis(Noun, frozen=True, kw_only=True):
    """Everything about a run."""

    schema: str = msgspec.field(default_factory=lambda: SCHEMA)
    perfkit_version: str
    source: Source
    device: DeviceFacts
    verdict: str
    steps: Steps
    breakdown_us: Breakdown
    idle_us: dict[str, float]
    overlap: Overlap | None = None
    kernels: list[Kernel]
    kernel_summary: KernelSummary | None = None
    host_calls: list[HostCall]
    copies: list[Copy]
    collectives: list[Collective]
    collective_facts: CommunicationFacts | None = None
    framework: Framework
    places: list[Place]
    outliers: Outliers | None = None
    step_rows: list[StepRow]
    ranks: list[RankRow]
    blame: list[Place]
    findings: list[Finding]
    left_out: LeftOut | None = None
    """None where every rule was asked and all it found is told."""
    fidelity: Fidelity
    saved_us: dict[str, float] = {}
    """By cause of idle time: what the step would save without it, by replay."""
    whatif: WhatIf | None = None
    money: Money | None = None
    """Only where the number of GPUs was told."""
    timeline: Timeline | None = None
    run: RunFacts | None = None
    """What the records of a Capture say; None for a trace file."""
    memory: MemoryFacts | None = None
    setup: SetupFacts | None = None
    """Of a Capture; None for a trace file, as the next."""
    clocks: ClockFacts | None = None
    python_gaps: PythonGaps | None = None
    inference: InferenceFacts | None = None
    """Only of a window without backward and optimizer."""
    compute: ComputeFacts | None = None
    """Matrix operators against the device's peak; None where shapes were not recorded."""
    waste: WasteFacts | None = None
    environment: dict[str, Any]

    def to_json(self, *, indent: int = 2) -> str:
        """The versioned JSON; absent values are left out."""
        return msgspec.json.format(msgspec.json.encode(self), indent=indent).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Diagnosis:
        """Read what `to_json` wrote; raises `msgspec.ValidationError` on anything else."""
        return msgspec.json.decode(text, type=cls)
