"""What the records of a whole run say beside its trace: steps, input, storage, devices, host.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured.
"""

from __future__ import annotations

from typing import Any, Literal

from perfkit.model.memory_facts import FailedAllocation
from perfkit.model.noun import Noun
from perfkit.model.worker_facts import WorkerFacts

Bound = Literal["cpu", "io", "waiting", "collate", "worker start-up", "cold cache"]
Judgement = Literal["ok", "config", "warn", "error"]


class RunWindow(Noun, frozen=True, kw_only=True):
    """The profiled window that was analyzed: number `number` of `count`, counted from 1."""

    number: int
    count: int
    first_step: int | None = None
    steps: int | None = None
    reason: str | None = None


class StepStats(Noun, frozen=True, kw_only=True):
    """Wall times of steps, and what of them was waiting for data."""

    count: int
    mean_us: float
    p50_us: float
    p95_us: float
    max_us: float
    data_mean_us: float
    data_share: float


class StepPoint(Noun, frozen=True, kw_only=True):
    """Some consecutive steps from `step` on: mean and longest wall time, mean data wait."""

    step: int
    wall_us: float
    max_us: float
    data_us: float
    profiled: bool = False


class RunSteps(Noun, frozen=True, kw_only=True):
    """Step times over the run. The first step, which starts everything up, is `first_us` alone.

    `overhead_share` is how much longer the steps of the window were than the unprofiled ones.
    """

    total: int
    first_us: float | None = None
    unprofiled: StepStats | None = None
    window: StepStats | None = None
    overhead_share: float | None = None
    points: list[StepPoint] = []


class LoaderFacts(Noun, frozen=True, kw_only=True):
    """One loader; times are means per batch.

    `wait_share` is what steps waited for it, of their wall time. A batch takes `make_us` to make,
    so that its workers deliver one every `deliver_us`, while the steps could take one every
    `use_us` if they never waited. The first batch of each worker, which includes its start, does
    not enter. `reason` gives the numbers that `bound` rests on.
    """

    loader: int
    kind: str | None = None
    dataset: str | None = None
    num_workers: int | None = None
    prefetch_factor: int | None = None
    pin_memory: bool | None = None
    persistent_workers: bool | None = None
    batch_size: int | None = None
    start_method: str | None = None
    in_order: bool | None = None
    cores: int | None = None
    batches: int = 0
    passes: int | None = None
    """Times the run began to iterate it."""
    wait_us: float | None = None
    wait_share: float | None = None
    ready: float | None = None
    """Batches that stood ready when one was asked for, mean."""
    make_us: float | None = None
    fetch_us: float | None = None
    collate_us: float | None = None
    longest_make_us: float | None = None
    items: float | None = None
    """Samples in a batch."""
    cpu_share: float | None = None
    """Processor time of the making thread, of `make_us`."""
    read_bytes: float | None = None
    rchar_bytes: float | None = None
    read_calls: float | None = None
    major_faults: float | None = None
    deliver_us: float | None = None
    use_us: float | None = None
    workers_needed: int | None = None
    startup_share: float | None = None
    """Of all waiting: where later passes started workers anew."""
    out_of_turn_share: float | None = None
    """Of all waiting: while other batches stood ready, and the one in turn did not."""
    workers: WorkerFacts | None = None
    bound: Bound | None = None
    reason: str | None = None


class FileSystemFacts(Noun, frozen=True, kw_only=True):
    """Where files of the run lie; `layout` and `counters` as their source names them."""

    role: str
    path: str
    kind: str
    mount: str
    source: str
    family: str | None = None
    options: list[str] = []
    files: int | None = None
    bytes: int | None = None
    partial: bool = False
    """There are more files than were counted."""
    largest_bytes: int | None = None
    """Of the largest file seen, which is the one whose layout is given."""
    file_types: dict[str, int] | None = None
    """Files seen by the end of their names; the most frequent ones."""
    layout: dict[str, Any] | None = None
    counters: dict[str, float] | None = None


class CheckpointFacts(Noun, frozen=True, kw_only=True):
    """Checkpoints of the run: how long they took and held the training thread.

    Those before the first step's start and after the last one's end are no part of
    `blocking_us_per_step`, nor of `count_in_steps`.
    """

    count: int
    count_in_steps: int | None = None
    mean_us: float
    blocking_mean_us: float
    blocking_us_per_step: float | None = None
    bytes_mean: float | None = None
    bytes_per_s: float | None = None
    calls: list[str] = []


class ClockReason(Noun, frozen=True, kw_only=True):
    """Share of samples in which the driver held the clocks down for this reason."""

    name: str
    share: float
    judgement: Judgement


class GpuFacts(Noun, frozen=True, kw_only=True):
    """NVML samples of one GPU: means, unless the name says otherwise.

    Means, shares and their number `samples` are of those between the first step's end and the last
    one's, or of all where no step was seen; extremes and errors are of the whole run.
    """

    device: int
    samples: int
    utilization: float | None = None
    memory_used_max_bytes: int | None = None
    power_w: float | None = None
    sm_clock_mhz: float | None = None
    sm_clock_max_mhz: float | None = None
    temperature_max_c: float | None = None
    reasons: list[ClockReason] = []
    xids: list[int] = []
    ecc_uncorrected: int | None = None


class MemoryFacts(Noun, frozen=True, kw_only=True):
    """The caching allocator over the run, or over the recording where no run was watched.

    `creep_bytes_per_step` is a robust slope.

    The first steps, which fill the cache, do not count: `steady_retries` are the retries after
    them, and `grown_bytes` is what the slope adds up to over the `grown_steps` after them, 0 where
    memory did not grow in every quarter of these.
    """

    steps: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    inactive_split_max_bytes: int | None = None
    retries: int | None = None
    ooms: int | None = None
    steady_retries: int | None = None
    creep_bytes_per_step: float | None = None
    grown_bytes: int | None = None
    grown_steps: int | None = None
    peak_by_phase_bytes: dict[str, int] = {}
    failed: FailedAllocation | None = None
    """Where the recording tells of allocations."""


class HostFacts(Noun, frozen=True, kw_only=True):
    """The training process on its machine, between the first and the last sample.

    `run_delay_share`: of the time, how long the training thread was ready to run without a core.
    """

    samples: int
    duration_us: float
    run_delay_share: float | None = None
    cpu_cores_used: float | None = None
    involuntary_switches_per_s: float | None = None
    major_faults_per_s: float | None = None
    load: float | None = None
    cores: int | None = None
    machine_cores: int | None = None
    rss_max_bytes: int | None = None


class GcFacts(Noun, frozen=True, kw_only=True):
    """Python's garbage collector on the training thread."""

    count: int
    total_us: float
    longest_us: float
    count_per_step: float | None = None
    us_per_step: float | None = None
    full_count: int = 0
    """Collections of the oldest generation."""


class RunFacts(Noun, frozen=True, kw_only=True):
    """One rank of a run, from the records of its Capture."""

    capture: str
    rank: int
    ranks: int
    """Rank folders in the Capture."""
    world_size: int | None = None
    script: str | None = None
    host: str | None = None
    ended: str | None = None
    error: str | None = None
    """Name of the class of the exception that ended it."""
    duration_us: float | None = None
    step_marker: str | None = None
    window: RunWindow
    steps: RunSteps | None = None
    loaders: list[LoaderFacts] = []
    file_systems: list[FileSystemFacts] = []
    checkpoints: CheckpointFacts | None = None
    gpus: list[GpuFacts] = []
    cpu: HostFacts | None = None
    gc: GcFacts | None = None
    missing: list[str] = []
    """What collectors could not see there, each with its remedy."""
