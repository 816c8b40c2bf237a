"""The faults that can be injected into the healthy program, alone or together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import faults
from .program import Scenario

DOSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5)
WIDE = (*DOSES, 1.0)

Change = Callable[[Scenario, float], Scenario]


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A fault: `faulty` puts it into a program, `mended` what is left of it after its repair.

    `cause` is perfkit's name for the idle time, None where there is none to blame; what `exposes`
    communication costs time in which the GPU communicates, and is not idle. `findings` must
    fire at the largest dose, `undecided` may. `hidden` faults cost no idle time and must not be
    blamed. `fix` names the what-if that repairs the fault; None where there is none.
    """

    name: str
    description: str
    faulty: Change
    cause: str | None = None
    exposes: bool = False
    findings: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    hidden: bool = False
    doses: tuple[float, ...] = WIDE
    fix: str | None = None
    mended: Change | None = None


_NETWORK = (
    Injection(
        name="deep_queue",
        description="Nothing limits the host, so that launches wait for room in the queue.",
        faulty=faults.deep_queue,
        hidden=True,
        doses=(0.0, 0.25, 0.5, 0.75, 1.0),
    ),
)
_LOADER = (
    Injection(
        name="dataset_sleep",
        description="The dataset sleeps in the training process (num_workers=0).",
        faulty=faults.dataset_sleep,
        cause="dataloader",
        findings=("dataloader-starvation",),
        fix="dataloader",
    ),
    Injection(
        name="collate",
        description="The training process collates batches at length (num_workers=0).",
        faulty=faults.collate,
        cause="dataloader",
        findings=("dataloader-starvation",),
        fix="dataloader",
    ),
    Injection(
        name="slow_workers",
        description="Four workers make batches more slowly than the GPU uses them.",
        faulty=faults.slow_workers,
        cause="dataloader",
        findings=("dataloader-starvation",),
        fix="dataloader",
    ),
    Injection(
        name="loader_stall",
        description="Every 4th batch takes a worker very long; the others are ready.",
        faulty=faults.loader_stall,
        cause="dataloader",
        findings=("dataloader-starvation", "step-outliers"),
        fix="dataloader",
    ),
    Injection(
        name="slow_storage",
        description="Workers wait for a storage that reads batches too slowly.",
        faulty=faults.slow_storage,
        cause="dataloader",
        findings=("dataloader-starvation",),
        fix="dataloader",
    ),
    Injection(
        name="busy_workers",
        description="Four workers make slow batches, but fast enough for the GPU.",
        faulty=faults.busy_workers,
        hidden=True,
        fix="dataloader",
    ),
    Injection(
        name="queued_loader",
        description="The training process makes batches while the GPU works off its queue.",
        faulty=faults.queued_loader,
        hidden=True,
        doses=(0.0, 0.1, 0.2, 0.4, 0.8),
        fix="dataloader",
    ),
)
_WAITS = (
    Injection(
        name="item_per_step",
        description="`.item()` each step, then logging with an empty queue.",
        faulty=faults.item_per_step,
        cause="sync",
        findings=("host-sync-in-step",),
        doses=DOSES,
        fix="sync",
        mended=faults.step_log,
    ),
    Injection(
        name="item_per_layer",
        description="`.item()` after each layer of the forward pass, then logging.",
        faulty=faults.item_per_layer,
        cause="sync",
        findings=("host-sync-in-step",),
        doses=DOSES,
        fix="sync",
        mended=faults.layer_log,
    ),
    Injection(
        name="device_sync",
        description="`torch.cuda.synchronize()` after the forward pass, then some work.",
        faulty=faults.device_sync,
        cause="sync",
        findings=("host-sync-in-step",),
        doses=DOSES,
        fix="sync",
        mended=faults.check,
    ),
    Injection(
        name="pageable_copy",
        description="Each step copies its batch from pageable memory.",
        faulty=faults.pageable,
        cause="copy",
        findings=("pageable-copy",),
        fix="copies",
        mended=faults.pinned,
    ),
    Injection(
        name="allocator_churn",
        description="Each step returns blocks to the driver and asks for new ones.",
        faulty=faults.allocator_churn,
        cause="allocator",
        findings=("allocator-churn",),
        fix="allocator",
    ),
    Injection(
        name="checkpoint",
        description="Every 4th step writes a checkpoint before it goes on.",
        faulty=faults.checkpoint,
        cause="checkpoint",
        findings=("synchronous-checkpoint",),
        undecided=("step-outliers",),
        fix="checkpoint",
        mended=faults.copied_state,
    ),
)
_HOST = (
    Injection(
        name="tiny_kernels",
        description="Hundreds of kernels that end before the next one can be launched.",
        faulty=faults.tiny_kernels,
        cause="launch",
        findings=("launch-bound",),
        doses=DOSES,
        fix="cuda-graphs",
        mended=faults.tiny_graph,
    ),
    Injection(
        name="python_loop",
        description="Python is busy before each operator of the forward pass.",
        faulty=faults.python_loop,
        cause="python",
        undecided=("launch-bound",),
    ),
    Injection(
        name="hook_stall",
        description="A hook holds the autograd thread in the middle of the backward pass.",
        faulty=faults.hook_stall,
        cause="python",
        undecided=("launch-bound",),
    ),
    Injection(
        name="slow_host",
        description="The host's cores are shared: all it does takes longer.",
        faulty=faults.slow_host,
        cause="python",
        undecided=("launch-bound",),
    ),
    Injection(
        name="gc_pauses",
        description="Python's garbage collector stops every 4th step.",
        faulty=faults.gc_pauses,
        cause="gc",
        findings=("garbage-collection", "step-outliers"),
        fix="gc",
    ),
)
_DEVICE = (
    Injection(
        name="late_communication",
        description="All gradients are reduced after the backward pass.",
        faulty=faults.late_communication,
        exposes=True,
        findings=("exposed-communication",),
        fix="overlap",
        mended=faults.overlapped,
    ),
    Injection(
        name="small_buckets",
        description="Gradients are reduced during backward in too many small buckets.",
        faulty=faults.small_buckets,
        exposes=True,
        findings=("exposed-communication",),
    ),
    Injection(
        name="slow_network",
        description="Reductions during backward take longer than it: the network is slow.",
        faulty=faults.slow_network,
        exposes=True,
        findings=("exposed-communication",),
    ),
    Injection(
        name="late_peer",
        description="Reductions wait for a rank that is late.",
        faulty=faults.late_peer,
        exposes=True,
        findings=("exposed-communication",),
    ),
    Injection(
        name="slow_kernels",
        description="Another process on the GPU makes all kernels slower.",
        faulty=faults.slow_kernels,
    ),
    Injection(
        name="cuda_graph",
        description="Many small kernels run as one CUDA graph, as they should.",
        faulty=faults.graph,
        hidden=True,
    ),
)
# What is said per layer counts the layers, so the network comes first.
_ALL = (*_NETWORK, *_LOADER, *_WAITS, *_HOST, *_DEVICE)
INJECTIONS = {fault.name: fault for fault in _ALL}
