"""What a run leaves on disk: a Capture, the contract between collectors and readers.

A Capture is a folder. Rank 0 writes `capture.json` (a `Manifest`); every rank writes its own folder
`rank<N>/`, which holds `rank.json` (a `RankFile`), one Kineto trace per profiled window, and any
number of `*.jsonl` files. A line of those is one record of the union `Record`, and says by its
`type` which; a reader takes all files of a folder alike. Lines are only ever appended, so that of
a killed run at most the last line is lost.

Times are nanoseconds since the Unix epoch (`*_ns`) or durations in microseconds (`*_us`); an absent
value was not measured, and is never zero.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perfkit.model.noun import Noun

SCHEMA = "perfkit.capture/1"
MANIFEST = "capture.json"
RANK_FILE = "rank.json"


def rank_folder(rank: int) -> str:
    """Name of a rank's folder inside the Capture."""
    return f"rank{rank}"


class Manifest(Noun, frozen=True, kw_only=True):
    """What rank 0 knows of the whole run."""

    schema: str = msgspec.field(default_factory=lambda: SCHEMA)
    perfkit_version: str
    started_ns: int
    world_size: int = 1
    script: str | None = None
    profiled_ranks: list[int] | None = None
    """None: all of them."""


class Schedule(Noun, frozen=True, kw_only=True, omit_defaults=False):
    """Steps before a profiled window, warming it up and in it; `repeat` windows."""

    wait: int = 5
    warmup: int = 3
    active: int = 20
    repeat: int = 1


class Window(Noun, frozen=True, kw_only=True):
    """A profiled window: its trace file (a name inside the rank's folder) and steps."""

    file: str
    first_step: int
    steps: int
    reason: Literal["schedule", "slow-step", "slow-steps", "signal"] = "schedule"


class Sight(Noun, frozen=True, kw_only=True):
    """What a collector can see on this machine: `missing` holds sentences, each with its remedy."""

    collector: str
    active: bool
    sees: list[str] = []
    missing: list[str] = []


class RankFile(Noun, frozen=True, kw_only=True):
    """One rank's facts, written at the start and again as windows end and at the end."""

    schema: str = msgspec.field(default_factory=lambda: SCHEMA)
    perfkit_version: str
    rank: int
    world_size: int = 1
    local_rank: int | None = None
    host: str
    pid: int
    started_ns: int
    ended_ns: int | None = None
    ended: Literal["finished", "exception", "signal"] | None = None
    """None while the run goes on, and for ever where it was killed."""
    error: str | None = None
    """Name of the class of the exception that ended it."""
    step_marker: Literal["decorator", "steps()", "step()", "optimizer", "dataloader"] | None = None
    schedule: Schedule
    windows: list[Window] = []
    environment: dict[str, Any] = {}
    collectors: list[Sight] = []


class StepTimes(Noun, frozen=True, kw_only=True, tag="steps"):
    """Consecutive steps: `wall_us[i]` is step `first + i`, `data_us` what it waited for its data.

    `profiled` is set where the profiler ran, whose overhead the times include.
    """

    first: int
    start_ns: int
    wall_us: list[float]
    data_us: list[float]
    profiled: bool = False


class LoaderInfo(Noun, frozen=True, kw_only=True, tag="loader"):
    """A loader that the run iterates; `loader` numbers it within its rank."""

    loader: int
    kind: Literal["map", "iterable", "other"]
    dataset: str
    num_workers: int | None = None
    prefetch_factor: int | None = None
    pin_memory: bool | None = None
    persistent_workers: bool | None = None
    batch_size: int | None = None
    start_method: str | None = None
    in_order: bool | None = None
    cores: int | None = None
    """Cores this process may run on."""


class BatchWait(Noun, frozen=True, kw_only=True, tag="wait"):
    """The training process asked for a batch: `ready` counts the batches that stood ready then.

    `batch` counts over all epochs; a record sums up the waits of `batches` of them. `part` is
    "start" where the wait made an iterator (and started its workers), and "end" where it found no
    further batch (and ended them). `early` counts the batches that were there before their turn as
    this one came.
    """

    loader: int
    batch: int
    start_ns: int
    batches: int = 1
    part: Literal["batch", "start", "end"] = "batch"
    wait_us: float
    ready: int | None = None
    early: int | None = None
    worker: int | None = None


class BatchMade(Noun, frozen=True, kw_only=True, tag="batch"):
    """A batch was made (in a worker, or in the training process where `worker` is None).

    `cpu_us` is the processor time of the making thread, `process_cpu_us` that of its whole process,
    `run_delay_us` how long that thread was ready to run without a core; `read_bytes` reached
    storage (block layer), `rchar` and `syscr` are bytes and calls of read(2), caches included.
    """

    loader: int
    batch: int
    """Counted within the worker."""
    start_ns: int
    fetch_us: float
    collate_us: float | None = None
    worker: int | None = None
    pid: int
    cpu_us: float | None = None
    process_cpu_us: float | None = None
    run_delay_us: float | None = None
    items: int | None = None
    read_bytes: int | None = None
    rchar: int | None = None
    syscr: int | None = None
    major_faults: int | None = None


class WorkerState(Noun, frozen=True, kw_only=True, tag="worker"):
    """A loader's worker process at one moment.

    `private_bytes` of `anonymous_bytes` (memory that is no file's) are its own: what it wrote to
    since it was forked, or allocated. `memory_bytes` is what all processes of the job may use
    together.
    """

    loader: int
    worker: int
    pid: int
    t_ns: int
    anonymous_bytes: int | None = None
    private_bytes: int | None = None
    threads: int | None = None
    """Of the operating system, all kinds."""
    torch_threads: int | None = None
    """That one operator may use."""
    memory_bytes: int | None = None


class FileSystem(Noun, frozen=True, kw_only=True, tag="file_system"):
    """Where files of the run lie: `role` is what the run uses the path for.

    `layout` and `counters` are as their source names them, such as `lfs getstripe`; counters are
    what the whole machine added during the run. A later record of the same role and path
    replaces this one.
    """

    role: Literal["dataset", "checkpoint", "capture"]
    path: str
    kind: str
    """As mountinfo names it: lustre, nfs4, gpfs, ext4, overlay ..."""
    mount: str
    source: str
    family: str | None = None
    """Such as lustre, nfs, object store, local: what advice goes by."""
    options: list[str] = []
    files: int | None = None
    """Files seen there, and the sum of their sizes; `partial` where there are more."""
    bytes: int | None = None
    partial: bool = False
    largest_bytes: int | None = None
    """Of the largest file seen, which is the one whose layout is given."""
    file_types: dict[str, int] | None = None
    """Files seen by the end of their names, such as .jpg; the most frequent ones."""
    layout: dict[str, Any] | None = None
    counters: dict[str, float] | None = None


class CheckpointWrite(Noun, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint was written; `blocking_us` is the part that held the training thread.

    That is 0 where another thread wrote it. `bytes` are this rank's own. `unfinished` is set where
    it was still being written in the background when the run ended, so that `dur_us` is a lower
    bound.
    """

    start_ns: int
    dur_us: float
    blocking_us: float
    call: str
    path: str | None = None
    bytes: int | None = None
    step: int | None = None
    unfinished: bool = False


class GpuSample(Noun, frozen=True, kw_only=True, tag="gpu"):
    """One NVML sample of one GPU; `device` is the CUDA index where it is known.

    Utilizations are shares, 0 to 1; energy and bytes are counters, ECC errors those since the
    driver was loaded. Of a MIG slice there is only its memory and what its board has in common.
    """

    t_ns: int
    device: int
    uuid: str | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    memory_used_bytes: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    clock_event_reasons: int | None = None
    """Bits as in nvml.h."""
    nvlink_tx_bytes: int | None = None
    nvlink_rx_bytes: int | None = None
    pcie_tx_bytes: int | None = None
    pcie_rx_bytes: int | None = None
    ecc_uncorrected: int | None = None
    ecc_corrected: int | None = None


class GpuFault(Noun, frozen=True, kw_only=True, tag="xid"):
    """The driver reported an Xid error."""

    t_ns: int
    device: int
    xid: int


class MemoryStep(Noun, frozen=True, kw_only=True, tag="memory"):
    """The caching allocator of the current GPU after a step.

    Peaks are the highest so far (since the run began, or the user reset them), for resetting them
    would change what the user reads. Where `peak_rose` is set the peak was reached since the
    record before, mostly in this step. The other numbers count since the process began.
    """

    step: int
    allocated_bytes: int
    reserved_bytes: int
    peak_allocated_bytes: int
    peak_rose: bool = False
    peak_reserved_bytes: int | None = None
    inactive_split_bytes: int | None = None
    retries: int | None = None
    ooms: int | None = None
    device_mallocs: int | None = None
    device_frees: int | None = None
    peak_by_phase_bytes: dict[str, int] | None = None


class HostSample(Noun, frozen=True, kw_only=True, tag="host"):
    """The training process on its machine: counters since the process began.

    `run_delay_us` is the time its main thread was ready to run and had no core
    (schedstat); `load` the whole machine's tasks that run or want to, over the last minute; `cores`
    those this process may use, so that the two compare only on a machine it has to itself.
    `machine_cores` are all of the machine's.
    """

    t_ns: int
    cpu_us: float | None = None
    run_delay_us: float | None = None
    involuntary_switches: int | None = None
    major_faults: int | None = None
    load: float | None = None
    cores: int | None = None
    machine_cores: int | None = None
    rss_bytes: int | None = None


class Collection(Noun, frozen=True, kw_only=True, tag="gc"):
    """Python's garbage collector ran on the training thread."""

    start_ns: int
    dur_us: float
    generation: int


Record = (
    StepTimes
    | LoaderInfo
    | BatchWait
    | BatchMade
    | WorkerState
    | FileSystem
    | CheckpointWrite
    | GpuSample
    | GpuFault
    | MemoryStep
    | HostSample
    | Collection
)
