"""What must hold of every breakdown, whatever the program."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.analyzers.diagnose import diagnose
from perfkit.analyzers.facts import Facts, facts_of
from perfkit.model.cause import CAUSES, CODE, Cause
from tests.analyzers.programs import Action, Event, programs, recorded, trace_of

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
Program = list[list[Action]]
quick = settings(max_examples=60, deadline=None)
UNEXPLAINED = [CODE[Cause.UNKNOWN], CODE[Cause.UNOBSERVED]]


def analyzed(events: list[Event]) -> Facts:
    return facts_of(trace_of(events))


def named_idle(facts: Facts) -> int:
    return int(np.delete(facts.times.idle.sum(axis=0), UNEXPLAINED).sum())


def is_gpu(event: Event) -> bool:
    return "stream" in event["args"]


@quick
@given(programs)
def test_parts_sum_to_the_wall_time_to_the_nanosecond(program: Program) -> None:
    times = analyzed(recorded(program)).times
    parts = times.compute + times.communication + times.copy + times.idle.sum(axis=1)
    assert (parts == times.wall).all()


@quick
@given(programs)
def test_idle_pieces_are_disjoint_and_outside_of_gpu_work(program: Program) -> None:
    facts = analyzed(recorded(program))
    pieces = facts.pieces
    assert (pieces.end > pieces.start).all()
    assert (pieces.start[1:] >= pieces.end[:-1]).all()
    assert facts.work.busy.covered(pieces.start, pieces.end).sum() == 0


@quick
@given(programs)
def test_compute_is_within_busy_and_busy_within_wall(program: Program) -> None:
    facts = analyzed(recorded(program))
    start, end = facts.windows.start, facts.windows.end
    busy = facts.work.busy.covered(start, end)
    assert (facts.times.compute <= busy).all()
    assert (busy <= facts.times.wall).all()
    assert (busy + facts.times.idle.sum(axis=1) == facts.times.wall).all()


@quick
@given(programs, st.integers(0, 3000), st.integers(1, 3000))
def test_another_busy_stream_never_raises_idle(program: Program, at: int, dur: int) -> None:
    program = [*program, [Action("kernel", 1.0, 5000.0)]]  # the windows must not move
    events = recorded(program)
    more = {"ph": "X", "cat": "kernel", "name": "other", "pid": 0, "tid": 33, "ts": 1000 + at,
            "dur": dur, "args": {"stream": 33, "device": 0, "correlation": 9999}}  # fmt: skip
    before, after = analyzed(events).times, analyzed([*events, more]).times
    assert (after.idle.sum(axis=1) <= before.idle.sum(axis=1)).all()


@quick
@given(programs)
def test_a_copy_is_never_idle(program: Program) -> None:
    facts = analyzed(recorded(program))
    copies = facts.work.copy
    assert sum(
        int(copies.covered(np.array([a]), np.array([b])).sum())
        for a, b in zip(facts.pieces.start, facts.pieces.end, strict=True)
    ) == 0  # fmt: skip


@quick
@given(programs, st.randoms(use_true_random=False), st.integers(-500, 10**9))
def test_order_time_shift_and_names_of_threads_change_nothing(
    program: Program, rng: random.Random, shift: int
) -> None:
    events = recorded(program)
    moved = [
        {**e, "ts": e["ts"] + shift, **({} if is_gpu(e) else {"pid": 71, "tid": "worker 3"})}
        for e in events
    ]
    rng.shuffle(moved)
    before, after = analyzed(events).times, analyzed(moved).times
    for part in ("wall", "compute", "communication", "copy", "idle"):
        assert (getattr(before, part) == getattr(after, part)).all(), part


@quick
@given(programs, st.data())
def test_removing_gpu_records_only_grows_the_unexplained(
    program: Program, data: st.DataObject
) -> None:
    # On one stream: which of several a lost operation was on, no record tells.
    events = recorded([[replace(action, stream=7) for action in step] for step in program])
    gpu = [i for i, e in enumerate(events) if is_gpu(e)]
    if len(gpu) < 2:
        return
    # The last one stays, since it ends the last window.
    last = max(gpu, key=lambda i: events[i]["ts"] + events[i]["dur"])
    lost = data.draw(st.sets(st.sampled_from([i for i in gpu if i != last] or [last])))
    lost.discard(last)
    kept = [e for i, e in enumerate(events) if i not in lost]
    assert named_idle(analyzed(kept)) <= named_idle(analyzed(events))


@quick
@given(programs, st.data())
def test_removing_launch_records_only_grows_the_unexplained(
    program: Program, data: st.DataObject
) -> None:
    events = recorded(program)
    launches = [i for i, e in enumerate(events) if "correlation" in e["args"] and not is_gpu(e)]
    if not launches:
        return
    lost = data.draw(st.sets(st.sampled_from(launches)))
    kept = [e for i, e in enumerate(events) if i not in lost]
    before, after = analyzed(events), analyzed(kept)
    if (before.windows.edges == after.windows.edges).all():
        assert named_idle(after) <= named_idle(before)


def test_unknown_is_told_even_at_zero() -> None:
    diagnosis = diagnose(trace_of(recorded([[Action("kernel", 10.0, 5.0)] * 3])))
    assert set(diagnosis.idle_us) == {cause.value for cause in CAUSES}
    assert diagnosis.idle_us["unknown"] == 0
