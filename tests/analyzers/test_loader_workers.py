"""Loader workers in the graph: what a Capture tells of them, and what is said without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.graph.model import Edge
from perfkit.analyzers.graph.replay import replay
from perfkit.analyzers.graph.workers import made_for
from perfkit.analyzers.whatif import edited, fixes_of, what_if
from perfkit.analyzers.whatif.delivery import UNSEEN
from perfkit.model.capture import BatchMade, BatchWait, LoaderInfo
from perfkit.model.diagnosis import Gain
from perfkit.model.trace import Trace, WorkerBatches
from perfkit.trace import open_trace
from perfkit.trace.capture_batches import worker_batches
from perfkit.trace.capture_records import Records
from sample_traces.simulator import Simulated, inject, write, write_capture
from tests.analyzers.programs import host, trace_of
from tests.captures import as_read

RECORDED = Path(__file__).parents[2] / "sample_traces" / "recorded" / "cpu"
FIXES = ("kernels=2", "kernels:gemm=2", "host=2")
HIDDEN = {"busy_workers": 1.0}
MS = 1_000_000
MULTI = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"


@pytest.fixture(scope="module")
def hidden() -> Simulated:
    """A loader that is in time for the GPU, and not for one twice as fast."""
    return inject(HIDDEN, seed=2)


@pytest.fixture(scope="module")
def seen(hidden: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Its facts as a recorded run tells them."""
    return facts_of(open_trace(write_capture(hidden, tmp_path_factory.mktemp("seen") / "run")))


@pytest.fixture(scope="module")
def unseen(hidden: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Its facts from the trace alone."""
    return facts_of(open_trace(write(hidden, tmp_path_factory.mktemp("unseen"))))


def gain(facts: Facts, fix: str) -> Gain:
    return what_if(facts, [fix]).fixes[0].gain_us


def true_us(simulated: Simulated, fix: str, of: str = "wall_ns") -> float:
    steps = len(simulated.truth["steps"]) if of == "wall_ns" else 1
    return float(simulated.truth["fixes"][fix][of]) / 1000 / steps


@pytest.mark.parametrize("fix", FIXES)
def test_workers_that_are_seen_deliver_in_a_replay_as_they_would(
    seen: Facts, hidden: Simulated, fix: str
) -> None:
    assert seen.replay.failed == []
    assert replayed_ns(seen, fix) == pytest.approx(true_us(hidden, fix) * 18_000, rel=0.01)


def replayed_ns(facts: Facts, fix: str) -> int:
    """From the first step's mark to the end of the work, with the fix."""
    steps = facts.stretch
    changed = edited(steps, fixes_of([fix]), optimistic=False).graph()
    time = replay(changed, steps.plan)
    return int((time + changed.dur)[steps.part.operation].max() - time[steps.border[0]])


def test_workers_that_wait_for_a_slow_host_deliver_as_they_would(tmp_path: Path) -> None:
    simulated = inject({"slow_workers": 0.2, "python_loop": 0.2}, seed=0)
    facts = facts_of(open_trace(write_capture(simulated, tmp_path / "run")))
    truth = true_us(simulated, "host=2") * 18_000
    assert replayed_ns(facts, "host=2") == pytest.approx(truth, rel=0.01)


def test_in_the_long_run_no_step_is_shorter_than_its_batch(seen: Facts, hidden: Simulated) -> None:
    found = gain(seen, "kernels=2")
    assert found.expected is not None and found.low is not None and found.high is not None
    after = seen.stretch.mean_us - found.expected
    assert after == pytest.approx(true_us(hidden, "kernels=2", "step_ns"), rel=0.02)
    truth = seen.stretch.mean_us - true_us(hidden, "kernels=2")
    assert found.low < truth < found.high
    ready = what_if(seen, ["kernels=2", "dataloader"]).order[0].gain_us
    assert ready.expected is not None and ready.expected > 1.4 * found.expected


def test_without_records_the_interval_holds_what_the_loader_allows(
    unseen: Facts, hidden: Simulated
) -> None:
    found, now = gain(unseen, "kernels=2"), unseen.stretch.mean_us
    assert found.expected is not None and found.low is not None
    assert now - found.expected < 0.8 * true_us(hidden, "kernels=2")  # nothing shows the limit
    assert found.low <= UNSEEN * now < now - true_us(hidden, "kernels=2")
    note = what_if(unseen, ["kernels=2"]).note
    assert note is not None and "gains above 5%" in note
    assert what_if(unseen, ["host=2"]).note is None


@pytest.mark.parametrize("fault", ["slow_workers", "slow_storage", "loader_stall"])
def test_a_loader_that_is_late_does_not_follow_a_faster_host(fault: str, tmp_path: Path) -> None:
    simulated = inject({fault: 0.2}, seed=1)
    facts = facts_of(open_trace(write(simulated, tmp_path)))
    found, truth = gain(facts, "host=2"), true_us(simulated, "host=2")
    assert found.expected is not None and found.low is not None and found.high is not None
    assert facts.stretch.mean_us - found.expected == pytest.approx(truth, rel=0.001)
    assert found.low <= facts.stretch.mean_us - truth <= found.high


def test_only_a_loader_that_nobody_saw_widens_an_interval(tmp_path: Path) -> None:
    for faults in ({"dataset_sleep": 0.2}, {"slow_workers": 0.2}):
        trace = write(inject(faults, seed=1), tmp_path / next(iter(faults)))
        found = gain(facts_of(open_trace(trace)), "kernels=2")
        assert found.expected is not None and found.error is not None
        assert found.error < 0.05 * max(found.expected, 0.0) + 0.006 * 5000


def test_a_ready_loader_releases_what_waits_for_it(seen: Facts) -> None:
    assert np.count_nonzero(seen.built.graph.edges.kind == Edge.DATA) > 18
    edit = edited(seen.stretch, fixes_of(["dataloader"]), optimistic=False)
    graph = edit.graph()
    released = graph.edges.lag[graph.edges.kind == Edge.DATA]
    assert (released < -(1 << 40)).all()


def test_the_workers_of_a_real_run_explain_its_waits() -> None:
    trace = open_trace(RECORDED / "slow_workers" / "faulty")
    facts = facts_of(trace)
    assert trace.info.batches is not None and trace.info.batches.workers == 2
    assert facts.built.pace.deliver_ns == pytest.approx(80.3 * MS, rel=0.01)  # 160.6 ms each
    graph = facts.built.graph
    assert (graph.lane >= len(trace.lanes)).sum() >= 10
    assert facts.replay.failed == []
    found = gain(facts, "host=2")
    assert found.expected is not None and found.expected < 0.05 * facts.stretch.mean_us


def told(**changes: object) -> WorkerBatches:
    """Two workers that need 4 ms a batch; one is asked for every 2 ms from 100 ms on."""
    number = np.arange(40, 60)
    start = 82 * MS + 2 * MS * np.arange(20)
    usual = WorkerBatches(
        number, number % 2, start, start + 4 * MS, number[5:15], 100 * MS + 2 * MS * np.arange(10),
        workers=2, prefetch=2,
    )  # fmt: skip
    return replace(usual, **changes)  # type: ignore[arg-type]


def made_of(trace: Trace, batches: WorkerBatches, count: int = 10) -> object:
    asked = 100 * MS + 2 * MS * np.arange(count) + 50_000
    info = replace(trace.info, batches=batches)
    ts = trace.ts - trace.ts.min() + 100 * MS
    return made_for(replace(trace, ts=ts, info=info), asked, asked + 100_000)


def test_batches_are_matched_by_when_they_were_asked_for(seen: Facts) -> None:
    made = made_for(seen.trace, np.empty(0, np.int64), np.empty(0, np.int64))
    assert made is None
    assert made_of(seen.trace, told()) is not None


@pytest.mark.parametrize(
    "contradiction",
    [
        {"asked_batch": np.array([45, 46, 47, 48, 49, 51, 52, 53, 54, 55])},
        {"asked_at": 150 * MS + 2 * MS * np.arange(10)},
        {"batch": np.delete(np.arange(39, 60), 8)},
        {"end": 100 * MS + 2 * MS * np.arange(20)},
        {"start": np.full(20, 82 * MS)},
    ],
    ids=["two offsets", "no match", "one lacks its record", "made too late", "made too early"],
)
def test_records_that_contradict_the_trace_are_not_used(
    seen: Facts, contradiction: dict[str, object]
) -> None:
    assert made_of(seen.trace, told(**contradiction)) is None


def records(*more: msgspec.Struct, info: LoaderInfo | None = None) -> Records:
    """Two workers' batches since the second pass began, at 10 ms, and waits in a trace."""
    about = info or LoaderInfo(loader=0, kind="map", dataset="d", num_workers=2, in_order=True)
    begins = [BatchWait(loader=0, batch=b, start_ns=t, part="start", wait_us=1.0)
              for b, t in ((0, 0), (7, 10 * MS))]  # fmt: skip
    made = [BatchMade(loader=0, batch=n, start_ns=(n - 3) * MS + 10 * MS, fetch_us=800.0,
                      collate_us=200.0, worker=w, pid=50 + w)
            for n in range(2, 9) for w in (0, 1)]  # fmt: skip
    waits = [BatchWait(loader=0, batch=10 + i, start_ns=20 * MS + i, wait_us=1.0) for i in (0, 1)]
    return as_read(about, *begins, *made, *waits, *more)


def within(trace: Trace) -> Trace:
    """The trace from 20 ms to 24 ms of the records' clock."""
    ts = np.linspace(20 * MS, 24 * MS, len(trace)).astype(np.int64)
    info = replace(trace.info, base_ns=0)
    return replace(trace, ts=ts, dur=np.zeros(len(trace), np.int64), info=info)


def test_workers_take_turns_from_the_begin_of_the_pass(seen: Facts) -> None:
    found = worker_batches(within(seen.trace), records())
    assert found is not None
    assert found.batch.tolist() == list(range(7, 19))  # from the third of each worker on
    assert found.worker[:4].tolist() == [0, 1, 0, 1]
    assert (found.end - found.start == MS).all()
    assert found.asked_batch.tolist() == [10, 11]
    assert found.prefetch == 2


@pytest.mark.parametrize(
    "more",
    [
        BatchWait(loader=1, batch=0, start_ns=21 * MS, wait_us=1.0),
        BatchWait(loader=0, batch=12, start_ns=21 * MS, part="end", wait_us=1.0),
    ],
    ids=["another loader", "the pass ends"],
)
def test_a_window_of_several_loaders_or_passes_tells_nothing(seen: Facts, more: BatchWait) -> None:
    assert worker_batches(within(seen.trace), records(more)) is None


def test_batches_in_any_order_or_of_no_worker_tell_nothing(seen: Facts) -> None:
    usual = {"loader": 0, "kind": "map", "dataset": "d"}
    for more in ({"num_workers": 2, "in_order": False}, {"num_workers": 0}):
        info = LoaderInfo(**usual, **more)  # type: ignore[arg-type]
        assert worker_batches(within(seen.trace), records(info=info)) is None


def test_a_worker_whose_first_batch_of_the_pass_is_not_recorded_is_left_out(seen: Facts) -> None:
    some = records()
    some.by_type[BatchMade] = [
        made for made in some.of(BatchMade) if (made.worker, made.batch) != (1, 3)
    ]
    found = worker_batches(within(seen.trace), some)
    assert found is not None and set(found.worker.tolist()) == {0}


def handing_over(batches: WorkerBatches | None, slow: int = -1) -> Facts:
    """Twenty steps of 40 ms, in which taking a batch over from workers takes 1 ms."""
    events = []
    for n in range(20):
        at, took = 1000.0 + 40_000 * n, 30_000.0 if n == slow else 1000.0
        events += [
            host(f"ProfilerStep#{n}", at, 40_000.0, "user_annotation"),
            host(MULTI, at, took, "user_annotation"),
            host("aten::mm", at + took, 39_000.0 - took),
        ]
    trace = trace_of(events)
    return facts_of(replace(trace, info=replace(trace.info, batches=batches)))


def data_edges(facts: Facts) -> int:
    return int(np.count_nonzero(facts.built.graph.edges.kind == Edge.DATA))


def test_batches_that_workers_had_time_for_are_handed_over() -> None:
    quick = told(batch=np.arange(100, 120))  # records of other batches: workers need 2 ms
    assert data_edges(handing_over(None)) == 19
    assert data_edges(handing_over(quick)) == 0
    assert data_edges(handing_over(quick, slow=9)) == 1  # that one was late all the same
    slow = replace(quick, end=quick.start + 70 * MS)
    assert data_edges(handing_over(slow)) == 19


def test_workers_that_always_wait_for_a_place_need_no_time_between_batches() -> None:
    number = np.arange(20)
    start = (2 + 40 * (number - 4)) * MS + MS // 3  # as soon as the fourth before it was taken
    batches = WorkerBatches(
        number, number % 2, start, start + MS, number, (1 + 40 * number) * MS, workers=2, prefetch=2
    )
    facts = handing_over(batches)
    graph, lanes = facts.built.graph, len(facts.trace.lanes)
    begins = np.flatnonzero((graph.lane >= lanes) & (graph.prev >= 0))[::2]
    assert len(begins) > 10
    assert set(graph.lag[begins].tolist()) <= {0, MS}  # 79 ms if their waiting were their own
