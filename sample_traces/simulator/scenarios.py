"""The scenarios: one slow thing each, in numbers; what should and should not be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FINDINGS = (
    "dataloader-starvation",
    "host-sync-in-step",
    "launch-bound",
    "pageable-copy",
    "exposed-communication",
    "allocator-churn",
    "low-precision-unused",
    "step-outliers",
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A training run in numbers; the defaults are a healthy one. `*_us` is in microseconds.

    `expect` are findings that must fire; `undecided` ones may. All others must not.
    """

    name: str
    description: str
    first_cause: str | None = None
    expect: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    steps: int = 16
    device: Literal["A100", "H100"] = "H100"
    precision: Literal["bf16", "fp32"] = "bf16"
    layers: int = 6
    kernel_us: float = 100.0
    python_us: float = 6.0
    dispatch_us: float = 5.0
    loader_us: float = 60.0
    loader_period_us: float = 0.0
    stall_every: int = 0
    stall_us: float = 0.0
    copy: Literal["pinned", "pageable"] = "pinned"
    copy_us: float = 120.0
    staging_us: float = 0.0
    item_per_layer: bool = False
    item_per_step: bool = False
    log_us: float = 0.0
    tiny_ops: int = 0
    frees: int = 0
    free_layer: int = 0
    free_us: float = 300.0
    gc_every: int = 0
    gc_us: float = 0.0
    checkpoint_every: int = 0
    communication: Literal["none", "overlapped", "after"] = "none"
    all_reduce_us: float = 0.0
    run_ahead_limit: bool = True
    cuda_sync: bool = False


_ALL = (
    Scenario(
        name="input_bound",
        description="Each step waits about 12 ms for the next batch.",
        first_cause="dataloader",
        expect=("dataloader-starvation",),
        loader_period_us=24_000,
    ),
    Scenario(
        name="input_stall_every_8",
        description="Every 8th batch comes 300 ms late; the others are ready.",
        first_cause="dataloader",
        expect=("dataloader-starvation", "step-outliers"),
        steps=32,
        layers=4,
        stall_every=8,
        stall_us=300_000,
    ),
    Scenario(
        name="sync_bound",
        description="`.item()` on the loss each step, then 3 ms of logging with an empty queue.",
        first_cause="sync",
        expect=("host-sync-in-step",),
        item_per_step=True,
        log_us=3000,
        run_ahead_limit=False,
    ),
    Scenario(
        name="sync_per_layer",
        description="`.item()` after each layer of the forward pass.",
        first_cause="sync",
        expect=("host-sync-in-step",),
        layers=12,
        kernel_us=60,
        item_per_layer=True,
        log_us=130,
        run_ahead_limit=False,
        cuda_sync=True,
    ),
    Scenario(
        name="launch_bound",
        description="Thousands of kernels of a few microseconds; the host cannot keep up.",
        first_cause="launch",
        expect=("launch-bound",),
        layers=16,
        kernel_us=3,
        loader_us=20,
        copy_us=20,
        python_us=2.5,
        dispatch_us=3,
        run_ahead_limit=False,
    ),
    Scenario(
        name="python_bound",
        description="70 us of Python between operators of 20 us each.",
        first_cause="python",
        undecided=("launch-bound",),
        kernel_us=40,
        python_us=70,
        run_ahead_limit=False,
    ),
    Scenario(
        name="copy_bound",
        description="Each step copies its batch from pageable memory, 4 ms of staging first.",
        first_cause="copy",
        expect=("pageable-copy",),
        copy="pageable",
        copy_us=2500,
        staging_us=4000,
        run_ahead_limit=False,
    ),
    Scenario(
        name="communication_bound",
        description="All gradients are reduced after the backward pass; nothing runs meanwhile.",
        expect=("exposed-communication",),
        communication="after",
        all_reduce_us=2700,
        cuda_sync=True,
    ),
    Scenario(
        name="communication_hidden",
        description="Gradients are reduced during the backward pass; only the last bit shows.",
        communication="overlapped",
        all_reduce_us=600,
    ),
    Scenario(
        name="allocator_churn",
        description="Each step returns 8 blocks to the driver and asks for 8 new ones.",
        first_cause="allocator",
        expect=("allocator-churn",),
        frees=8,
        run_ahead_limit=False,
    ),
    Scenario(
        name="gc_pauses",
        description="Python's garbage collector stops every 5th step for 80 ms.",
        first_cause="gc",
        expect=("step-outliers",),
        steps=20,
        gc_every=5,
        gc_us=80_000,
    ),
    Scenario(
        name="checkpoint",
        description="Every 6th step writes a checkpoint: copies to the host, 60 ms of writing.",
        first_cause="checkpoint",
        expect=("step-outliers",),
        steps=18,
        checkpoint_every=6,
    ),
    Scenario(
        name="fp32",
        description="Healthy, but the matrix products run in single precision on an A100.",
        expect=("low-precision-unused",),
        device="A100",
        precision="fp32",
        kernel_us=160,
    ),
    Scenario(
        name="healthy",
        description="The host stays ahead of the GPU, which is always fed.",
        kernel_us=60,
    ),
    Scenario(
        name="hidden_loader",
        description="Each batch takes 4 ms to arrive while the GPU works off its queue.",
        loader_us=4000,
        steps=14,
    ),
    Scenario(
        name="back_pressure",
        description="The host is so far ahead that launches block on the full queue.",
        layers=16,
        kernel_us=80,
        steps=12,
        device="A100",
        run_ahead_limit=False,
    ),
    Scenario(
        name="mixed",
        description="Late batches, then tiny kernels, then `.item()` after each layer.",
        first_cause="dataloader",
        expect=("dataloader-starvation", "host-sync-in-step"),
        undecided=("launch-bound",),
        loader_period_us=34_000,
        tiny_ops=400,
        layers=8,
        item_per_layer=True,
        log_us=250,
        run_ahead_limit=False,
        cuda_sync=True,
    ),
    Scenario(
        name="mixed_2",
        description="Slow Python between operators, driver allocations, late reductions.",
        first_cause="allocator",
        expect=("allocator-churn", "exposed-communication"),
        undecided=("launch-bound",),
        layers=8,
        kernel_us=40,
        python_us=90,
        frees=8,
        free_layer=7,
        communication="after",
        all_reduce_us=900,
        run_ahead_limit=False,
    ),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
