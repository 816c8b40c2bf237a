"""What each fault changes in the healthy program, and what an engineer leaves of it.

A dose is about what the fault costs, in lengths of the healthy step: 0.5 makes the step half as
long again. The truth beside each run says what it really cost.
"""

from __future__ import annotations

from dataclasses import replace

from .loader import WORKERS
from .machine import CALL_US, STREAM_GAP_US
from .program import Scenario
from .training import GRAPH_KERNEL_US, TINY_US

HEALTHY = Scenario(
    name="no_fault",
    description="The host stays ahead of the GPU, which is always fed.",
    steps=18,
    layers=3,
    kernel_us=80,
    loader_us=20,
    copy_us=20,
    bookkeeping_us=850,
    run_ahead="step",
    cuda_sync=True,
)
STEP_US = 4200.0  # the healthy step, which the GPU's work fills
HOST_US = 1770.0  # what the host needs for it
LEAD_US = 4700.0  # how far the host is ahead in the middle of the forward pass
EVERY = 4  # steps between pauses; the steady steps hold a whole number of periods
_OPS = 10 * HEALTHY.layers + 1
_TINY_PYTHON_US = 6.0
BUCKET_US = 30.0  # of a reduction whose bytes are few: its latency
HIDDEN_US = 0.42 * STEP_US  # of communication that the backward pass has just room for
PEER_US = 0.3 * STEP_US


def _beyond_slack(dose: float) -> float:
    """Host time per step, in microseconds, that costs `dose`: first it fills the host's slack."""
    return STEP_US - HOST_US + dose * STEP_US


def dataset_sleep(program: Scenario, dose: float) -> Scenario:
    """`__getitem__` sleeps in the training process."""
    return replace(program, dataset_us=program.dataset_us + _beyond_slack(dose))


def collate(program: Scenario, dose: float) -> Scenario:
    """`collate_fn` works in the training process."""
    return replace(program, collate_us=_beyond_slack(dose))


def slow_workers(program: Scenario, dose: float) -> Scenario:
    """All workers together make a batch in 1 + `dose` healthy steps."""
    us = program.worker_batch_us + WORKERS * STEP_US * (1 + dose)
    return replace(program, worker_batch_us=us)


def slow_storage(program: Scenario, dose: float) -> Scenario:
    """Workers share a storage that reads a batch in 1 + `dose` healthy steps."""
    return replace(program, storage_us=(1 + dose) * STEP_US, worker_batch_us=STEP_US)


def busy_workers(program: Scenario, dose: float) -> Scenario:
    """All workers together make a batch in less than a healthy step."""
    us = program.worker_batch_us + WORKERS * STEP_US * 0.85 * dose
    return replace(program, worker_batch_us=us)


def queued_loader(program: Scenario, dose: float) -> Scenario:
    """The training process makes batches while the GPU works off its queue."""
    return replace(program, dataset_us=program.dataset_us + dose * (STEP_US - HOST_US))


def loader_stall(program: Scenario, dose: float) -> Scenario:
    """Every fourth batch takes a worker longer than the GPU's work on all that are ready."""
    us = EVERY * STEP_US * (1 + dose)
    return replace(program, worker_slow_every=EVERY, worker_slow_us=us)


def item_per_step(program: Scenario, dose: float) -> Scenario:
    """`.item()` at the end of the step, then logging."""
    return replace(step_log(program, dose), item_per_step=True)


def step_log(program: Scenario, dose: float) -> Scenario:
    """The logging alone: it now runs behind queued kernels."""
    return replace(program, log_us=dose * STEP_US)


def item_per_layer(program: Scenario, dose: float) -> Scenario:
    """`.item()` after each layer of the forward pass, then logging."""
    return replace(layer_log(program, dose), item_per_layer=True)


def layer_log(program: Scenario, dose: float) -> Scenario:
    """The logging alone."""
    return replace(program, layer_log_us=dose * STEP_US / program.layers)


def device_sync(program: Scenario, dose: float) -> Scenario:
    """`torch.cuda.synchronize()` after the forward pass, then work with the time it measured."""
    return replace(check(program, dose), device_sync=True)


def check(program: Scenario, dose: float) -> Scenario:
    """The work alone."""
    return replace(program, check_us=dose * STEP_US)


def pageable(program: Scenario, dose: float) -> Scenario:
    """The batch is copied from pageable memory."""
    us = dose * STEP_US
    return replace(program, copy="pageable", copy_us=0.4 * us, staging_us=0.6 * us)


def pinned(program: Scenario, dose: float) -> Scenario:
    """The same bytes at the rate of pinned memory, behind the kernels of the step before."""
    return replace(program, copy_us=0.1 * dose * STEP_US)


def tiny_kernels(program: Scenario, dose: float) -> Scenario:
    """Hundreds of kernels that end before the next one can be launched."""
    host_us = _TINY_PYTHON_US + HEALTHY.dispatch_us + CALL_US
    count = round(_beyond_slack(dose) / (host_us - TINY_US - STREAM_GAP_US))
    return replace(program, tiny_ops=count, tiny_python_us=_TINY_PYTHON_US)


def tiny_graph(program: Scenario, dose: float) -> Scenario:
    """The same kernels, launched as one CUDA graph."""
    return replace(tiny_kernels(program, dose), tiny_graph=True)


def graph(program: Scenario, dose: float) -> Scenario:
    """A CUDA graph of many small kernels."""
    count = round(dose * STEP_US / (GRAPH_KERNEL_US + STREAM_GAP_US))
    return replace(program, graph_kernels=count)


def python_loop(program: Scenario, dose: float) -> Scenario:
    """Python is busy before each operator of the forward pass."""
    return replace(program, python_us=program.python_us + _beyond_slack(dose) / _OPS)


def hook_stall(program: Scenario, dose: float) -> Scenario:
    """A hook holds the autograd thread in the middle of the backward pass."""
    return replace(program, hook_us=_beyond_slack(dose))


def slow_host(program: Scenario, dose: float) -> Scenario:
    """Everything the host does itself takes longer: it shares its cores."""
    slower = (1 + dose) * STEP_US / HOST_US
    return replace(program, pace=replace(program.pace, host=program.pace.host / slower))


def allocator_churn(program: Scenario, dose: float) -> Scenario:
    """Each step returns 4 blocks to the driver and asks for 4 new ones."""
    return replace(program, frees=4, free_us=dose * STEP_US / 8)


def gc_pauses(program: Scenario, dose: float) -> Scenario:
    """The garbage collector stops every fourth step, first of all for the host's lead."""
    return replace(program, gc_every=EVERY, gc_us=LEAD_US + EVERY * dose * STEP_US)


def checkpoint(program: Scenario, dose: float) -> Scenario:
    """Every fourth step copies the state to the host and writes it."""
    us = EVERY * dose * STEP_US
    return replace(copied_state(program, dose), checkpoint_write_us=0.75 * us)


def copied_state(program: Scenario, dose: float) -> Scenario:
    """The copies alone: the file is written in the background."""
    us = EVERY * dose * STEP_US
    return replace(
        program,
        checkpoint_every=EVERY,
        checkpoint_prepare_us=0.05 * us,
        checkpoint_copy_us=0.05 * us,
        checkpoint_write_us=0.0,
    )


def late_communication(program: Scenario, dose: float) -> Scenario:
    """All gradients are reduced after the backward pass."""
    return replace(program, communication="after", all_reduce_us=dose * STEP_US / 2)


def overlapped(program: Scenario, dose: float) -> Scenario:
    """The same bytes, reduced layer by layer during the backward pass."""
    us = dose * STEP_US / (program.layers - 0.8)
    return replace(program, communication="overlapped", all_reduce_us=us)


def small_buckets(program: Scenario, dose: float) -> Scenario:
    """Gradients are reduced during the backward pass in many buckets, of little but latency."""
    count = (HIDDEN_US + dose * STEP_US) / (BUCKET_US * (program.layers - 0.8))
    return replace(
        program, communication="overlapped", all_reduce_us=BUCKET_US, buckets=max(round(count), 1)
    )


def slow_network(program: Scenario, dose: float) -> Scenario:
    """Reductions begin during the backward pass, and take longer than it."""
    us = (HIDDEN_US + dose * STEP_US) / (program.layers - 0.8)
    return replace(program, communication="overlapped", all_reduce_us=us)


def late_peer(program: Scenario, dose: float) -> Scenario:
    """Another rank needs longer for its step, whatever this one does; reductions wait for it."""
    us = PEER_US / (program.layers - 0.8)
    peer = (1 + dose) * STEP_US
    return replace(program, communication="overlapped", all_reduce_us=us, peer_step_us=peer)


def slow_kernels(program: Scenario, dose: float) -> Scenario:
    """Every kernel takes longer: the GPU is shared."""
    pace = replace(program.pace, kernels=program.pace.kernels / (1 + dose))
    return replace(program, pace=pace)


def deep_queue(program: Scenario, dose: float) -> Scenario:
    """The same GPU work in more launches, and no limit but the launch queue's."""
    layers = program.layers + round(4 * dose)
    return replace(
        program,
        layers=layers,
        kernel_us=program.kernel_us * program.layers / layers,
        bookkeeping_us=0.0,
        run_ahead="queue",
    )
