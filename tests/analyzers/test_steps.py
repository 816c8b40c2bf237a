"""Steps from marks, from optimizers, from kernels that repeat; what is left out of the means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.outliers import outliers
from perfkit.analyzers.repeats import repeats
from perfkit.model.cause import CODE, Cause
from perfkit.model.trace import Damage
from tests.analyzers.programs import Action, Event, host, recorded, trace_of

KERNEL = Action("kernel", host=5.0, gpu=20.0)
WAIT = Action("sync", host=1.0)


def without_marks(events: list[Event]) -> list[Event]:
    return [e for e in events if not e["name"].startswith("ProfilerStep")]


def test_windows_run_from_mark_to_mark_and_the_last_to_its_last_kernel() -> None:
    events = recorded([[KERNEL] * 3] * 2)
    facts = facts_of(trace_of(events))
    marks = sorted(e["ts"] for e in events if e["name"].startswith("ProfilerStep"))
    kernels = max(e["ts"] + e["dur"] for e in events if e["cat"] == "kernel")
    assert (facts.windows.start / 1000).tolist() == marks
    assert (facts.windows.end / 1000).tolist() == [marks[1], kernels]
    assert facts.windows.marker == "ProfilerStep"
    assert facts.windows.note is None


def test_a_last_mark_that_stays_open_is_said() -> None:
    """The time after its last kernel may be a step's own, such as a checkpoint, or none's."""
    events = recorded([[KERNEL] * 3] * 2)
    last = next(e for e in events if e["name"] == "ProfilerStep#1")
    kernels = max(e["ts"] + e["dur"] for e in events if e["cat"] == "kernel")
    last["dur"] = kernels - last["ts"] + 5_000
    note = facts_of(trace_of(events)).windows.note
    assert note is not None
    assert "open for 5.0 ms after its last GPU operation" in note


def test_a_hole_between_recorded_steps_belongs_to_no_step() -> None:
    events = recorded([[KERNEL] * 3 + [Action("sync", 1.0)]] * 3)
    late = [
        {**e, "ts": e["ts"] + 10_000, "name": e["name"].replace("Step#2", "Step#90")}
        if e["ts"] >= next(x["ts"] for x in events if x["name"] == "ProfilerStep#2")
        else e
        for e in events
    ]
    facts = facts_of(trace_of(late))
    assert len(facts.windows) == 3
    assert (facts.times.wall < 1_000_000).all()


def test_steps_from_the_optimizer() -> None:
    events = without_marks(recorded([[KERNEL] * 3] * 5))
    ends = [1000.0 + 60 * i for i in range(1, 5)]
    marks = [host("Optimizer.step#AdamW.step", t - 5, 5.0, "user_annotation") for t in ends]
    facts = facts_of(trace_of([*events, *marks]))
    assert facts.windows.marker == "detected"
    assert (facts.windows.start / 1000).tolist() == ends[:-1]
    assert facts.windows.note is not None
    assert "optimizer" in facts.windows.note


def renamed(events: list[Event], name: str) -> list[Event]:
    """The marks as ranges of the program; `#` in their name is the step's number."""
    number = re.compile(r"^ProfilerStep#(\d+)$")
    return [{**e, "name": number.sub(name.replace("#", r"\1"), e["name"])} for e in events]


def uneven(lengths: list[int]) -> list[Event]:
    return recorded([[KERNEL] * n + [WAIT] for n in lengths])


@pytest.mark.parametrize(
    "name",
    [
        "train_step",
        "step_#",
        "iteration #",
        "execute_diffusion_1_64x64",
        "[pl][profile]x.predict_step",
    ],
)
def test_steps_from_the_programs_own_ranges(name: str) -> None:
    """Uneven as in reinforcement learning or serving: nothing repeats."""
    events = uneven([3, 40, 5, 17, 9])
    facts = facts_of(trace_of(renamed(events, name)))
    assert facts.windows.marker == "detected"
    assert facts.windows.start.tolist() == facts_of(trace_of(events)).windows.start.tolist()
    assert facts.windows.note is not None
    assert name.replace("#", "N").replace("1_64x64", "N_NxN") in facts.windows.note


def test_a_part_of_each_iteration_marks_it_too() -> None:
    """Here the forward pass; the kernels behind it are the iteration's."""
    events = renamed(recorded([[KERNEL] * 6 + [WAIT]] * 5), "forward")
    for event in events:
        if event["name"] == "forward":
            event["dur"] /= 3
    facts = facts_of(trace_of(events))
    assert len(facts.windows) == 5
    assert facts.windows.marker == "detected"


def test_steps_of_a_cpu_from_the_programs_own_ranges() -> None:
    events = [e for e in uneven([3, 40, 5, 17, 9]) if e["cat"] in ("cpu_op", "user_annotation")]
    windows = facts_of(trace_of(renamed(events, "train_step"))).windows
    assert windows.start.tolist() == facts_of(trace_of(events)).windows.start.tolist()


def test_a_range_around_a_part_of_each_denoising_step() -> None:
    """As around the scheduler's step; the encoder before and the decoder behind run once."""
    events = renamed(uneven([9] * 6), "denoise_step_#")
    for event in events:
        if event["name"].startswith("denoise_step"):
            event["dur"] /= 5
    kernels = [e for e in events if e["cat"] == "kernel"]
    for i, kernel in enumerate([*kernels[:4], *kernels[-4:]]):
        kernel["name"] = f"once{i}"
    assert len(facts_of(trace_of(events)).windows) == 6


@pytest.mark.parametrize("name", ["encoder", "layer step #"])
def test_ranges_of_layers_are_no_steps(name: str) -> None:
    """One pass: what is before and after its layers runs once."""
    events = renamed(recorded([[KERNEL] * 3] * 8), name)
    kernels = [e for e in events if e["cat"] == "kernel"]
    for i, kernel in enumerate([*kernels[:2], *kernels[-2:]]):
        kernel["name"] = f"once{i}"
    assert facts_of(trace_of(events)).windows.marker == "none"


def test_ranges_that_overlap_are_no_steps() -> None:
    events = renamed(recorded([[KERNEL] * 3] * 5), "train_step")
    for event in events:
        if event["name"] == "train_step":
            event["dur"] += 20
    note = facts_of(trace_of(events)).windows.note
    assert note is not None
    assert "own ranges" not in note


def test_a_sequence_that_repeats_gives_its_period() -> None:
    names = np.array([1, 2, 3, 3, 4] * 6, dtype=np.int32)
    times = np.arange(30, dtype=np.int64) * 10 + np.repeat(np.arange(6), 5) * 1000
    found = repeats(names, times)
    assert found is not None
    assert np.diff(found).tolist() == [1050] * 5


def test_a_copy_in_each_step_tells_where_its_kernels_do_not() -> None:
    """Each kernel runs several times a step."""
    events = without_marks(recorded([[Action("copy", 5.0, 9.0)] + [KERNEL] * 8] * 5))
    for i, kernel in enumerate(e for e in events if e["cat"] == "kernel"):
        kernel["name"] = "aababbab"[i % 8]
    facts = facts_of(trace_of(events))
    assert (facts.windows.marker, len(facts.windows)) == ("detected", 4)
    assert facts.windows.note is not None
    assert "kernels and copies" in facts.windows.note


def test_layers_of_one_pass_are_no_steps() -> None:
    names = np.array([90, 91, 92] + [1, 2, 3, 4] * 12 + [93, 94, 95], dtype=np.int32)
    assert repeats(names, np.arange(len(names), dtype=np.int64)) is None


def test_nothing_repeats_in_noise() -> None:
    names = np.random.default_rng(0).integers(0, 20, 400).astype(np.int32)
    assert repeats(names, np.arange(400, dtype=np.int64)) is None


def test_two_repetitions_are_a_coincidence() -> None:
    names = np.array([1, 2, 3, 4] * 2, dtype=np.int32)
    assert repeats(names, np.arange(8, dtype=np.int64)) is None


def test_one_window_without_anything_to_go_by() -> None:
    events = without_marks(recorded([[KERNEL, Action("copy", 5.0, 7.0)]]))
    facts = facts_of(trace_of(events))
    assert facts.windows.marker == "none"
    assert facts.windows.labels == ("whole recording",)


def test_a_slow_first_step_is_left_out_and_said() -> None:
    steps = [[Action("python", 100.0)] * 30 + [KERNEL], *([[KERNEL] * 3] * 6)]
    facts = facts_of(trace_of(recorded(steps)))
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#0"]
    assert "first" in facts.windows.excluded[0].reason
    assert facts.counted.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_first_step_that_pays_for_waits_before_it_is_left_out_and_said() -> None:
    """Those of a warm-up, in which cuDNN tries its algorithms."""
    usual = [replace(KERNEL, host=50.0)] * 3
    long, short = (
        facts_of(trace_of(ending_in_optimizers([[Action("kernel", 5.0, gpu), WAIT], *[usual] * 5])))
        for gpu in (400.0, 4.0)
    )
    assert [entry.step for entry in long.windows.excluded] == ["step 1"]
    assert "before it" in long.windows.excluded[0].reason
    assert not short.windows.excluded


def test_a_first_step_that_waits_like_the_others_is_counted() -> None:
    usual = [*[replace(KERNEL, host=50.0)] * 3, Action("kernel", 5.0, 400.0), WAIT]
    facts = facts_of(trace_of(ending_in_optimizers([usual] * 6)))
    assert facts.times.idle[0, CODE[Cause.SYNC]] > 0.1 * facts.times.wall[0]
    assert not facts.windows.excluded


def ending_in_optimizers(steps: list[list[Action]]) -> list[Event]:
    events = recorded(steps)
    ends = [e["ts"] + e["dur"] for e in events if e["name"].startswith("ProfilerStep")]
    marks = [host("Optimizer.step#AdamW.step", end - 1, 1.0, "user_annotation") for end in ends]
    return [*without_marks(events), *marks]


def test_a_step_with_a_validation_in_it_is_left_out_and_said() -> None:
    events = recorded([[KERNEL] * 10] * 6)
    mark = next(e for e in events if e["name"] == "ProfilerStep#2")
    at = mark["ts"] + mark["dur"] - 5
    events.append(host("perfkit::validation", at, 4, "user_annotation"))
    events.append(host("perfkit::validation_of_mine", at - 1000, 4, "user_annotation"))
    facts = facts_of(trace_of(events))
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#2"]
    assert "validation" in facts.windows.excluded[0].reason


def test_a_cut_last_step_is_left_out_and_said() -> None:
    facts = facts_of(trace_of(recorded([*([[KERNEL] * 10] * 5), [KERNEL] * 2])))
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#5"]


def cut(events: list[Event], lost: Callable[[float], bool]) -> Facts:
    """A file that ends too early: without the calls of lost times, in steps, and their kernels."""
    marks = sorted(e["ts"] for e in events if e["name"].startswith("ProfilerStep#"))
    length = marks[1] - marks[0]
    gone = {
        e["args"]["correlation"]
        for e in events
        if e["cat"] == "cuda_runtime" and lost((e["ts"] - marks[0]) / length)
    }
    kept = [e for e in events if e.get("args", {}).get("correlation") not in gone]
    trace = trace_of(kept)
    return facts_of(replace(trace, info=replace(trace.info, damage=Damage(truncated=True))))


def test_steps_whose_records_a_cut_file_lacks_are_left_out_wherever_they_are() -> None:
    events = recorded([[KERNEL] * 10] * 4)
    whole, middle = cut(events, lambda at: False), cut(events, lambda at: 1 <= at < 2)
    assert not whole.windows.excluded
    assert [entry.step for entry in middle.windows.excluded] == ["ProfilerStep#1"]
    assert "the file is cut" in middle.windows.excluded[0].reason
    assert "ProfilerStep#1" in [e.step for e in cut(events, lambda at: at >= 1.5).windows.excluded]


def test_where_a_cut_file_lacks_calls_the_host_is_not_blamed() -> None:
    events = recorded([[replace(KERNEL, host=90.0)] * 10] * 2)
    whole, rest = cut(events, lambda at: False), cut(events, lambda at: not 0.7 <= at < 1.3)
    unseen, dispatch = (
        [int(facts.times.idle[:, CODE[cause]].sum()) for facts in (whole, rest)]
        for cause in (Cause.UNOBSERVED, Cause.DISPATCH)
    )
    assert unseen[0] < 0.1 * dispatch[0]  # before the first call
    assert unseen[1] > 0.5 * dispatch[0]
    assert 0 < dispatch[1] < 0.4 * dispatch[0]


def test_where_no_step_of_a_cut_file_is_whole_none_is_called_so() -> None:
    facts = cut(recorded([[KERNEL] * 10] * 4), lambda at: at >= 0.5)
    assert not facts.windows.excluded and facts.mean_over == 4


def test_a_cut_file_without_calls_keeps_other_reasons_to_leave_steps_out() -> None:
    events = recorded([[replace(KERNEL, host=90.0)] * 10, *([[KERNEL] * 10] * 4)])
    facts = cut(events, lambda at: True)
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#0"]
    assert "is the first" in facts.windows.excluded[0].reason


def test_steps_that_start_the_driver_are_left_out() -> None:
    events = recorded([[KERNEL] * 4] * 3)
    first = min(e["ts"] for e in events if e["name"] == "ProfilerStep#0")
    events = [{**e, "ts": e["ts"] + 30_000} if e["ts"] > first else e for e in events]
    events = [
        {**e, "ts": first, "dur": e["dur"] + 30_000} if e["name"] == "ProfilerStep#0" else e
        for e in events
    ]
    events.append(host("cudaDeviceGetStreamPriorityRange", first + 1, 29_000, "cuda_runtime"))
    facts = facts_of(trace_of(events))
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#0"]
    assert "start-up" in facts.windows.excluded[0].reason


def test_every_fourth_step_is_slow_with_its_cause_and_period() -> None:
    slow = [Action("loader", 900.0), KERNEL]
    facts = facts_of(trace_of(recorded([slow if i % 4 == 3 else [KERNEL] * 2 for i in range(17)])))
    found = outliers(facts)
    assert found is not None
    assert found.period == 4
    assert found.cause == "dataloader"
    assert [o.step for o in found.steps] == [f"ProfilerStep#{i}" for i in (3, 7, 11, 15)]


def test_even_steps_have_no_outliers() -> None:
    assert outliers(facts_of(trace_of(recorded([[KERNEL] * 3] * 12)))) is None


def test_two_optimizers_make_one_iteration() -> None:
    events = without_marks(recorded([[KERNEL] * 2, [KERNEL] * 6] * 5))
    starts = sorted(e["ts"] for e in events if e["name"] == "aten::op")
    sizes = [2, 6] * 5
    ends = [starts[sum(sizes[: i + 1]) - 1] + 12 for i in range(10)]
    marks = [host("Optimizer.step#Adam.step", t - 2, 2.0, "user_annotation") for t in ends]
    facts = facts_of(trace_of([*events, *marks]))
    assert (facts.windows.start / 1000).tolist() == ends[1:-1:2]


def test_a_stub_behind_a_single_step_is_left_out() -> None:
    facts = facts_of(trace_of(recorded([[KERNEL] * 10, [KERNEL]])))
    assert [entry.step for entry in facts.windows.excluded] == ["ProfilerStep#1"]


def test_marks_that_run_ahead_of_the_gpu_make_no_outliers() -> None:
    quick = [Action("kernel", host=5.0, gpu=200.0)] * 4
    waits = [*quick, Action("sync", 1.0)]
    steps = [waits if i % 5 == 4 else quick for i in range(25)]
    facts = facts_of(trace_of(recorded(steps)))
    wall = facts.times.wall
    assert wall.max() > 2 * np.median(wall)  # by the host's marks, some steps look slow
    assert outliers(facts) is None


def test_windows_never_overlap_even_when_a_queue_outlasts_a_hole() -> None:
    events = recorded([[Action("kernel", host=5.0, gpu=400.0)] * 3] * 3)
    events = [{**e, "name": e["name"].replace("Step#2", "Step#90")} for e in events]
    facts = facts_of(trace_of(events))
    assert (facts.windows.end[:-1] <= facts.windows.start[1:]).all()
    times = facts.times
    parts = times.compute + times.communication + times.copy + times.idle.sum(axis=1)
    assert (parts == times.wall).all()
