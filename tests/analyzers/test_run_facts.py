"""The facts of a run from its records: exact numbers, and absent where nothing was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from perfkit.analyzers.loader_facts import loaders
from perfkit.analyzers.machine_facts import gpus, host
from perfkit.analyzers.memory_facts import memory
from perfkit.analyzers.occasion_facts import checkpoints, collections
from perfkit.analyzers.run_facts import step_facts, steps_of
from perfkit.api import analyze
from perfkit.model.capture import (
    BatchMade,
    BatchWait,
    CheckpointWrite,
    Collection,
    FileSystem,
    GpuFault,
    GpuSample,
    HostSample,
    LoaderInfo,
    MemoryStep,
    Sight,
    StepTimes,
)
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import HostFacts, LoaderFacts
from perfkit.trace.capture_folder import Recording
from perfkit.trace.capture_records import Records
from tests.captures import step_times, write_capture

GB = 10**9
RECORDING = Recording(Path("w.json"), first_step=10, steps=5, reason="schedule")


def records(*found: msgspec.Struct) -> Records:
    made = Records()
    for record in found:
        made.by_type.setdefault(type(record), []).append(record)
    return made


def test_steps_without_the_profiler_stand_against_the_window() -> None:
    found = records(
        step_times([900.0, *[100.0] * 9], 25.0),
        StepTimes(first=10, start_ns=0, wall_us=[130.0] * 5, data_us=[26.0] * 5, profiled=True),
        StepTimes(first=15, start_ns=0, wall_us=[100.0, 300.0], data_us=[25.0, 75.0]),
    )
    steps = step_facts(steps_of(found), RECORDING)
    assert (steps.total, steps.first_us) == (17, 900.0)
    assert steps.unprofiled is not None
    assert steps.unprofiled.count == 11
    assert steps.unprofiled.mean_us == pytest.approx(1300 / 11)
    assert (steps.unprofiled.p50_us, steps.unprofiled.max_us) == (100.0, 300.0)
    assert steps.unprofiled.data_share == pytest.approx(0.25)
    assert steps.window is not None
    assert steps.window.count == 5
    assert steps.window.data_share == pytest.approx(0.2)
    assert steps.overhead_share == pytest.approx(130 / (1300 / 11) - 1)


def test_blocks_in_any_order_and_of_uneven_length() -> None:
    found = records(
        StepTimes(first=3, start_ns=0, wall_us=[4.0, 5.0, 6.0], data_us=[1.0, 9.0]),
        StepTimes(first=0, start_ns=0, wall_us=[1.0, float("nan"), 3.0], data_us=[1.0, 1.0, 1.0]),
        StepTimes(first=9, start_ns=0, wall_us=[0.0, -3.0], data_us=[0.0, 0.0]),
    )
    steps = steps_of(found)
    assert steps.number.tolist() == [0, 2, 3, 4]
    assert steps.data.tolist() == [1.0, 1.0, 1.0, 5.0]  # never more than the step


def test_shares_stay_shares() -> None:
    steps = step_facts(steps_of(records(step_times([5.0, 5.0, 5.0], 50.0))), RECORDING)
    assert steps.unprofiled is not None
    assert steps.unprofiled.data_share == 1.0
    assert (steps.window, steps.overhead_share) == (None, None)


def test_a_long_run_becomes_few_points_that_keep_means_and_extremes() -> None:
    wall = [100.0] * 50_000
    wall[33_333] = 9000.0
    found = records(
        step_times(wall[:20_000]),
        step_times(wall[20_000:20_010], first=20_000, profiled=True),
        step_times(wall[20_010:], first=20_010),
    )
    points = step_facts(steps_of(found), RECORDING).points
    assert 100 < len(points) <= 400
    assert max(point.max_us for point in points) == 9000.0
    assert [point.step for point in points if point.profiled] == [20_000]
    assert [point.step for point in points] == sorted(point.step for point in points)


def test_few_steps_are_points_of_their_own() -> None:
    points = step_facts(steps_of(records(step_times([5.0, 7.0, 6.0]))), RECORDING).points
    assert [(point.step, point.wall_us) for point in points] == [(0, 5.0), (1, 7.0), (2, 6.0)]


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
    (facts,) = loaders(records(block, *found), wall, np.full(STEPS, data), host)
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


def sample(t_s: float, **values: Any) -> GpuSample:
    return GpuSample(t_ns=round(t_s * 1e9), **({"device": 0} | values))


def test_gpu_samples_are_means_extremes_and_shares() -> None:
    found = records(
        *(sample(i, utilization=0.5, power_w=300.0, sm_clock_mhz=1400.0 + 100 * (i % 2),
                 temperature_c=60 + i, memory_used_bytes=i * GB,
                 clock_event_reasons=0x40 if i < 3 else 0) for i in range(10)),
        sample(1, device=1),
        GpuFault(t_ns=5, device=0, xid=79),
    )  # fmt: skip
    first, second = gpus(found)
    assert (first.samples, first.utilization, first.power_w) == (10, 0.5, 300.0)
    assert (first.sm_clock_mhz, first.sm_clock_max_mhz) == (1450.0, 1500.0)
    assert (first.temperature_max_c, first.memory_used_max_bytes) == (69.0, 9 * GB)
    assert [(r.name, r.judgement) for r in first.reasons] == [("HwThermalSlowdown", "error")]
    assert first.reasons[0].share == pytest.approx(0.3)
    assert first.xids == [79]
    assert (second.device, second.utilization, second.reasons) == (1, None, [])


def test_means_of_a_gpu_leave_out_start_up_and_end() -> None:
    run = StepTimes(first=0, start_ns=10 * GB, wall_us=[5e6, *[1e5] * 50], data_us=[0.0] * 51)
    busy = {"utilization": 0.9, "power_w": 600.0, "sm_clock_mhz": 1800.0}
    idle = {"utilization": 0.0, "power_w": 70.0, "sm_clock_mhz": 1980.0, "clock_event_reasons": 1}
    seen = [
        *(sample(t, temperature_c=30.0, **idle) for t in range(15)),  # the first step ends at 15 s
        *(sample(t, temperature_c=60.0, memory_used_bytes=GB, clock_event_reasons=0, **busy)
          for t in range(16, 20)),
        *(sample(t, temperature_c=65.0, memory_used_bytes=3 * GB, **idle) for t in range(21, 40)),
    ]  # fmt: skip
    (found,) = gpus(records(run, *seen))
    assert (found.samples, found.utilization, found.power_w) == (4, 0.9, 600.0)
    assert (found.sm_clock_mhz, found.reasons) == (1800.0, [])
    assert (found.sm_clock_max_mhz, found.temperature_max_c) == (1980.0, 65.0)
    assert found.memory_used_max_bytes == 3 * GB
    (short,) = gpus(records(run, *seen[:15]))
    assert (short.samples, short.utilization, short.memory_used_max_bytes) == (0, None, None)
    (one_step,) = gpus(records(StepTimes(first=0, start_ns=0, wall_us=[5e6], data_us=[0.0]), *seen))
    assert (one_step.samples, one_step.utilization) == (6, 0.0)


@pytest.mark.parametrize(
    ("bits", "clock", "name", "judgement"),
    [
        (0x1, 1500.0, "GpuIdle", "ok"),
        (0x2, 1500.0, "ApplicationsClocksSetting", "config"),
        (0x4, 1450.0, "SwPowerCap", "ok"),
        (0x4, 1200.0, "SwPowerCap", "config"),
        (0x8, 1500.0, "HwSlowdown", "warn"),
        (0x20, 1500.0, "SwThermalSlowdown", "warn"),
        (0x80, 1500.0, "HwPowerBrakeSlowdown", "error"),
    ],
)
def test_reasons_are_judged(bits: int, clock: float, name: str, judgement: str) -> None:
    held = [sample(i, clock_event_reasons=bits, sm_clock_mhz=clock) for i in range(4)]
    free = sample(9, clock_event_reasons=0, sm_clock_mhz=1500.0)
    (found,) = gpus(records(*held, free))
    assert [(r.name, r.judgement) for r in found.reasons] == [(name, judgement)]
    assert found.reasons[0].share == pytest.approx(0.8)


def test_host_counters_are_differences() -> None:
    found = host(records(
        HostSample(t_ns=0, cpu_us=5e6, run_delay_us=1e6, involuntary_switches=100, load=4.0,
                   cores=2, rss_bytes=GB),
        HostSample(t_ns=4 * GB, cpu_us=11e6, run_delay_us=2e6, involuntary_switches=300, load=6.0,
                   cores=2, rss_bytes=3 * GB),
    ))  # fmt: skip
    assert found is not None
    assert found.run_delay_share == pytest.approx(0.25)
    assert found.cpu_cores_used == pytest.approx(1.5)
    assert found.involuntary_switches_per_s == pytest.approx(50)
    assert (found.load, found.cores, found.rss_max_bytes) == (5.0, 2, 3 * GB)
    assert found.major_faults_per_s is None


def test_host_leaves_out_what_came_before_and_after_the_steps() -> None:
    delays_s = [0.0, 0.9, 1.0, 1.1, 4.0]  # workers start before the second, a trace is packed last
    samples = [
        HostSample(t_ns=t * GB, run_delay_us=delay * 1e6, load=float(t))
        for t, delay in enumerate(delays_s)
    ]
    found = host(records(*samples))
    assert found is not None
    assert found.run_delay_share == pytest.approx(0.1)
    assert (found.duration_us, found.samples, found.load) == (2e6, 5, 2.0)
    short = host(records(*samples[:2], HostSample(t_ns=2 * GB, run_delay_us=1.4e6)))
    assert short is not None
    assert short.run_delay_share == pytest.approx(0.5)


def test_host_says_nothing_of_an_instant() -> None:
    one = HostSample(t_ns=0, run_delay_us=1.0)
    assert host(records(one)) is None
    assert host(records(one, HostSample(t_ns=1000, run_delay_us=2.0))) is None


HUNDRED_STEPS = StepTimes(first=0, start_ns=0, wall_us=[1e5] * 100, data_us=[0.0] * 100)


def write(at_s: float = 1.0, **more: Any) -> CheckpointWrite:
    usual: dict[str, Any] = {"dur_us": 2e6, "blocking_us": 5e5, "call": "torch.save"}
    return CheckpointWrite(start_ns=round(at_s * 1e9), **(usual | more))


def test_checkpoints_are_spread_over_all_steps() -> None:
    found = checkpoints(
        records(HUNDRED_STEPS, write(bytes=4 * GB), write(), write(bytes=GB, unfinished=True)), 100
    )
    assert found is not None
    assert (found.count, found.mean_us, found.blocking_mean_us) == (3, 2e6, 5e5)
    assert found.count_in_steps == 3
    assert found.blocking_us_per_step == pytest.approx(15_000)
    assert found.bytes_per_s == pytest.approx(2 * GB)
    assert found.calls == ["torch.save"]
    unknown = checkpoints(records(write()), 0)
    assert unknown is not None
    assert (unknown.blocking_us_per_step, unknown.bytes_per_s) == (None, None)
    assert unknown.count_in_steps is None


def test_checkpoints_before_and_after_the_steps_hold_none_up() -> None:
    outside = [write(-3.0), write(10.0), write(60.0)]  # steps take from 0 to 10 s
    found = checkpoints(records(HUNDRED_STEPS, *outside), 100)
    assert found is not None
    assert (found.count, found.count_in_steps, found.blocking_us_per_step) == (3, 0, 0.0)
    last = checkpoints(records(HUNDRED_STEPS, *outside, write(9.9)), 100)
    assert last is not None
    assert last.count_in_steps == 1
    assert last.blocking_us_per_step == pytest.approx(1000)


def test_checkpoints_between_blocks_of_steps_count() -> None:
    blocks = [
        StepTimes(first=0, start_ns=0, wall_us=[1e6] * 5, data_us=[0.0] * 5),
        StepTimes(first=5, start_ns=9 * GB, wall_us=[1e6] * 5, data_us=[0.0] * 5),
    ]
    found = checkpoints(records(*blocks, write(6.0)), 10)
    assert found is not None
    assert found.count_in_steps == 1
    assert found.blocking_us_per_step == pytest.approx(50_000)


def test_collections_are_spread_over_all_steps() -> None:
    pauses = [Collection(start_ns=0, dur_us=100.0, generation=g) for g in (0, 0, 1, 2)]
    found = collections(records(TEN_STEPS, *pauses), 10)
    assert found is not None
    assert (found.count, found.full_count, found.total_us) == (4, 1, 400.0)
    assert (found.us_per_step, found.count_per_step) == (40.0, 0.4)


def test_collections_outside_of_steps_hold_none_up() -> None:
    start_up = Collection(start_ns=-5_000_000, dur_us=900.0, generation=2)
    after = Collection(start_ns=10_000_000, dur_us=900.0, generation=2)
    assert collections(records(TEN_STEPS, start_up, after), 10) is None
    across = Collection(start_ns=9_900_000, dur_us=900.0, generation=2)
    found = collections(records(TEN_STEPS, start_up, across, after), 10)
    assert found is not None
    assert (found.count, found.total_us, found.longest_us) == (1, 100.0, 100.0)


TEN_STEPS = StepTimes(first=0, start_ns=0, wall_us=[1000.0] * 10, data_us=[0.0] * 10)


def held(step: int, allocated: int, **more: Any) -> MemoryStep:
    return MemoryStep(
        step=step, allocated_bytes=allocated, reserved_bytes=8 * GB,
        peak_allocated_bytes=allocated + GB, **more,
    )  # fmt: skip


def test_memory_that_creeps_shows_through_noise_and_outliers() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(-5_000_000, 5_000_000, 1000).tolist()
    steps = [held(i, 2 * GB + 1_000_000 * i + noise[i]) for i in range(1000)]
    steps[700] = held(700, 7 * GB, retries=2, peak_by_phase_bytes={"backward": 9 * GB})
    found = memory(records(*steps))
    assert found is not None
    assert found.creep_bytes_per_step == pytest.approx(1_000_000, rel=0.02)
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (8 * GB, 8 * GB)
    assert (found.retries, found.ooms) == (2, None)
    assert found.peak_by_phase_bytes == {"backward": 9 * GB}


def test_steady_memory_does_not_creep() -> None:
    grown = [held(i, min(i, 30) * 10**8) for i in range(400)]  # what the first steps allocate
    found = memory(records(*grown))
    assert found is not None
    assert found.creep_bytes_per_step == 0
    few = memory(records(*grown[:10]))
    assert few is not None
    assert few.creep_bytes_per_step is None


def test_nothing_recorded_is_nothing_said(tmp_path: Path) -> None:
    found = analyze(write_capture(tmp_path / "run"))
    run = found.run
    assert run is not None
    assert (run.steps, run.loaders, run.file_systems, run.checkpoints) == (None, [], [], None)
    assert (run.gpus, run.cpu, run.gc, found.memory) == ([], None, None, None)


def test_the_diagnosis_holds_the_run_and_survives_json(tmp_path: Path) -> None:
    place = FileSystem(role="dataset", path="/data", kind="lustre", mount="/data", source="m@tcp")
    later = msgspec.structs.replace(place, files=12)
    run = write_capture(
        tmp_path / "run",
        [step_times([12_000.0] * 30, 500.0), info(), *WAITS, *map(made, range(STEPS)), place,
         later, held(3, GB), GpuFault(t_ns=1, device=0, xid=48)],
        collectors=[Sight(collector="nvml", active=False, missing=["No GPU: run it on one."])],
    )  # fmt: skip
    found = analyze(run)
    assert Diagnosis.from_json(found.to_json()) == found
    assert found.source.format == "capture"
    assert found.source.path.endswith("window18.pt.trace.json.gz")
    assert found.run is not None
    assert (found.run.window.number, found.run.window.count) == (1, 1)
    assert (found.run.window.first_step, found.run.window.reason) == (18, "schedule")
    assert [place.files for place in found.run.file_systems] == [12]
    assert found.run.missing == ["No GPU: run it on one."]
    assert (found.run.script, found.run.host, found.run.ended) == ("train.py", "node1", "finished")
    assert found.memory is not None


def test_notes_say_what_the_breakdown_cannot_show(tmp_path: Path) -> None:
    times = [
        step_times([10_000.0] * 18, 4000.0),
        step_times([15_000.0] * 10, 100.0, first=18, profiled=True),
    ]
    found = analyze(write_capture(tmp_path / "run", times, ended=None, ended_ns=None))
    said = " ".join(found.fidelity.notes)
    assert "The run left no end" in said
    assert "steps wait 40 % of their time for data, in this window 1 %" in said
    alike = analyze(write_capture(tmp_path / "alike", [*times[:1], step_times(
        [15_000.0] * 10, 5800.0, first=18, profiled=True)]))  # fmt: skip
    assert not any("Without the profiler" in note for note in alike.fidelity.notes)
