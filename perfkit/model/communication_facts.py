"""What one rank's trace says of its collectives: when they show, how large they are, who waits.

Times are microseconds per step unless the name says otherwise; an absent value was not measured.
"""

from __future__ import annotations

from typing import Literal

from perfkit.model.noun import Noun

Phase = Literal["forward", "backward", "after backward", "optimizer", "other"]
Family = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce", "gather",
    "scatter", "send_recv", "barrier", "unknown",
]  # fmt: skip


class PhaseCollectives(Noun, frozen=True, kw_only=True):
    """Collectives of one family that one part of the step launched."""

    phase: Phase
    family: Family
    count_per_step: float
    total_us: float
    exposed_us: float


class Messages(Noun, frozen=True, kw_only=True):
    """Collectives of about one size (within a factor of two), from one part of the step.

    `bytes` is what nccl-tests calls S, the mean of a call. `bus_gb_per_s` is that of the fastest
    call, which took `fastest_us`: the least that the link can do, since one rank cannot tell
    waiting from moving.
    """

    phase: Phase
    family: Family
    dtype: str
    group_size: int
    bytes: float
    count: int
    """Calls in all counted steps."""
    count_per_step: float
    total_us: float
    exposed_us: float
    fastest_us: float
    """One call."""
    bus_gb_per_s: float


class SmallCollectives(Noun, frozen=True, kw_only=True):
    """Collectives of gradients and parameters that are too small to be limited by the link.

    `launch_idle_us` is their part (by number) of the idle time charged to the host's pace while it
    was inside of launches of collectives.
    `bytes_per_step` only where all of them tell their size.
    """

    count_per_step: float
    exposed_us: float
    launch_idle_us: float
    bytes_per_step: float | None = None


class BackwardReductions(Noun, frozen=True, kw_only=True):
    """Reductions that the backward pass launched, beside its own computation of `compute_us`.

    `tail_us` shows after the last computation of the backward pass, `last_us` of it in the last
    reduction of a step.
    """

    count_per_step: float
    compute_us: float
    reduce_us: float
    tail_us: float
    last_us: float
    bytes_per_step: float | None = None


class CollectiveWaits(Noun, frozen=True, kw_only=True):
    """Calls that held the host while the GPU did nothing but communicate.

    `idle_us` is idle time charged to these calls, part of the cause `sync`.
    """

    count_per_step: float
    held_us: float
    idle_us: float
    names: list[str]


class ReducerWork(Noun, frozen=True, kw_only=True):
    """What DDP's reducer does beside communication.

    `idle_us` is idle time charged to the host's pace while it was there, `host_us` all its time.
    """

    count_per_step: float
    host_us: float
    kernel_us: float
    idle_us: float


class CommunicationFacts(Noun, frozen=True, kw_only=True):
    """Collectives of the counted steps.

    `same_stream_us` of the exposed time is on the stream that computes, where nothing can overlap.
    In `host_late_us` of it the host had not yet launched the computation that came next.
    `single_node` is True where the process sees at least as many GPUs as there are ranks.
    """

    phases: list[PhaseCollectives]
    messages: list[Messages]
    same_stream_us: float
    host_late_us: float
    small: SmallCollectives | None = None
    backward: BackwardReductions | None = None
    waits: CollectiveWaits | None = None
    bucket_copies: ReducerWork | None = None
    """Gradients copied back from DDP's buckets."""
    unused_search: ReducerWork | None = None
    """The walk through the autograd graph for parameters without a gradient."""
    single_node: bool = False
