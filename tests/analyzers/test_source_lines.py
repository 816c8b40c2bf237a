"""Lines of the program around a moment: whose they are, how they are written, and where idle is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfkit
from perfkit.analyzers.diagnose import diagnose
from perfkit.analyzers.source_lines import SourceLines
from perfkit.model.diagnosis import Place
from perfkit.reports.advice import advise
from tests.analyzers.programs import Action, Event, Machine, recorded, trace_of
from tests.collectors.training import run
from tests.traces import PUBLIC, needs_public

OPERATOR: Event = {"ph": "X", "cat": "cpu_op", "name": "aten::x", "ts": 0, "dur": 1, "pid": 9,
                   "tid": 9, "args": {}}  # fmt: skip


def frame(name: str, ts: float, dur: float, tid: int = 9) -> Event:
    return {**OPERATOR, "cat": "python_function", "name": name, "ts": ts, "dur": dur, "tid": tid}


def line_at(us: float, *frames: Event) -> str | None:
    """The line of the first thread at a moment."""
    lines = SourceLines(trace_of([OPERATOR, *frames]))
    (found,) = lines.at(np.array([0]), np.array([round(us * 1000)])).tolist()
    return lines.texts[found] if found >= 0 else None


OWN = frame("train.py(12): step", 0, 100)


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("data/sets.py(7): __getitem__", "data/sets.py:7 in __getitem__"),
        ("/home/ann/job/net.py(3): forward", "job/net.py:3 in forward"),
        ("C:\\jobs\\a\\net.py(3): forward", "a/net.py:3 in forward"),
        ("<ipython-input-3-0a1b>(9): fit", "<ipython-input-3-0a1b>:9 in fit"),
        ("profile.py(30): <module>", "profile.py:30 in <module>"),
        ("collection/a.py(1): f", "collection/a.py:1 in f"),
        ("torch/nn/modules/module.py(1520): _call_impl", None),
        ("typing.py(306): inner", None),
        ("multiprocessing/queues.py(97): get", None),
        ("<frozen os>(709): __getitem__", None),
        ("<string>(2): __init__", None),
        ("<built-in method item of Tensor object at 0x7f>", None),
        ("nn.Module: Linear_0", None),
        ("/opt/env/lib/python3.10/site-packages/foo/bar.py(1): f", None),
        ("/usr/lib/python3.11/copy.py(1): f", None),
        ("/tmp/torchinductor_ann/ob/cob.py(132): call", None),
        ("transformers/models/bert/modeling_bert.py(250): forward", None),
        ("perfkit/collectors/ranges.py(41): open_range", None),
        ("Python GC", None),
    ],
)
def test_what_is_not_the_users_own_is_seen_through(inner: str, text: str | None) -> None:
    around = "train.py:12 in step"
    assert line_at(50, OWN, frame(inner, 40, 20)) == (text or around)
    assert line_at(70, OWN, frame(inner, 40, 20)) == around


def test_without_own_code_a_library_and_then_the_innermost_of_all() -> None:
    library = frame("transformers/trainer.py(9): train", 0, 100)
    below = frame("torch/nn/functional.py(5): linear", 10, 50)
    inner = frame("typing.py(1): cast", 20, 10)
    assert line_at(25, library, below, inner) == "transformers/trainer.py:9 in train"
    assert line_at(25, below, inner) == "typing.py:1 in cast"
    assert line_at(40, below, inner) == "torch/nn/functional.py:5 in linear"
    assert line_at(25, frame("perfkit/collectors/guard.py(40): call", 0, 100)) is None
    assert line_at(101, library, below) is None


def test_a_long_interval_is_of_the_line_that_fills_it() -> None:
    lines = SourceLines(trace_of([
        OPERATOR, frame("train.py(1): main", 0, 1000), frame("train.py(9): slow", 150, 800),
    ]))  # fmt: skip
    threads, start, end = np.array([0, 0, 0]), np.array([100, 100, 100]), np.array([999, 201, 180])
    found = lines.most_of(threads, 1000 * start, 1000 * end).tolist()
    assert [lines.texts[i] for i in found] == [
        "train.py:9 in slow", "train.py:9 in slow", "train.py:1 in main",
    ]  # fmt: skip


def test_threads_without_functions_have_no_line() -> None:
    lines = SourceLines(trace_of([OPERATOR, OWN, frame("b.py(1): g", 0, 10, tid=10)]))
    found = lines.at(np.array([0, 1, -1, 5]), np.array([5000] * 4)).tolist()
    assert [lines.texts[i] if i >= 0 else None for i in found] == [
        "train.py:12 in step", "b.py:1 in g", None, None,
    ]  # fmt: skip
    assert SourceLines(trace_of([OPERATOR])).at(np.array([0]), np.array([5])).tolist() == [-1]


_names = st.sampled_from(["a.py(1): f", "b.py(2): g", "torch/x.py(3): h", "timm/y.py(4): k"])
_calls = st.recursive(
    st.just(()), lambda inner: st.lists(st.tuples(_names, inner), max_size=3), max_leaves=12
)


def laid_out(tree: object, start: float) -> tuple[list[Event], float]:
    """Calls, each a microsecond longer on both sides than what it calls."""
    events: list[Event] = []
    for name, inner in tree:  # type: ignore[attr-defined]
        called, end = laid_out(inner, start + 1)
        events += [frame(name, start, end + 1 - start), *called]
        start = end + 1.5
    return events, start


def searched(events: list[Event], us: float) -> str | None:
    """As a search through all events finds it."""
    around = [e for e in events if e["ts"] <= us < e["ts"] + e["dur"]]
    inner = [e["name"] for e in sorted(around, key=lambda e: e["dur"])]
    for tops in (("a.", "b."), ("timm",), ("torch",)):
        found = [name for name in inner if name.startswith(tops)]
        if found:
            file, line, function = found[0].replace("): ", "(").split("(")
            return f"{file}:{line} in {function}"
    return None


@settings(deadline=None)
@given(_calls)
def test_as_a_search_through_all_functions_finds(tree: object) -> None:
    events, end = laid_out(tree, 1.0)
    lines, moments = SourceLines(trace_of([OPERATOR, *events])), np.arange(0.25, end + 1, 0.5)
    found = lines.at(np.zeros(len(moments), np.int64), (1000 * moments).astype(np.int64))
    assert [lines.texts[i] if i >= 0 else None for i in found] == [
        searched(events, us) for us in moments.tolist()
    ]


WAIT, WORK = Action("sync", host=1.0), Action("python", host=60.0)
KERNEL = Action("kernel", host=5.0, gpu=40.0)
CHEAP = Action("python", host=20.0)


def do(machine: Machine, *actions: Action) -> None:
    for action in actions:
        getattr(machine, f"_{action.what}")(action)


def two_waits() -> list[Event]:
    """Each step waits in `log`, after which the host works long, and in `check`, briefly after."""
    machine, frames = Machine(), []
    for number in range(6):
        begin = machine.now
        do(machine, KERNEL, KERNEL)
        for function, after in (("log", WORK), ("check", CHEAP)):
            called = machine.now
            do(machine, KERNEL, KERNEL, WAIT)
            frames.append(frame(f"train.py(5): {function}", called, machine.now - called))
            do(machine, after, KERNEL, KERNEL)
        frames.append(frame("train.py(40): main", begin, machine.now - begin))
        machine._add("user_annotation", f"ProfilerStep#{number}", begin, machine.now - begin)
    return [*machine.events, *frames]


def waits(found: list[Place]) -> dict[str | None, Place]:
    return {place.line: place for place in found if place.cause == "sync"}


def test_calls_of_one_name_are_told_apart_by_their_line() -> None:
    found = diagnose(trace_of(two_waits()))
    by_line = waits(found.places)
    assert list(by_line) == ["train.py:5 in log", "train.py:5 in check"]
    log, check = by_line.values()
    assert log.name == check.name == "cudaDeviceSynchronize"
    assert log.count_per_step == check.count_per_step
    assert log.idle_us > 1.5 * check.idle_us > 0
    bare = diagnose(trace_of([e for e in two_waits() if e["cat"] != "python_function"]))
    (one,) = waits(bare.places).values()
    assert one.line is None
    assert one.idle_us == pytest.approx(log.idle_us + check.idle_us)
    assert bare.idle_us == found.idle_us


def test_the_finding_names_the_lines_with_what_they_cost() -> None:
    told = advise(diagnose(trace_of(two_waits())), rules=["host-sync-in-step"])
    (finding,) = told.findings
    said = [evidence.text for evidence in finding.evidence[:2]]
    assert [text.rpartition(" (")[2] for text in said] == [
        "train.py:5 in log)", "train.py:5 in check)",
    ]  # fmt: skip
    assert finding.where[0].line == "train.py:5 in log"


def test_a_loader_that_makes_its_own_batches_names_the_dataset() -> None:
    machine, frames = Machine(), []
    for _ in range(5):
        begin = machine.now
        machine.run([[Action("loader", host=400.0), KERNEL]])
        frames.append(frame("data.py(3): __getitem__", begin + 20, 300.0))
        frames.append(frame("train.py(9): main", begin, machine.now - begin))
    found = diagnose(trace_of([*machine.events, *frames]))
    place = next(place for place in found.places if place.cause == "dataloader")
    assert place.line == "data.py:3 in __getitem__"


def test_copies_name_the_line_that_makes_them() -> None:
    events = recorded([[Action("copy", host=5.0, gpu=50.0), KERNEL]] * 4)
    for event in events:
        event["name"] = event["name"].replace("Pinned", "Pageable")
    end = max(event["ts"] + event["dur"] for event in events)
    found = diagnose(trace_of([*events, frame("feed.py(2): to_device", 900, end)]))
    assert [copy.line for copy in found.copies] == ["feed.py:2 in to_device"]
    (finding,) = advise(found, rules=["pageable-copy"]).findings
    assert finding.evidence[0].text.endswith("most are made in feed.py:2 in to_device")


@needs_public
@pytest.mark.parametrize(
    ("name", "cause", "line"),
    [
        ("h100/small_transformer_training.pt.trace.json.gz", "dispatch",
         "torch_prof.py:36 in forward"),
        ("h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz", "sync",
         "moca/library/profiling/profile.py:34 in run_torch_profiler"),
        ("b200/eager_trace.json.gz", "python",
         "vllm/model_executor/models/gpt_oss.py:130 in forward"),
        ("edge/cuda_graph_replay_decode.json.gz", "python",
         "vllm/v1/worker/gpu_model_runner.py:931 in _update_states"),
        ("resnet50_v100/num_workers_0.pt.trace.json.gz", "dataloader", None),
    ],
)  # fmt: skip
def test_lines_of_public_traces(name: str, cause: str, line: str | None) -> None:
    found = perfkit.analyze(PUBLIC / name)
    first = max((p for p in found.places if p.cause == cause), key=lambda p: p.idle_us)
    assert first.line == line


SCRIPT = """
import sys, time
import torch
import perfkit

def metrics():
    time.sleep(0.005)

net = torch.nn.Linear(16, 16)
with perfkit.profile(sys.argv[1], active=5, with_stack=True) as p:
    for x in p.steps([torch.randn(4, 16) for _ in range(20)]):
        net(x).sum().backward()
        metrics()
"""


def test_a_recording_with_stacks_names_the_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run(SCRIPT, tmp_path / "run", folder=tmp_path)
    found = perfkit.analyze(tmp_path / "run")
    assert found.python_gaps is not None
    assert found.python_gaps.places[0].line == "train.py:6 in metrics"
    (finding,) = advise(found, rules=["python-overhead"]).findings
    assert "first: train.py:6 in metrics" in finding.remedy.text
