"""What binds a loader, from the waits and batches that were recorded: exact numbers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from perfkit.analyzers.loader_facts import loaders
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo, StepTimes
from perfkit.model.run_facts import HostFacts, LoaderFacts
from tests.captures import as_read

STEPS, STEP_US = 40, 10_000.0


def made(
    i: int,
    fetch: float = 20_000.0,
    collate: float = 1000.0,
    cpu: float | None = 20_000.0,
    **more: Any,
) -> BatchMade:
    usual: dict[str, Any] = {"worker": i % 2, "pid": 100 + i % 2, "batch": i // 2}
    return BatchMade(
        loader=0, start_ns=i * 10**7, fetch_us=fetch, collate_us=collate, cpu_us=cpu,
        **(usual | more),
    )  # fmt: skip


def info(**changes: Any) -> LoaderInfo:
    usual: dict[str, Any] = {"num_workers": 2, "cores": 16, "persistent_workers": False}
    return LoaderInfo(loader=0, kind="map", dataset="Images", **(usual | changes))


Part = Literal["batch", "start", "end"]


def wait(i: int, us: float = 3000.0, part: Part = "batch", ready: int | None = 0) -> BatchWait:
    return BatchWait(loader=0, batch=i, start_ns=i * 10**7, wait_us=us, part=part, ready=ready)


def loader(
    *found: msgspec.Struct, data: float = 3000.0, host: HostFacts | None = None
) -> LoaderFacts:
    wall = np.full(STEPS, STEP_US)
    block = StepTimes(first=0, start_ns=0, wall_us=wall.tolist(), data_us=[data] * STEPS)
    (facts,) = loaders(as_read(block, *found), wall, np.full(STEPS, data), host)
    return facts


WAITS = [wait(i) for i in range(STEPS)]


def test_what_workers_deliver_against_what_steps_take() -> None:
    first = [made(i, fetch=900_000.0) for i in range(2)]  # each worker's first: not counted
    facts = loader(info(), *WAITS, *first, *(made(i) for i in range(2, STEPS)))
    assert facts.make_us == pytest.approx(21_000)
    assert facts.deliver_us == pytest.approx(10_500)
    assert facts.use_us == pytest.approx(7000)
    assert facts.workers_needed == 3
    assert facts.batches == STEPS
    assert facts.wait_share == pytest.approx(0.3)
    assert (facts.ready, facts.passes) == (0.0, 1)
    assert facts.cpu_share == pytest.approx(20 / 21)


def test_waiting_outside_of_steps_is_no_share_of_them() -> None:
    before = wait(-30, 300_000.0, part="start", ready=None)
    after = [wait(STEPS + i, 9000.0) for i in range(20)]  # of a validation behind the last step
    across = wait(STEPS - 1, 50_000.0, part="end")
    facts = loader(info(), before, *WAITS[:-1], across, *after)
    assert facts.wait_share == pytest.approx((39 * 3000 + 10_000) / (40 * 10_000))


def test_two_batches_a_step() -> None:
    waits = [wait(i, 1500.0) for i in range(2 * STEPS)]
    facts = loader(info(), *waits, *(made(i) for i in range(2 * STEPS)))
    assert facts.use_us == pytest.approx(3500)


def test_reads_are_per_batch() -> None:
    batches = [made(i, rchar=3_000_000, syscr=30, read_bytes=1000) for i in range(STEPS)]
    facts = loader(info(), *WAITS, *batches)
    assert (facts.rchar_bytes, facts.read_calls, facts.read_bytes) == (3e6, 30.0, 1000.0)
    assert facts.major_faults is None


def pass_waits(workers_start_us: float, passes: int = 4) -> list[BatchWait]:
    found = []
    for at in range(0, 10 * passes, 10):
        found.append(wait(at, workers_start_us, part="start", ready=None))
        found += [wait(at + i, 100.0) for i in range(1, 9)]
        found.append(wait(at + 9, 10.0, part="end"))
    return found


def cold(i: int) -> BatchMade:
    """The first half of the run reads 4 MB a batch from storage, the second nothing."""
    early = i < STEPS // 2
    return made(i, fetch=20_000.0 if early else 9000.0, read_bytes=4_000_000 if early else 0)


CROWDED = HostFacts(samples=9, duration_us=1e7, run_delay_share=0.5, cores=2)
CASES: list[tuple[str, str | None, list[msgspec.Struct], dict[str, Any]]] = [
    ("processor time", "cpu", [info(), *WAITS, *map(made, range(STEPS))], {}),
    ("waits", "io", [info(), *WAITS, *(made(i, cpu=2000) for i in range(STEPS))], {}),
    ("waits, not for files", "waiting",
     [info(), *WAITS, *(made(i, cpu=2000, rchar=100) for i in range(STEPS))], {}),
    ("waits for mapped files", "io",
     [info(), *WAITS, *(made(i, cpu=2000, rchar=100, major_faults=9) for i in range(STEPS))], {}),
    ("collation", "collate", [info(), *WAITS, *(made(i, collate=25e3) for i in range(STEPS))], {}),
    ("neither", None, [info(), *WAITS, *(made(i, cpu=10_500) for i in range(STEPS))], {}),
    ("no core", "cpu", [info(), *WAITS, *(made(i, cpu=8000) for i in range(STEPS))],
     {"host": CROWDED}),
    ("waits, crowded or not", "io", [info(), *WAITS, *(made(i, cpu=1000) for i in range(STEPS))],
     {"host": CROWDED}),
    ("processor time is not known", None,
     [info(), *WAITS, *(made(i, cpu=None) for i in range(STEPS))], {}),
    ("nobody waits", None, [info(), *(wait(i, 10.0) for i in range(STEPS)),
                            *map(made, range(STEPS))], {"data": 10.0}),
    ("delivered in time", None, [info(num_workers=8), *WAITS, *map(made, range(STEPS))], {}),
    ("workers start anew", "worker start-up", [info(), *pass_waits(30_000.0)], {}),
    ("one pass", None, [info(), *pass_waits(30_000.0, passes=1)], {}),
    ("workers are kept", None, [info(persistent_workers=True), *pass_waits(30_000.0)], {}),
    ("quick to start", None, [info(), *pass_waits(50.0)], {}),
    ("cold", "cold cache", [info(), *WAITS, *map(cold, range(STEPS))], {}),
    ("warm", "cpu", [info(), *WAITS, *(made(i, read_bytes=0) for i in range(STEPS))], {}),
    ("reads stay", "cpu", [info(), *WAITS, *(made(i, read_bytes=4 << 20) for i in range(STEPS))],
     {}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bound", "found", "more"), CASES, ids=[case[0] for case in CASES])
def test_what_binds_a_loader(
    why: str, bound: str | None, found: list[msgspec.Struct], more: dict[str, Any]
) -> None:
    facts = loader(*found, **more)
    assert facts.bound == bound, why
    assert (facts.reason is None) == (bound is None)


def test_faults_tell_of_a_cold_cache_where_reads_do_not() -> None:
    batches = [
        made(i, fetch=20_000 if i < 20 else 9000, major_faults=40 if i < 20 else 0)
        for i in range(STEPS)
    ]
    facts = loader(info(), *WAITS, *batches)
    assert facts.bound == "cold cache"
    assert "major page faults" in (facts.reason or "")


def test_loaders_without_info_or_batches() -> None:
    only = loader(wait(0), wait(1))
    assert (only.batches, only.make_us, only.num_workers) == (2, None, None)
    assert only.use_us is not None
    unused = loader(info())
    assert (unused.batches, unused.wait_us, unused.bound) == (0, None, None)
