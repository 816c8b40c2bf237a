"""What-if of the slow run in `diagnoses`: three fixes, all their sets, and how well replay did."""

from __future__ import annotations

from typing import Any

import msgspec

from perfkit.model.diagnosis import Diagnosis, Fix, Gain, Replay, Together, WhatIf
from tests.reports.diagnoses import make_diagnosis

FIXES = ("dataloader", "sync", "cuda-graphs")
# (expected, low, high, bound) in microseconds; less than the sum of what each alone returns
GAINS: dict[tuple[str, ...], tuple[float, float, float, float]] = {
    ("dataloader",): (58_000.0, 52_000.0, 61_000.0, 62_400.0),
    ("sync",): (17_000.0, 12_000.0, 20_000.0, 21_300.0),
    ("cuda-graphs",): (1_000.0, -4_000.0, 6_000.0, 15_400.0),
    ("dataloader", "sync"): (71_000.0, 63_000.0, 76_000.0, 80_000.0),
    ("dataloader", "cuda-graphs"): (60_000.0, 52_500.0, 66_000.0, 74_000.0),
    ("sync", "cuda-graphs"): (19_000.0, 11_000.0, 26_000.0, 34_000.0),
    ("dataloader", "sync", "cuda-graphs"): (77_600.0, 67_600.0, 84_000.0, 92_000.0),
}
SAVED = {"dataloader": 60_100.0, "sync": 18_400.0, "python": 2_300.0, "copy": 0.0}


def make_gain(*fixes: str) -> Gain:
    expected, low, high, bound = GAINS[fixes]
    return Gain(bound=bound, expected=expected, low=low, high=high)


def make_together(*fixes: str) -> Together:
    return Together(fixes=list(fixes), gain_us=make_gain(*fixes))


def make_whatif(**changes: Any) -> WhatIf:
    """Three fixes, the last of which returns less than the prediction is sure of."""
    texts = ("batches are ready in time", "the host waits for nothing", "one launch a step")
    grades = ("A", "A", "C")
    found = WhatIf(
        steps=10,
        fixes=[
            Fix(fix=name, text=text, gain_us=make_gain(name), grade=grade)  # type: ignore[arg-type]
            for name, text, grade in zip(FIXES, texts, grades, strict=True)
        ],
        combinations=[make_together(*fixes) for fixes in GAINS if len(fixes) > 1],
        order=[make_together(*FIXES[: i + 1]) for i in range(len(FIXES))],
    )
    return msgspec.structs.replace(found, **changes)


def make_replay(**changes: Any) -> Replay:
    """A replay whose gates all passed."""
    replay = Replay(
        closed_error=0.0,
        open_error=0.0016,
        start_error=0.0021,
        residual_share=0.004,
        violation_share=0.0,
        violations=0,
        recorded_edges=12_345,
        clock_shift_us=0.0,
        reordered=3,
        time_stamps=41_210,
        queue_depth=1022,
        blocking_streams=2,
        failed=[],
    )
    return msgspec.structs.replace(replay, **changes)


def make_predicted(**changes: Any) -> Diagnosis:
    """The slow run with its what-if, the gain of its fix in each finding, as rules put it there."""
    slow = make_diagnosis()
    fix = {"PK101": "dataloader", "PK203": "sync", "PK302": "cuda-graphs"}
    found = [
        msgspec.structs.replace(f, gain_us=make_gain(fix[f.code])) if f.code in fix else f
        for f in slow.findings
    ]
    fidelity = msgspec.structs.replace(slow.fidelity, replay=make_replay())
    told = msgspec.structs.replace(
        slow, findings=found, fidelity=fidelity, whatif=make_whatif(), saved_us=SAVED
    )
    return msgspec.structs.replace(told, **changes)


def make_withheld() -> Diagnosis:
    """A replay that misses the recording."""
    slow = make_diagnosis()
    said = "the replay misses the recording by 8.1%"
    replay = make_replay(open_error=0.081, failed=[said])
    return msgspec.structs.replace(
        slow,
        fidelity=msgspec.structs.replace(slow.fidelity, replay=replay),
        whatif=make_whatif(fixes=[], combinations=[], order=[], withheld=said),
    )
