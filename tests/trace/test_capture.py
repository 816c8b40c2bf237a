"""Reading a Capture, whole and in every state that a run can leave it in."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from perfkit.errors import PerfkitError
from perfkit.model.capture import (
    CheckpointWrite,
    Collection,
    HostSample,
    Schedule,
    Sight,
    StepTimes,
    Window,
)
from perfkit.model.trace import Trace
from perfkit.trace import open_trace
from perfkit.trace.capture import open_capture
from perfkit.trace.capture_records import read_records
from tests.captures import (
    HEALTHY,
    MS,
    START_NS,
    TRACE,
    cpu_trace,
    operators,
    rank_file,
    step_times,
    write_capture,
    write_rank,
)

STEPS = step_times([12_000.0] * 15)


def said(error: pytest.ExceptionInfo[PerfkitError]) -> str:
    """The message, which must be one sentence."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def names(trace: Trace) -> list[str]:
    return [trace.names[i] for i in trace.name.tolist()]


def test_a_capture_opens_as_the_trace_of_its_window(tmp_path: Path) -> None:
    trace = open_trace(write_capture(tmp_path / "run", world_size=4))
    assert trace.info.source.endswith(f"rank0/{TRACE}")
    assert (trace.info.rank, trace.info.world_size) == (0, 4)
    assert sum(name.startswith("ProfilerStep#") for name in names(trace)) == 10


def test_the_rank_folder_itself_is_the_capture_too(tmp_path: Path) -> None:
    run = write_capture(tmp_path / "run", [STEPS])
    whole, part = open_capture(str(run)), open_capture(str(run / "rank0"))
    assert (part.rank, part.records.of(StepTimes)) == (0, [STEPS])
    assert part.manifest == whole.manifest
    moved = shutil.copytree(run / "rank0", tmp_path / "from the cluster")
    assert open_capture(str(moved)).records.of(StepTimes) == [STEPS]


def many_windows(run: Path, *steps: int) -> Path:
    windows = [
        Window(file=f"w{i}.json", first_step=100 * i, steps=count, reason="slow-step")
        for i, count in enumerate(steps)
    ]
    traces = {w.file: cpu_trace([operators(1)] * w.steps) for w in windows}
    write_rank(run, rank_file(windows=windows), traces=traces)
    return run


@pytest.mark.parametrize(
    ("steps", "chosen"), [((4, 9, 2), 2), ((4, 4), 2), ((5, 3, 5), 3), ((1,), 1)]
)
def test_the_window_with_most_steps_is_read_the_last_of_equals(
    tmp_path: Path, steps: tuple[int, ...], chosen: int
) -> None:
    capture = open_capture(str(many_windows(tmp_path, *steps)))
    assert (capture.number, capture.windows) == (chosen, len(steps))
    assert capture.recording.reason == "slow-step"


def test_another_window_can_be_chosen(tmp_path: Path) -> None:
    run = many_windows(tmp_path, 4, 9, 2)
    assert open_capture(str(run), window=3).recording.file.name == "w2.json"
    for wanted in (0, 4):
        with pytest.raises(PerfkitError) as error:
            open_capture(str(run), window=wanted)
        assert "choose 1 to 3" in said(error)


def test_the_lowest_rank_that_was_profiled_is_read(tmp_path: Path) -> None:
    write_rank(tmp_path, rank_file(rank=0, windows=[]), traces={})
    for rank in (2, 10):
        write_rank(tmp_path, rank_file(rank=rank))
    capture = open_capture(str(tmp_path))
    assert (capture.rank, capture.ranks) == (2, (0, 2, 10))
    assert open_capture(str(tmp_path), rank=10).rank == 10
    with pytest.raises(PerfkitError) as error:
        open_capture(str(tmp_path), rank=0)
    assert "pass --rank with one of 2, 10" in said(error)
    with pytest.raises(PerfkitError) as error:
        open_capture(str(tmp_path), rank=7)
    assert "There is no rank 7" in said(error)


def test_a_window_whose_file_is_gone_does_not_count(tmp_path: Path) -> None:
    windows = [Window(file=TRACE, first_step=5, steps=3), Window(file="x", first_step=9, steps=99),
               Window(file="../../etc/passwd", first_step=9, steps=100)]  # fmt: skip
    run = write_capture(tmp_path / "run", windows=windows)
    assert open_capture(str(run)).recording.file.name == TRACE


def test_what_a_killed_run_leaves_is_read(tmp_path: Path) -> None:
    """No rank.json, no capture.json, a cut line, files that were being written."""
    folder = write_rank(tmp_path, None, [STEPS])
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"type":"steps","first":15,"sta')
    (folder / ".window40.77.json").write_text("half")
    (folder / ".rank.json.77").write_text("{")
    (folder / "x.jsonl.partial").write_text('{"type":"steps"}\n')
    (folder / ".more.jsonl").write_text('{"type":"steps"}\n')
    (folder / "empty.jsonl").touch()
    (folder / "notes.json").write_text("{}")
    capture = open_capture(str(tmp_path))
    assert capture.recording.file.name == TRACE
    assert (capture.recording.first_step, capture.recording.steps) == (18, None)
    assert capture.records.of(StepTimes) == [STEPS]
    assert (capture.records.broken, capture.records.newer) == (0, 0)
    assert any("no readable rank.json" in note for note in capture.notes)


@pytest.mark.parametrize(
    ("ended", "note"),
    [(None, "left no end"), ("exception", "by an exception"), ("signal", "by a signal")],
)
def test_how_the_run_ended_is_said(tmp_path: Path, ended: str | None, note: str) -> None:
    run = write_capture(tmp_path / "run", ended=ended, ended_ns=None)
    assert any(note in line for line in open_capture(str(run)).notes)


def test_a_finished_run_needs_no_notes(tmp_path: Path) -> None:
    assert open_capture(str(write_capture(tmp_path / "run", [STEPS]))).notes == ()


def test_records_of_a_newer_perfkit_are_counted_and_skipped(tmp_path: Path) -> None:
    lines = [
        b'{"type":"quantum","t_ns":1}',  # a kind to come
        b'{"type":"steps","first":0}',  # fields are missing
        b"\xff\xfe not text",
        b"[1, 2]",
        b"",
        b"\0" * 50,
        json.dumps({**msgspec.to_builtins(STEPS), "colour": "red"}).encode(),  # a field to come
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    records = read_records(tmp_path)
    assert (records.newer, records.broken) == (1, 3)
    assert records.of(StepTimes) == [STEPS]


def test_records_cut_anywhere_lose_only_the_last(tmp_path: Path) -> None:
    whole = b"".join(msgspec.json.encode(STEPS) + b"\n" for _ in range(3))
    path, length = tmp_path / "steps.jsonl", len(whole) // 3
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        records = read_records(tmp_path)
        assert len(records.of(StepTimes)) in (size // length, (size + 1) // length)
        assert (records.newer, records.broken) == (0, 0)


SHORT = step_times([1000.0] * 4)
NO_WINDOW = [
    ({}, [SHORT], "The run ended after 4 steps and profiling starts after 18"),
    ({}, [], "no step of it was seen"),
    ({"ended_ns": None, "ended": None}, [SHORT], "has taken 4 steps and profiling starts after 18"),
    ({}, [step_times([1000.0])], "The run ended after 1 step and"),
    ({"schedule": Schedule(wait=0, warmup=0)}, [SHORT], "see what it logged"),
    ({"schedule": Schedule(wait=0, warmup=1), "ended_ns": None}, [SHORT], "wait if it still runs"),
    (
        {
            "schedule": Schedule(wait=1, warmup=1),
            "collectors": [
                Sight(collector="torch profiler", active=False, missing=["Install torch."])
            ],
        },
        [SHORT],
        "after 4 steps: Install torch",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "records", "message"), NO_WINDOW)
def test_a_run_without_a_window(
    tmp_path: Path, facts: dict[str, object], records: list[StepTimes], message: str
) -> None:
    write_rank(tmp_path, rank_file(**{"windows": [], **facts}), records, traces={})
    with pytest.raises(PerfkitError) as error:
        open_capture(str(tmp_path))
    assert message in said(error)


def test_a_rank_without_anything(tmp_path: Path) -> None:
    (tmp_path / "rank0").mkdir()
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    assert "record the run again" in said(error)


def test_a_folder_of_traces_names_them(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"host_{i}.17{i}.pt.trace.json.gz").touch()
    (tmp_path / "a.json").touch()
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    message = said(error)
    assert "pass one of host_0.170.pt.trace.json.gz, host_1.171.pt.trace.json.gz" in message
    assert "(6 in all)" in message


def test_a_folder_of_captures_names_them_the_latest_first(tmp_path: Path) -> None:
    for i, name in enumerate(("monday", "tuesday", "notes")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (i, i))
    (tmp_path / "tuesday" / "rank0").mkdir()
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    assert said(error).endswith(f"holds Captures and is none: pass {tmp_path / 'tuesday'}.")
    for i in range(6):
        (tmp_path / f"run{i}").mkdir()
        (tmp_path / f"run{i}" / "capture.json").write_text("{}")
        os.utime(tmp_path / f"run{i}", (10**10 + i, 10**10 + i))
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    assert f"one of {tmp_path / 'run5'}, {tmp_path / 'run4'}," in said(error)
    assert "(7 in all)" in said(error)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    assert "without a Capture or a trace" in said(error)
    (tmp_path / "capture.json").write_text("{}")
    with pytest.raises(PerfkitError) as error:
        open_trace(tmp_path)
    assert "holds no rank yet" in said(error)


GC = Collection(start_ns=START_NS + 2 * MS, dur_us=700.0, generation=2)
SAVED = CheckpointWrite(start_ns=START_NS + 5 * MS, dur_us=9000.0, blocking_us=3000.0, call="x")


def test_collections_and_checkpoints_become_events(tmp_path: Path) -> None:
    early = Collection(start_ns=START_NS - 5 * MS, dur_us=900.0, generation=0)
    late = Collection(start_ns=START_NS + 10**10, dur_us=900.0, generation=0)
    run = write_capture(tmp_path / "run", [early, GC, SAVED, late])
    trace = open_trace(run)
    found = {n: (trace.ts[i], trace.dur[i]) for i, n in enumerate(names(trace)) if "::mm" not in n}
    assert found["Python GC"] == (GC.start_ns, 700_000)
    assert found["perfkit::checkpoint"] == (SAVED.start_ns, 3 * MS)
    assert (trace.ts[1:] >= trace.ts[:-1]).all()
    plain = open_trace(run / "rank0" / TRACE)
    assert len(trace) == len(plain) + 2
    assert set(trace.lane.tolist()) == set(plain.lane.tolist())


def test_events_that_the_trace_has_are_not_doubled(tmp_path: Path) -> None:
    step = [*operators(2), ("Python GC", MS), ("perfkit::checkpoint", MS)]
    run = write_capture(tmp_path / "run", [GC, SAVED], cpu_trace([step] * 3))
    trace = open_trace(run)
    assert names(trace).count("Python GC") == 3
    assert names(trace).count("perfkit::checkpoint") == 3


def test_records_without_a_place_in_the_trace_change_nothing(tmp_path: Path) -> None:
    sample = HostSample(t_ns=START_NS, run_delay_us=1.0)
    run = write_capture(tmp_path / "run", [sample], HEALTHY)
    trace = open_trace(run)
    assert len(trace) == len(open_trace(run / "rank0" / TRACE))
