"""Findings for the renderers' tests."""

from __future__ import annotations

from typing import Any

import msgspec

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Evidence, Finding, Gain, Place, Remedy
from tests.reports.hostile import BREAKOUT, HOSTILE, LONG


def make_finding(code: str = "PK999", **changes: Any) -> Finding:
    """One finding; `changes` replace whole fields."""
    finding = Finding(
        code=code,
        name="an-example",
        severity="warning",
        title="Something costs time",
        cause=Cause.PYTHON,
        cost_us=1_000.0,
        cost_share=0.01,
        evidence=[Evidence(text="It was seen.", value=1.0, unit="1")],
        where=[],
        gain_us=Gain(bound=1_000.0),
        confidence="medium",
        remedy=Remedy(text="Do less."),
    )
    return msgspec.structs.replace(finding, **changes)


def findings() -> list[Finding]:
    """Six findings, not in order of cost."""
    return [
        _synchronizing(),
        _waiting_for_data(),
        make_finding(
            "PK301",
            title="Python between operators keeps the GPU waiting",
            cause=Cause.PYTHON,
            cost_us=9_120.0,
            cost_share=0.0513,
            remedy=Remedy(text="Compile the model.", snippet="model = torch.compile(model)"),
        ),
        make_finding(
            "PK401",
            severity="info",
            title="88 % of matrix time runs without tensor cores",
            cause="compute",
            cost_us=8_900.0,
            cost_share=0.0501,
            confidence="low",
            remedy=Remedy(text="Train in bfloat16 with torch.autocast."),
        ),
        _hostile(),
        make_finding(
            "PK501",
            title="The caching allocator goes to the driver in steady state",
            cause=Cause.ALLOCATOR,
            cost_us=3_100.0,
            cost_share=0.0175,
            remedy=Remedy(
                text="Use expandable segments.",
                snippet="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            ),
        ),
    ]


def _synchronizing() -> Finding:
    return make_finding(
        "PK203",
        severity="warning",
        title="The host waits for the GPU 14 times per step",
        cause=Cause.SYNC,
        cost_us=21_300.0,
        cost_share=0.12,
        evidence=[
            Evidence(text="aten::item stops the launching thread 14 times per step.", value=14),
            Evidence(text="21.3 ms of GPU idle time follow from it.", value=21_300, unit="us"),
        ],
        where=[
            Place(cause="sync", name="aten::item", count_per_step=14, idle_us=18_200.0),
            Place(cause="sync", name=HOSTILE, count_per_step=1, idle_us=3_100.0),
        ],
        gain_us=Gain(bound=21_300.0, expected=17_000.0, low=12_000.0, high=20_000.0),
        confidence="high",
        remedy=Remedy(
            text="Read the loss every 50 steps instead of every step.",
            snippet="if step % 50 == 0:\n    log(loss.item())  # <- the only wait",
            applies_to="PyTorch",
        ),
    )


def _waiting_for_data() -> Finding:
    return make_finding(
        "PK101",
        severity="critical",
        title="The GPU waits for data in every step",
        cause=Cause.DATALOADER,
        cost_us=62_410.0,
        cost_share=0.3514,
        evidence=[
            Evidence(
                text="The main thread loads each batch itself: num_workers is 0, and 62.4 ms "
                "of every step pass inside DataLoader.__next__.",
                value=62_410.0,
                unit="us",
            ),
            Evidence(text="No copy overlaps the loading.", value=0.0, unit="1"),
        ],
        where=[
            Place(
                cause="dataloader",
                name="enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
                count_per_step=1,
                idle_us=62_410.0,
            )
        ],
        gain_us=Gain(bound=62_410.0),
        confidence="high",
        remedy=Remedy(
            text="Load batches in worker processes: start with 4 to 8 per GPU, keep them "
            "alive between epochs and pin the memory.",
            snippet="DataLoader(\n    dataset,\n    num_workers=8,\n    pin_memory=True,\n"
            "    persistent_workers=True,\n)",
            applies_to="torch.utils.data.DataLoader",
        ),
    )


def _hostile() -> Finding:
    return make_finding(
        "PK302",
        title=f"Many short kernels such as {BREAKOUT} | `x` @everyone",
        cause=Cause.LAUNCH,
        cost_us=6_340.0,
        cost_share=0.0357,
        evidence=[Evidence(text=f"41 % of {LONG} are shorter than 10 us.")],
        remedy=Remedy(text="Fuse them, or record a CUDA graph."),
    )
