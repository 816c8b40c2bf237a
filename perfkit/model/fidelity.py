"""How far the numbers of a Diagnosis can be trusted."""

from __future__ import annotations

from perfkit.model.noun import Noun


class Replay(Noun, frozen=True, kw_only=True):
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


class Fidelity(Noun, frozen=True, kw_only=True):
    """How far the numbers can be trusted: shares of the mean step, counts over the file."""

    unknown_share: float
    orphan_kernels: int
    unmatched_launches: int
    gpu_events: int
    host_events: int
    has_sync_events: bool
    notes: list[str]
    replay: Replay | None = None
