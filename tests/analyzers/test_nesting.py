"""Paths of modules and ranges around a moment, against a search through all events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.analyzers.diagnose import diagnose
from perfkit.analyzers.nesting import modules, ranges
from tests.analyzers.programs import Action, Event, recorded, trace_of

KERNEL = Action("kernel", host=5.0, gpu=2.0)


def event(name: str, ts: float, dur: float, cat: str = "python_function", tid: int = 9) -> Event:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 9, "tid": tid,
            "args": {}}  # fmt: skip


def module(name: str, ts: float, dur: float, tid: int = 9) -> Event:
    return event(f"nn.Module: {name}", ts, dur, tid=tid)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def path_at(events: list[Event], us: float) -> str | None:
    """The path at a moment of the first thread."""
    found = modules(trace_of(events))
    return found.most(ints(0), ints(round(us * 1000)), ints(1))


NET = [
    module("Net_0", 0, 100),
    module("Block_0", 10, 30),
    module("Linear_0", 12, 8),
    module("Block_1", 50, 30),
    module("Linear_1", 60, 5),
    event("model.py(12): forward", 0, 100),
]


@pytest.mark.parametrize(
    ("us", "path"),
    [
        (5, "Net"), (15, "Net > Block > Linear"), (20, "Net > Block"), (45, "Net"),
        (62, "Net > Block > Linear"), (99.999, "Net"), (100, None),
    ],
)  # fmt: skip
def test_the_innermost_module_with_all_around_it(us: float, path: str | None) -> None:
    assert path_at(NET, us) == path


def test_instances_of_a_class_count_together() -> None:
    found = modules(trace_of(NET))
    assert found.most(ints(0, 0), ints(13_000, 61_000), ints(1, 1)) == "Net > Block > Linear"


def test_the_longest_path_that_holds_more_than_half() -> None:
    found = modules(trace_of(NET))
    moments = ints(13_000, 20_000, 5_000)
    assert found.most(ints(0, 0, 0), moments, ints(40, 30, 30)) == "Net > Block"
    assert found.most(ints(0, 0, 0), moments, ints(60, 20, 20)) == "Net > Block > Linear"
    assert found.most(ints(0, 0, 0), moments, ints(20, 10, 70)) == "Net"


def test_moments_outside_of_all_modules_count_against() -> None:
    found = modules(trace_of(NET))
    assert found.most(ints(0, 0), ints(13_000, 500_000), ints(40, 60)) is None


def test_other_threads_have_other_modules() -> None:
    events = [*NET, module("Loss_0", 0, 100, tid=10)]
    trace = trace_of(events)
    lanes = {lane.tid: i for i, lane in enumerate(trace.lanes)}
    found = modules(trace)
    assert found.most(ints(lanes["10"]), ints(15_000), ints(1)) == "Loss"
    assert found.most(ints(lanes["9"]), ints(15_000), ints(1)) == "Net > Block > Linear"
    assert found.most(ints(-1), ints(15_000), ints(1)) is None


def test_a_trace_without_modules_has_none() -> None:
    trace = trace_of(recorded([[KERNEL] * 3] * 3))
    assert modules(trace).of == {}
    assert ranges(trace).of == {}


def test_ranges_are_the_programs_own() -> None:
    own = event("Forward > pass", 0, 100, "user_annotation")
    inner = event("Attention", 10, 20, "user_annotation")
    others = [event(name, 0, 100, "user_annotation") for name in
              ("ProfilerStep#3", "Optimizer.step#SGD.step", "nccl:all_reduce", "perfkit::forward",
               "FSDP::pre_forward (layers.3)", "execute_new_1_cached_2")]  # fmt: skip
    found = ranges(trace_of([own, inner, *others]))
    assert found.most(ints(0), ints(15_000), ints(1)) == "Forward > pass > Attention"


def test_an_endless_path_keeps_its_inner_parts() -> None:
    deep = [module(f"M{i}", i, 100 - 2 * i) for i in range(20)]
    path = path_at(deep, 50)
    assert path is not None
    assert path.split(" > ") == [f"M{i}" for i in range(12, 20)]


_nested = st.recursive(
    st.just(()), lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=3),
    max_leaves=12,
)  # fmt: skip


def laid_out(tree: object, start: float) -> tuple[list[Event], float]:
    """Events of a tree of calls, each a microsecond longer on both sides than what it calls."""
    events: list[Event] = []
    for name, inner in tree:  # type: ignore[attr-defined]
        called, end = laid_out(inner, start + 1)
        events += [module(f"{name}_{len(events)}", start, end + 1 - start), *called]
        start = end + 1.5
    return events, start


@settings(deadline=None)
@given(_nested)
def test_as_a_search_through_all_events_finds(tree: object) -> None:
    events, end = laid_out(tree, 1.0)
    found = modules(trace_of([*events, event("x", 0, 1, "cpu_op")]))
    for us in np.arange(0.25, end + 1, 0.5).tolist():
        around = [e for e in events if e["ts"] <= us < e["ts"] + e["dur"]]
        names = [e["name"][11] for e in sorted(around, key=lambda e: -e["dur"])]
        path = found.most(ints(0), ints(round(us * 1000)), ints(1))
        assert path == (" > ".join(names[-8:]) or None)


def test_places_of_a_diagnosis_have_their_module_and_range() -> None:
    events = recorded([[KERNEL] * 10] * 4)
    begin, end = events[0]["ts"] - 50, max(e["ts"] + e["dur"] for e in events)
    outer = module("Net_0", begin, end - begin)
    own = event("train", begin, end - begin, "user_annotation")
    found = diagnose(trace_of([*events, outer, own]))
    assert found.places
    assert {(place.module, place.range) for place in found.places} == {("Net", "train")}
    bare = diagnose(trace_of(events))
    assert {(place.module, place.range) for place in bare.places} == {(None, None)}
    assert [place.idle_us for place in bare.places] == [place.idle_us for place in found.places]
