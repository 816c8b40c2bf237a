"""Steps are found where the loop shows them, and windows lie where the schedule says."""

from __future__ import annotations

import gzip
import io
import os
import signal
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors import torch_profiler
from perfkit.collectors.session import current
from perfkit.model.capture import CheckpointWrite, StepTimes
from perfkit.model.trace import Kind
from tests.collectors.training import rank_file, records, step_count

torch: Any = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    assert current() is None


class Loop:
    """A model with its optimizer; `turn` is what a training loop does for a batch."""

    def __init__(self) -> None:
        self.net = torch.nn.Linear(8, 4)
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.1)

    def forward_backward(self, batch: Any) -> None:
        self.net(batch).sum().backward()

    def turn(self, batch: Any) -> None:
        self.forward_backward(batch)
        self.optimizer.step()
        self.optimizer.zero_grad()


def batches(count: int) -> list[Any]:
    return [torch.ones(2, 8) for _ in range(count)]


def marks(capture: Path, window: str) -> list[tuple[str, int, int]]:
    """ProfilerStep marks of a window: name, start and end."""
    trace = perfkit.open_trace(capture / "rank0" / window)
    found = [
        (trace.names[n], int(t), int(t + d))
        for n, t, d in zip(trace.name, trace.ts, trace.dur, strict=True)
        if trace.names[n].startswith("ProfilerStep#")
    ]
    return sorted(found, key=lambda mark: mark[1])


def test_windows_lie_where_the_schedule_says(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=2, warmup=1, active=3, repeat=2) as p:
        for batch in p.steps(batches(20)):
            loop.turn(batch)
    windows = rank_file(tmp_path).windows
    assert [(w.first_step, w.steps) for w in windows] == [(3, 3), (9, 3)]
    for window in windows:
        found = marks(tmp_path, window.file)
        wanted = [f"ProfilerStep#{window.first_step + i}" for i in range(3)]
        assert [name for name, _, _ in found] == wanted
        assert all(0 <= b[1] - a[2] < 100_000_000 for a, b in pairwise(found))
    profiled = [b for b in records(tmp_path, StepTimes) if b.profiled]
    assert sum(len(b.wall_us) for b in profiled) == 8  # warm-up included


def test_a_run_that_ends_inside_a_window_keeps_its_steps(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=1, warmup=1, active=50) as p:
        for batch in p.steps(batches(10)):
            loop.turn(batch)
    assert [(w.first_step, w.steps) for w in rank_file(tmp_path).windows] == [(2, 8)]
    assert len(marks(tmp_path, "window2.pt.trace.json.gz")) >= 8


def test_a_run_too_short_for_a_window_leaves_its_times(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path) as p:
        for batch in p.steps(batches(4)):
            Loop().turn(batch)
    assert rank_file(tmp_path).windows == []
    assert step_count(tmp_path) == 4


def test_phases_and_the_data_wait_are_marked(tmp_path: Path) -> None:
    def slow() -> Iterator[Any]:
        for batch in batches(6):
            time.sleep(0.02)
            yield batch

    loop = Loop()
    with perfkit.profile(tmp_path, wait=0, warmup=1, active=4) as p:
        for batch in p.steps(slow()):
            with perfkit.annotate("mine"):
                loop.turn(batch)
    trace = perfkit.open_trace(tmp_path / "rank0/window1.pt.trace.json.gz")
    seen = [trace.names[i] for i in trace.name]
    for name in ("data", "forward", "backward", "optimizer"):
        assert seen.count(f"perfkit::{name}") == 4
    assert seen.count("mine") == 4
    kinds = {trace.kind[row] for row, name in enumerate(seen) if name.startswith("perfkit::")}
    assert kinds == {Kind.ANNOTATION}  # recorded as operators, which is cheaper
    for block in records(tmp_path, StepTimes):
        for wall, data in zip(block.wall_us, block.data_us, strict=True):
            assert 20_000 < data <= wall


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=0, warmup=1, active=3):
        for i, batch in enumerate(batches(40)):
            loop.forward_backward(batch)
            if i % 4 == 3:
                loop.optimizer.step()
    assert rank_file(tmp_path).step_marker == "optimizer"
    assert step_count(tmp_path) == 9  # the first has no known begin
    trace = perfkit.open_trace(tmp_path / f"rank0/{rank_file(tmp_path).windows[0].file}")
    seen = [trace.names[i] for i in trace.name]
    assert seen.count("perfkit::backward") == 12


def test_batches_are_no_steps_while_an_optimizer_is_to_come(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(torch.ones(240, 8), batch_size=2)
    loop = Loop()
    with perfkit.profile(tmp_path, wait=0, warmup=1, active=2):
        for i, batch in enumerate(loader):
            loop.forward_backward(batch)
            if i % 30 == 29:
                loop.optimizer.step()
    facts = rank_file(tmp_path)
    assert (facts.step_marker, step_count(tmp_path)) == ("optimizer", 3)
    assert [(w.first_step, w.steps) for w in facts.windows] == [(1, 2)]


def test_two_optimizers_are_one_step(tmp_path: Path) -> None:
    first, second = Loop(), Loop()
    with perfkit.profile(tmp_path):
        for batch in batches(10):
            first.turn(batch)
            second.turn(batch)
    assert step_count(tmp_path) == 9


def test_a_loop_without_optimizer_steps_by_its_batches(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(torch.ones(24, 8), batch_size=2)
    loop = Loop()
    with perfkit.profile(tmp_path, wait=1, warmup=1, active=3):
        for batch in loader:
            loop.net(batch)
    facts = rank_file(tmp_path)
    assert facts.step_marker == "dataloader"
    assert [w.steps for w in facts.windows] == [3]
    assert step_count(tmp_path) in (11, 12)  # whether the end of the loader is asked for


def test_the_users_own_marker_outranks_the_optimizer(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path) as p:
        for batch in batches(10):
            loop.turn(batch)
            loop.turn(batch)
            p.step()
    assert rank_file(tmp_path).step_marker == "step()"
    assert step_count(tmp_path) == 9


def test_a_decorated_step_inside_another_is_part_of_it(tmp_path: Path) -> None:
    loop = Loop()
    p = perfkit.profile(tmp_path)
    inner = p(loop.turn)
    outer = p(lambda batch: [inner(batch), inner(batch)])
    for batch in batches(12):
        outer(batch)
    session = current()
    assert session is not None
    session.stop()
    assert rank_file(tmp_path).step_marker == "decorator"
    assert step_count(tmp_path) == 12


def test_a_second_session_joins_the_first(tmp_path: Path) -> None:
    with perfkit.profile(tmp_path / "outer") as outer:
        with perfkit.profile(tmp_path / "inner"):
            pass
        for batch in outer.steps(batches(3)):
            Loop().turn(batch)
    assert not (tmp_path / "inner").exists()
    assert step_count(tmp_path / "outer") == 3


@pytest.mark.parametrize("at", [9, 300], ids=["at first", "when collectors rest"])
def test_a_signal_opens_a_window(tmp_path: Path, at: int) -> None:
    loop = Loop()
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)  # as in a process of its own
    with perfkit.profile(tmp_path, repeat=0, warmup=1, active=2) as p:
        for i, batch in enumerate(p.steps(batches(at + 11))):
            loop.turn(batch)
            if i == at:
                os.kill(os.getpid(), signal.SIGUSR2)
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    windows = rank_file(tmp_path).windows
    assert [(w.first_step, w.steps, w.reason) for w in windows] == [(at + 2, 2, "signal")]


def test_a_checkpoint_knows_its_step_when_collectors_rest(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path / "run", repeat=0) as p:
        for i, batch in enumerate(p.steps(batches(310))):
            loop.turn(batch)
            if i in (0, 303):
                torch.save(loop.net.state_dict(), tmp_path / "model.pt")
    saves = records(tmp_path / "run", CheckpointWrite)
    assert [save.step for save in saves] == [None, 303]


def test_windows_lie_where_the_schedule_says_when_collectors_rest(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=230, warmup=1, active=2, repeat=2) as p:
        for batch in p.steps(batches(480)):
            loop.turn(batch)
    assert [(w.first_step, w.steps) for w in rank_file(tmp_path).windows] == [(231, 2), (464, 2)]
    steps = [(b.first, len(b.wall_us), b.profiled) for b in records(tmp_path, StepTimes)]
    assert [block[1] for block in steps if block[2]] == [3, 3]
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(steps))


def test_slow_steps_open_a_window(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, repeat=0, warmup=1, active=2) as p:
        for i, batch in enumerate(p.steps(batches(260))):
            time.sleep(0.002 if i < 150 else 0.02)
            loop.turn(batch)
    windows = rank_file(tmp_path).windows
    assert [w.reason for w in windows] == ["slow-steps"]
    assert 150 < windows[0].first_step < 260


def test_only_the_chosen_ranks_open_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with perfkit.profile(tmp_path, ranks=[0]) as p:
        for batch in p.steps(batches(40)):
            Loop().turn(batch)
    facts = rank_file(tmp_path, rank=1)
    assert (facts.windows, facts.world_size) == ([], 2)
    assert step_count(tmp_path, rank=1) == 40
    assert not (tmp_path / "capture.json").exists()  # rank 0's


def test_an_earlier_run_moves_aside(tmp_path: Path) -> None:
    for count in (3, 5):
        with perfkit.profile(tmp_path) as p:
            for batch in p.steps(batches(count)):
                Loop().turn(batch)
    assert step_count(tmp_path) == 5
    assert (tmp_path / "rank0.previous/rank.json").exists()


def test_steps_iterates_as_the_loader_does(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(torch.ones(24, 8), batch_size=2)
    with perfkit.profile(tmp_path) as p:
        steps = p.steps(loader)
        assert len(steps) == 12  # type: ignore[arg-type]
        assert steps.batch_size == 2  # type: ignore[attr-defined]
        assert len(list(steps)) == 12
        with pytest.raises(TypeError, match="no len"):
            len(p.steps(batch for batch in loader))  # type: ignore[arg-type]


def test_stacks_bring_no_warning_of_torch(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=1, warmup=1, active=2, with_stack=True) as p:
        for batch in p.steps(batches(6)):
            loop.turn(batch)
    assert [str(w.message) for w in recwarn if "trace_only" in str(w.message)] == []
    assert len(rank_file(tmp_path).windows) == 1


def test_hooks_are_undone(tmp_path: Path) -> None:
    before = torch.autograd.backward
    hooks = import_module("torch.optim.optimizer")
    with perfkit.profile(tmp_path) as p:
        for batch in p.steps(batches(12)):
            Loop().turn(batch)
    assert torch.autograd.backward is before
    assert not hooks._global_optimizer_pre_hooks
    assert not hooks._global_optimizer_post_hooks


@pytest.mark.parametrize("between", [b" ", b"\n    "], ids=["one line", "several"])
def test_phases_become_annotations_wherever_the_copy_cuts_the_trace(between: bytes) -> None:
    names = [b"perfkit::forward", b"aten::mul", b"perfkit::data"]
    event = b'  {\n    "ph": "X", "cat": "%s",' + between + b'"name": "%s", "pid": 1\n  },\n'
    text = b"".join(event % (b"cpu_op", names[i % 3]) for i in range(60_000)) + b"]}"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as target:
        torch_profiler._copy(io.BytesIO(text), target, None)
    kinds = [b"user_annotation", b"cpu_op", b"user_annotation"]
    wanted = b"".join(event % (kinds[i % 3], names[i % 3]) for i in range(60_000)) + b"]}"
    assert gzip.decompress(packed.getvalue()) == wanted


def test_a_step_in_which_the_run_ends_is_no_step_of_the_window(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=0, warmup=1, active=9) as p:
        for batch in p.steps(batches(6)):
            loop.turn(batch)
    assert [(w.first_step, w.steps) for w in rank_file(tmp_path).windows] == [(1, 5)]
    steps = perfkit.analyze(tmp_path).step_rows
    assert [row.step for row in steps] == [f"ProfilerStep#{n}" for n in range(1, 6)]
