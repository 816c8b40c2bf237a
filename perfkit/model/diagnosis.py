"""Everything perfkit says about a run: versioned, the only thing reports and gates read.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured. Breakdown
and idle tables are means over the counted steps, in microseconds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perfkit.model.clock_facts import ClockFacts
from perfkit.model.communication_facts import CommunicationFacts
from perfkit.model.compute_facts import ComputeFacts, WasteFacts
from perfkit.model.inference_facts import InferenceFacts
from perfkit.model.run_facts import MemoryFacts, RunFacts
from perfkit.model.setup_facts import SetupFacts

SCHEMA = "perfkit.diagnosis/1"

Severity = Literal["critical", "warning", "info"]
Confidence = Literal["high", "medium", "low"]
Audience = Literal["researcher", "infrastructure"]
Marker = Literal["ProfilerStep", "detected", "none"]


class _Noun(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Source(_Noun, frozen=True, kw_only=True):
    """Where the numbers come from."""

    path: str
    format: str
    events: int
    rank: int | None = None
    world_size: int | None = None


class DeviceFacts(_Noun, frozen=True, kw_only=True):
    """The device whose time is cut; `kind` is "gpu", or "cpu" when the trace has no GPU work."""

    kind: Literal["gpu", "cpu", "none"]
    name: str | None = None
    count: int | None = None
    index: int | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    memory_gb: float | None = None
    streams: int | None = None


class Excluded(_Noun, frozen=True, kw_only=True):
    """A step left out of the means, and why."""

    step: str
    reason: str


class Steps(_Noun, frozen=True, kw_only=True):
    """How the time line was cut into steps."""

    count: int
    excluded: list[Excluded]
    marker: Marker
    mean_us: float
    p50_us: float
    p95_us: float
    note: str | None = None


class Breakdown(_Noun, frozen=True, kw_only=True):
    """A wall time cut once, exclusively: the four parts sum to it."""

    compute: float
    communication: float
    copy: float
    idle: float


class StepRow(_Noun, frozen=True, kw_only=True):
    """One step: times in microseconds, `start_us` from the first step's start."""

    step: str
    start_us: float
    wall_us: float
    counted: bool
    breakdown_us: Breakdown
    idle_us: dict[str, float]


class Overlap(_Noun, frozen=True, kw_only=True):
    """Communication and copies against computation, mean per step."""

    communication_us: float
    communication_hidden_share: float | None = None
    copy_us: float
    copy_hidden_share: float | None = None


class Kernel(_Noun, frozen=True, kw_only=True):
    """One kernel name: `total_us` per step, `share` of all kernel time."""

    name: str
    kind: str
    launches_per_step: float
    total_us: float
    mean_us: float
    share: float


class KernelClass(_Noun, frozen=True, kw_only=True):
    """Kernels of one class, e.g. GEMM or element-wise; times per step."""

    kind: str
    launches_per_step: float
    total_us: float
    share: float
    tensor_core_share: float | None = None


class KernelSummary(_Noun, frozen=True, kw_only=True):
    """Counts over all kernels of the counted steps."""

    launches_per_step: float
    median_us: float
    under_10us_share: float
    classes: list[KernelClass]


class HostCall(_Noun, frozen=True, kw_only=True):
    """Calls on the host that matter to the GPU: `role` is sync, allocator, launch or copy.

    `total_us` is the time inside the calls per step; `idle_us` the GPU idle time charged to them.
    """

    name: str
    role: str
    count_per_step: float
    total_us: float
    idle_us: float


class Copy(_Noun, frozen=True, kw_only=True):
    """Copies of one direction and memory kind; times per step, bytes where all tell theirs.

    `within` names the cause that made them, where it is not the step itself: a checkpoint; `line`
    is the place in the source (as of a Place) from which most of their time was launched.
    """

    direction: str
    memory: str
    count_per_step: float
    bytes_per_step: float | None = None
    total_us: float
    exposed_us: float
    idle_us: float
    within: str | None = None
    line: str | None = None


class Collective(_Noun, frozen=True, kw_only=True):
    """Communication kernels of one name; times per step."""

    name: str
    count_per_step: float
    total_us: float
    exposed_us: float
    bytes_per_step: float | None = None
    dtype: str | None = None
    group_size: int | None = None


class Framework(_Noun, frozen=True, kw_only=True):
    """What the trace shows of the software above the kernels."""

    parallelism: list[str]
    data_loader: str | None = None
    optimizer: str | None = None
    compiled: bool
    cuda_graphs: bool
    inference: bool
    low_precision_share: float | None = None


class Place(_Noun, frozen=True, kw_only=True):
    """Idle time of one cause at one place: what the launching thread was in.

    `line` is the innermost function of the user's own code, such as "train.py:12 in train_step",
    where 12 is the line at which it begins. `module` is the path of `nn.Module` classes that holds
    most of it, `range` that of the program's own ranges, outermost first and parted by " > ".
    `gap_us` is how long the GPU idles at a stretch there: half of the time is in longer gaps.
    """

    cause: str
    name: str
    count_per_step: float
    idle_us: float
    gap_us: float | None = None
    line: str | None = None
    module: str | None = None
    range: str | None = None


class Outlier(_Noun, frozen=True, kw_only=True):
    """A step far above the median: `excess_us` over it, and the part that grew most."""

    step: str
    wall_us: float
    excess_us: float
    grew: str


class Outliers(_Noun, frozen=True, kw_only=True):
    """Slow steps, and their period in steps where they have one."""

    steps: list[Outlier]
    cost_us: float
    cause: str
    period: int | None = None


class Evidence(_Noun, frozen=True, kw_only=True):
    """One fact that a finding rests on."""

    text: str
    value: float | None = None
    unit: str | None = None


class Gain(_Noun, frozen=True, kw_only=True):
    """Microseconds per step a fix may return; the rest but `bound` needs replay.

    In the run at hand `bound` is never beaten, and the gain is within `error` of what is expected.
    Between `low` and `high` it lies nine times in ten when the fixed program is another run.
    """

    bound: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None


class Fix(_Noun, frozen=True, kw_only=True):
    """What replay says of one fix: `fix` is its name, as `perfkit whatif --fix` takes it.

    `grade` says what its edges rest on: A on records, B on inference, C on an assumption.
    """

    fix: str
    text: str
    gain_us: Gain
    grade: Literal["A", "B", "C"]


class Together(_Noun, frozen=True, kw_only=True):
    """Several fixes at once, since gains do not add."""

    fixes: list[str]
    gain_us: Gain


class WhatIf(_Noun, frozen=True, kw_only=True):
    """What fixes return, from replay of `steps` steps.

    `fixes` by expected gain; `combinations` are all sets of two and more of the first few; `order`
    is the best first fix, the best two with it, and so on. Where a gate of the replay fails,
    nothing is predicted and `withheld` says why. `note` is a sentence on what intervals rest on.
    """

    steps: int
    fixes: list[Fix]
    combinations: list[Together]
    order: list[Together]
    withheld: str | None = None
    note: str | None = None


class PerDay(_Noun, frozen=True, kw_only=True):
    """GPU time of one day in hours, and its cost in the currency of the price, if one is known."""

    gpu_hours: float
    cost: float | None = None


class Money(_Noun, frozen=True, kw_only=True):
    """What idle time is worth where `gpus` idle as the one that was measured.

    `fixes` together return between `returned_low` and `returned_high`, nine times in ten.
    """

    gpus: int
    gpu_hour_price: float | None = None
    idle: PerDay
    fixes: list[str] = []
    returned_low: PerDay | None = None
    returned_high: PerDay | None = None


class Remedy(_Noun, frozen=True, kw_only=True):
    """What to do: `snippet` is code to paste, `applies_to` the framework it is for."""

    text: str
    snippet: str | None = None
    applies_to: str | None = None


class Finding(_Noun, frozen=True, kw_only=True):
    """What a rule says; `cost_us` per step, `cost_share` of the mean step.

    `audience` is who can act on it: who writes the training script, or who runs the machines.
    `when_not` says when the remedy does not apply; `sources` are the addresses it rests on.
    `gain_note` says why the gain is not the cost, where the two differ.
    """

    code: str
    name: str
    severity: Severity
    title: str
    cause: str
    cost_us: float
    cost_share: float
    evidence: list[Evidence]
    where: list[Place]
    gain_us: Gain
    confidence: Confidence
    remedy: Remedy
    audience: Audience = "researcher"
    when_not: str = ""
    sources: list[str] = []
    gain_note: str = ""


class LeftOut(_Noun, frozen=True, kw_only=True):
    """What the findings do not tell of: rules that were not asked, and findings not shown.

    `small` findings cost less than `least_share` of the step, `for_others` are for another
    audience.
    """

    rules: list[str] = []
    small: int = 0
    least_share: float
    for_others: int = 0


class RankRow(_Noun, frozen=True, kw_only=True):
    """One rank's share of a run."""

    rank: int
    breakdown_us: Breakdown
    idle_us: dict[str, float]


class Replay(_Noun, frozen=True, kw_only=True):
    """How well the dependency graph explains the recording: shares of its length unless said.

    `closed_error` with all residuals kept, `open_error` without those of GPU starts and waits;
    `start_error` is the mean error of an operation's start in the open replay, of the mean step;
    `residual_share` what nothing explains on the path that sets the length; `violations` of the
    `recorded_edges` contradict their times, which is `violation_share` of them; `reordered` of the
    `time_stamps` had to be ordered by what they depend on; `blocking_streams` were seen to keep in
    step with the default stream.
    """

    closed_error: float
    open_error: float
    start_error: float
    residual_share: float
    violation_share: float
    violations: int
    recorded_edges: int
    clock_shift_us: float
    reordered: int
    time_stamps: int
    queue_depth: int | None = None
    blocking_streams: int = 0
    failed: list[str]


class Fidelity(_Noun, frozen=True, kw_only=True):
    """How far the numbers can be trusted: shares of the mean step, counts over the file."""

    unknown_share: float
    orphan_kernels: int
    unmatched_launches: int
    gpu_events: int
    host_events: int
    has_sync_events: bool
    notes: list[str]
    replay: Replay | None = None


class TimelineEvent(_Noun, frozen=True, kw_only=True):
    """A bar of the time line: microseconds from the step's start, on lane `lane`."""

    lane: int
    name: str
    kind: str
    start_us: float
    dur_us: float


class Timeline(_Noun, frozen=True, kw_only=True):
    """The events of one chosen step, the longest ones when there are too many."""

    step: str
    wall_us: float
    lanes: list[str]
    events: list[TimelineEvent]
    gaps: list[TimelineEvent]
    omitted_events: int


class PythonGaps(_Noun, frozen=True, kw_only=True):
    """Python between operators where the device is the CPU, per step.

    `long_us` is what lies in gaps of at least `long_gap_us`, which are `long_per_step`; `places`
    are the user's own ranges they lie in.
    """

    total_us: float
    long_gap_us: float
    long_us: float
    long_per_step: float
    places: list[Place]


class Diagnosis(_Noun, frozen=True, kw_only=True):
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
