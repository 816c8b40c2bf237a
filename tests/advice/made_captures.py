"""Captures for labelled cases: a healthy simulated trace, and what collectors wrote beside it.

Each is a function that writes the folder of a run and returns its path; the table at the end gives
them by name. Storage is described as the kernel and `lfs` print it, and read by the collectors' own
parsers. What rules must say of them stands in labels/made.toml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from perfkit.collectors.lustre import parse_layout
from perfkit.collectors.mounts import parse_mountinfo
from perfkit.model.capture import CheckpointWrite, FileSystem, MemoryStep, StepTimes, WorkerState
from sample_traces.simulator import Simulated, inject, write_capture

GB = 10**9
DEVICE = 85_097_971_712
"""Bytes of the simulated GPU, an A100."""
RUN_STEPS, LOOKS = 20_000, 400
_STEP_US = 5000.0
_START_NS = 1_700_000_000 * GB
LUSTRE = "482 29 0:55 / /scratch rw,relatime shared:241 - lustre mgs@o2ib:/fs1 rw,flock,lazystatfs"
NFS = ("71 29 0:44 / /home rw,relatime shared:35 - nfs4 filer:/export/home rw,{},vers=4.1,"
       "rsize=1048576,wsize={},namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys")  # fmt: skip
GETSTRIPE = """/scratch/ckpt/step_900.pt
lmm_stripe_count:  {}
lmm_stripe_size:   4194304
lmm_pattern:       raid0
lmm_layout_gen:    0
lmm_stripe_offset: 3
\tobdidx\t\t objid\t\t objid\t\t group
\t     3\t        690550\t      0xa8976\t             0
"""


@cache
def _healthy() -> Simulated:
    return inject({}, seed=3)


@cache
def _workers() -> Simulated:
    return inject({"busy_workers": 0.5}, seed=3)


def capture(
    folder: Path, records: Iterable[msgspec.Struct], run: Simulated | None = None, **rank: Any
) -> Path:
    """The Capture of a run with these records; `rank` changes what rank.json says."""
    write_capture(run or _healthy(), folder / "run")
    path = folder / "run" / "rank0"
    steps = StepTimes(first=0, start_ns=_START_NS, wall_us=[_STEP_US] * RUN_STEPS,
                      data_us=[0.0] * RUN_STEPS)  # fmt: skip
    lines = [msgspec.json.encode(record) + b"\n" for record in (steps, *records)]
    (path / "more.jsonl").write_bytes(b"".join(lines))
    facts = json.loads((path / "rank.json").read_text("utf-8"))
    facts |= {"ended": "finished", "environment": {"torch": "2.8.0"}, **rank}
    (path / "rank.json").write_text(json.dumps(facts), "utf-8")
    return path.parent


def memory(
    held: Callable[[int], float], *, above: float = 0.0, reserved: float | None = None,
    retries: Callable[[int], int] = lambda _: 0,
) -> Iterator[MemoryStep]:  # fmt: skip
    """The allocator at each look: bytes held, and `above` more at the peak within the step."""
    peak = 0
    for look in range(LOOKS):
        now = int(held(look))
        peak = max(peak, int(now + above))
        most = int(max(reserved or 0.0, 1.02 * peak))
        yield MemoryStep(
            step=look * (RUN_STEPS // LOOKS),
            allocated_bytes=now,
            reserved_bytes=most,
            peak_allocated_bytes=peak,
            peak_reserved_bytes=most,
            retries=retries(look),
            ooms=0,
        )


def level(share: float) -> Callable[[int], float]:
    """As much at every look, a little more or less."""
    return lambda look: (share - 0.01 * (look % 3 == 0)) * DEVICE


def grows(share: float, by: float, until: int = LOOKS) -> Callable[[int], float]:
    """Memory that grows by so many bytes from look to look."""
    return lambda look: share * DEVICE + by * min(look, until)


def storage(mountinfo: str, getstripe: str | None = None, size: float = 8e9) -> FileSystem:
    """Where checkpoints of this size lie."""
    (mount,) = parse_mountinfo(mountinfo)
    path = f"{mount.point}/ckpt"
    layout = parse_layout(getstripe, f"{path}/step_900.pt") if getstripe else None
    return FileSystem(
        role="checkpoint", path=path, kind=mount.kind, mount=mount.point, source=mount.source,
        family=mount.family, options=list(mount.options), files=4, bytes=int(4 * size),
        largest_bytes=int(size), layout=layout,
    )  # fmt: skip


def saves(
    seconds: float, size: float = 8e9, call: str = "torch.save", blocking: float = 1.0
) -> list[CheckpointWrite]:
    """Two checkpoints in the run; `blocking` is the part that the training thread stands still."""
    us = 1e6 * seconds
    return [
        CheckpointWrite(
            start_ns=_START_NS + i * GB,
            dur_us=us,
            blocking_us=blocking * us,
            call=call,
            path="/ckpt",
            bytes=int(size),
            step=10_000 * i,
        )
        for i in range(2)
    ]


def forked(private: float, whole: float) -> Iterator[WorkerState]:
    """Four workers of a dataset of 6 GB, whose own and whole memory grows by so many bytes."""
    for worker in range(4):
        for look in range(3):
            yield WorkerState(
                loader=0, worker=worker, pid=4000 + worker, t_ns=_START_NS + look * GB,
                anonymous_bytes=int(6e9 + look / 2 * whole), threads=2,
                private_bytes=int(2e8 + look / 2 * private), memory_bytes=int(2.5e10),
            )  # fmt: skip


def _loads(folder: Path, states: Iterable[WorkerState]) -> Path:
    made = capture(folder, states, _workers())
    path = made / "rank0" / "records.jsonl"
    text = path.read_text("utf-8").replace('"in_order"', '"start_method": "fork", "in_order"')
    path.write_text(text, "utf-8")
    return made


def _saved(folder: Path, place: FileSystem, written: list[CheckpointWrite]) -> Path:
    return capture(folder, [place, *written])


RETRIED: dict[str, Any] = {"reserved": 0.95 * DEVICE, "retries": lambda look: look // 20}
ENDED: dict[str, Any] = {"ended": "exception", "error": "OutOfMemoryError"}
CAPTURES: dict[str, Callable[[Path], Path]] = {
    "memory_grows_all_the_time": lambda to: capture(to, memory(grows(0.3, 2e7))),
    "memory_grows_at_first": lambda to: capture(to, memory(grows(0.3, 2e7, until=60))),
    "memory_is_full": lambda to: capture(to, memory(level(0.85), above=0.125 * DEVICE)),
    "memory_is_used_well": lambda to: capture(to, memory(level(0.75), above=0.13 * DEVICE)),
    "memory_in_pieces": lambda to: capture(to, memory(level(0.7), **RETRIED)),
    "memory_retried_at_the_start": lambda to: capture(
        to, memory(level(0.7), reserved=0.95 * DEVICE, retries=lambda look: min(look, 2))
    ),
    "ended_out_of_memory": lambda to: capture(to, memory(level(0.96), **RETRIED), **ENDED),
    "ended_by_another_error": lambda to: capture(
        to, memory(level(0.6)), ended="exception", error="KeyError"
    ),
    "checkpoints_to_one_ost": lambda to: _saved(
        to, storage(LUSTRE, GETSTRIPE.format(1)), saves(8.0)
    ),
    "checkpoints_to_four_osts": lambda to: _saved(
        to, storage(LUSTRE, GETSTRIPE.format(4)), saves(2.4)
    ),
    "checkpoints_by_rank": lambda to: _saved(
        to, storage(LUSTRE, GETSTRIPE.format(1)),
        saves(1.2, call="torch.distributed.checkpoint.save"),
    ),
    "checkpoints_to_synchronous_nfs": lambda to: _saved(
        to, storage(NFS.format("sync", 1048576)), saves(12.0)
    ),
    "checkpoints_to_nfs": lambda to: _saved(
        to, storage(NFS.format("relatime", 1048576)), saves(4.0, blocking=0.02)
    ),
    "dataset_of_lists": lambda to: _loads(to, forked(private=2.4e9, whole=1e8)),
    "dataset_of_arrays": lambda to: _loads(to, forked(private=5e7, whole=4e7)),
    "dataset_with_a_cache": lambda to: _loads(to, forked(private=1.2e9, whole=1.2e9)),
}  # fmt: skip
