"""The data wait is counted once, and phases are told apart while somebody looks."""

from __future__ import annotations

import threading
import time
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
    assert 20e6 <= phases.take_data_ns() < 2e9
    assert phases.take_data_ns() == 0
    assert wait(phases)


def test_waits_of_other_threads_do_not_count() -> None:
    phases = Phases()
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(wait(phases, 0.02)))
    thread.start()
    thread.join()
    assert (said, phases.take_data_ns()) == ([False], 0)


def test_what_fails_before_a_wait_does_not_stop_it() -> None:
    phases = Phases()

    def fail() -> None:
        raise RuntimeError("inside perfkit")

    phases.on_wait = fail
    assert wait(phases, 0.01)
    assert phases.take_data_ns() >= 10e6


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
