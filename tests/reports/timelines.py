"""A step's time line for the renderers' tests."""

from __future__ import annotations

import itertools

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Timeline, TimelineEvent
from tests.reports.hostile import HOSTILE, HOSTILE_NAMES

_LANES = (
    "thread 4711 (main)",
    "thread 4712 (autograd)",
    "thread 4713 " + HOSTILE,
    "GPU 0 stream 7",
    "GPU 0 stream 20",
    "GPU 0 stream 24",
)


def make_timeline(number: int) -> Timeline:
    """A step with `number` events on three threads and three streams."""
    wall = 171_200.0
    events = [*_host_events(number * 2 // 3, wall), *_gpu_events(number - number * 2 // 3, wall)]
    return Timeline(
        step="ProfilerStep#5",
        wall_us=wall,
        lanes=list(_LANES),
        events=events[:number],
        gaps=_gaps(wall),
        omitted_events=1_532,
    )


def _host_events(number: int, wall: float) -> list[TimelineEvent]:
    """An annotation over each thread, operators in it, runtime calls in the operators."""
    events = [
        TimelineEvent(lane=t, name="ProfilerStep#5", kind="annotation", start_us=0, dur_us=wall)
        for t in range(2)
    ]
    names = itertools.cycle((*HOSTILE_NAMES, "aten::linear", "aten::add_", "aten::copy_"))
    each = wall * 0.6 / (number // 3 + 1)
    for i in range(number // 3 + 1):
        lane, at = (0, 1, 0, 2)[i % 4], wall * 0.38 + i * each
        name = next(names)
        for depth, kind in enumerate(("operator", "operator", "runtime")):
            inner = each * (0.9 - 0.3 * depth)
            events.append(
                TimelineEvent(
                    lane=lane,
                    name=name if depth < 2 else "cudaLaunchKernel",
                    kind=kind,
                    start_us=at + (each - inner) / 2,
                    dur_us=inner,
                )
            )
    return events[:number]


def _gpu_events(number: int, wall: float) -> list[TimelineEvent]:
    kinds = (("gemm", 3), ("elementwise", 3), ("communication", 4), ("memcpy", 5), ("conv", 3))
    each = wall * 0.55 / number
    return [
        TimelineEvent(
            lane=kinds[i % 5][1],
            name=HOSTILE_NAMES[i % 7] if i % 3 else "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
            kind=kinds[i % 5][0],
            start_us=wall * 0.42 + i * each,
            dur_us=each * 0.8,
        )
        for i in range(number)
    ]


def _gaps(wall: float) -> list[TimelineEvent]:
    causes = (Cause.SYNC, Cause.PYTHON, Cause.LAUNCH, Cause.DISPATCH, Cause.UNKNOWN)
    first = TimelineEvent(
        lane=-1,
        name=Cause.DATALOADER.text,
        kind=Cause.DATALOADER,
        start_us=0,
        dur_us=wall * 0.365,
    )
    return [first] + [
        TimelineEvent(
            lane=-1,
            name=causes[i % 5].text,
            kind=causes[i % 5],
            start_us=wall * (0.44 + 0.0055 * i),
            dur_us=wall * 0.0031,
        )
        for i in range(90)
    ]
