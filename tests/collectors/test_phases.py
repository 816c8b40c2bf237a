"""The data wait is counted once, and phases are told apart while somebody looks."""

from __future__ import annotations

import threading
import time
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from perfkit.collectors.phases import Phases

torch: Any = pytest.importorskip("torch")


def wait(phases: Phases, seconds: float = 0.0) -> bool:
    """Wait for a batch as a collector does; whether it was the outermost wait."""
    outermost = phases.begin_wait()
    time.sleep(seconds)
    if outermost:
        phases.end_wait(completed=True)
    return outermost


def test_a_wait_inside_of_another_counts_once() -> None:
    phases = Phases()
    assert phases.begin_wait()
    assert not wait(phases, 0.02)
    phases.end_wait(completed=True)
    before = phases.waited_ns
    assert 20e6 <= before < 2e9
    assert wait(phases)
    assert 0 <= phases.waited_ns - before < 20e6


def test_waits_of_other_threads_do_not_count() -> None:
    phases = Phases()
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(wait(phases, 0.02)))
    thread.start()
    thread.join()
    assert (said, phases.waited_ns) == ([False], 0)


def test_what_fails_before_a_wait_does_not_stop_it() -> None:
    phases = Phases()

    def fail() -> None:
        raise RuntimeError("inside perfkit")

    phases.on_wait = fail
    assert wait(phases, 0.01)
    assert phases.waited_ns >= 10e6


def step(phases: Phases) -> None:
    """What a training loop does for a batch."""
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    wait(phases)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()


@pytest.fixture
def phases() -> Any:
    phases = Phases()
    phases.install()
    yield phases
    phases.remove()


def test_phases_are_told_to_whoever_listens(phases: Phases) -> None:
    heard: list[str] = []
    phases.on_phase_end.append(heard.append)
    step(phases)
    assert heard == ["data", "forward", "backward", "optimizer"]
    phases.on_phase_end.remove(heard.append)
    step(phases)
    assert len(heard) == 4
    assert phases.current is None


def test_nobody_looks_and_no_phase_is_entered(
    phases: Phases, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str | None] = []
    monkeypatch.setattr(phases, "enter", entered.append)
    step(phases)
    assert phases.has_backward
    assert set(entered) <= {None}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        step(phases)
    assert [phase for phase in entered if phase] == ["data", "forward", "backward", "optimizer"]


def test_a_phase_that_a_profiler_saw_begin_ends_after_it(phases: Phases) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        wait(phases)
    assert phases.current == "forward"
    torch.ones(1, requires_grad=True).sum().backward()
    assert phases.current is None


def hooks() -> tuple[int, int]:
    """How many are called before and after an optimizer's step."""
    module = import_module("torch.optim.optimizer")
    before, after = module._global_optimizer_pre_hooks, module._global_optimizer_post_hooks
    return len(before), len(after)


def test_torch_is_left_alone_while_nobody_looks(phases: Phases) -> None:
    original = torch.autograd.backward.__wrapped__
    step(phases)
    wait(phases)
    assert (hooks(), torch.autograd.backward) == ((0, 0), original)
    heard: list[str] = []
    phases.on_phase_end.append(heard.append)
    for _ in range(2):
        step(phases)
    assert heard == ["data", "forward", "backward", "optimizer"] * 2
    phases.on_phase_end.clear()
    wait(phases)
    assert (hooks(), torch.autograd.backward) == ((0, 0), original)


def test_no_hook_comes_or_goes_while_torch_goes_through_them(phases: Phases) -> None:
    during: list[tuple[int, int]] = []
    told: list[int] = []

    def theirs(*_: object) -> None:
        phases.on_optimizer = None
        phases.look()
        during.append(hooks())

    phases.on_optimizer = told.append
    module = import_module("torch.optim.optimizer")
    handles = [module.register_optimizer_step_pre_hook(theirs)]
    handles.append(module.register_optimizer_step_post_hook(theirs))
    step(phases)
    for handle in handles:
        handle.remove()
    assert during == [(2, 2), (2, 2)]
    wait(phases)
    assert hooks() == (0, 0)


def test_a_backward_that_others_wrap_is_one_phase(
    phases: Phases, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    for _ in range(3):
        phases.on_phase_end.append(heard.append)
        wait(phases)
        monkeypatch.setattr(torch.autograd, "backward", partial(torch.autograd.backward))
        step(phases)
        phases.on_phase_end.clear()
        wait(phases)
    assert heard.count("backward") == 3


def test_optimizers_are_told_of_until_nobody_asks(phases: Phases) -> None:
    told: list[int] = []
    phases.on_optimizer = told.append
    step(phases)
    phases.on_optimizer = None
    step(phases)
    assert len(told) == 1
    before = import_module("torch.optim.optimizer")._global_optimizer_pre_hooks
    phases.remove()
    assert not before
