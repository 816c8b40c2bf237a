"""The training program in numbers: everything a scenario or an injected fault can turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Pace:
    """How many times as fast each part of the machine works; 1.0 is the usual."""

    host: float = 1.0
    kernels: float = 1.0
    gemm: float = 1.0
    communication: float = 1.0


USUAL = Pace()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A training run in numbers; the defaults are a healthy one. `*_us` is in microseconds.

    `storage_us` is what reading a batch takes the one storage that all workers share; a layer's
    gradients are reduced in `buckets`, of `all_reduce_us` each; a peer reduces with this rank every
    `peer_step_us` and no sooner. Another library runs a kernel of `outside_us` after each layer, on
    a stream of its own, which may be a blocking one. `expect` are findings that must fire;
    `undecided` ones may. All others must not. `run_ahead` is how far the host may be ahead of the
    GPU: until the launch queue is full, or so that the GPU has finished this step's forward pass,
    or the step before, when the host's step ends. What is rare comes `phase` steps early.
    """

    name: str
    description: str
    first_cause: str | None = None
    expect: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    steps: int = 16
    device: Literal["A100", "H100"] = "H100"
    precision: Literal["bf16", "fp32"] = "bf16"
    pace: Pace = USUAL
    layers: int = 6
    kernel_us: float = 100.0
    python_us: float = 6.0
    dispatch_us: float = 5.0
    bookkeeping_us: float = 0.0
    hook_us: float = 0.0
    loader_us: float = 60.0
    loader_period_us: float = 0.0
    stall_every: int = 0
    stall_us: float = 0.0
    worker_batch_us: float = 0.0
    storage_us: float = 0.0
    worker_slow_us: float = 0.0
    worker_slow_every: int = 0
    dataset_us: float = 0.0
    collate_us: float = 0.0
    copy: Literal["pinned", "pageable"] = "pinned"
    copy_us: float = 120.0
    staging_us: float = 0.0
    item_per_layer: bool = False
    layer_log_us: float = 0.0
    item_per_step: bool = False
    log_us: float = 0.0
    device_sync: bool = False
    check_us: float = 0.0
    tiny_ops: int = 0
    tiny_python_us: float = 2.0
    tiny_graph: bool = False
    graph_kernels: int = 0
    frees: int = 0
    free_layer: int = 0
    free_us: float = 300.0
    gc_every: int = 0
    gc_us: float = 0.0
    checkpoint_every: int = 0
    checkpoint_prepare_us: float = 800.0
    checkpoint_copy_us: float = 3000.0
    checkpoint_write_us: float = 60_000.0
    communication: Literal["none", "overlapped", "after"] = "none"
    all_reduce_us: float = 0.0
    buckets: int = 1
    peer_step_us: float = 0.0
    outside_us: float = 0.0
    outside_blocks: bool = False
    run_ahead: Literal["half_step", "step", "queue"] = "half_step"
    cuda_sync: bool = False
    phase: int = 0
