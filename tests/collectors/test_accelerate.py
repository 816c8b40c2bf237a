"""Accelerate needs no integration: its loops are plain loops, and steps are those really taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors.session import current
from perfkit.model.capture import BatchWait
from tests.collectors.training import rank_file, records, step_count

torch: Any = pytest.importorskip("torch")
accelerate: Any = pytest.importorskip("accelerate", reason="accelerate is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:::accelerate")


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    assert current() is None


class Loop:
    """A prepared model, optimizer and loader of ten batches, four to an optimizer step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.3))
        loader = torch.utils.data.DataLoader(torch.randn(40, 8), batch_size=4, shuffle=True)
        self.accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4)
        self.net, self.optimizer, self.loader = self.accelerator.prepare(
            net, torch.optim.Adam(net.parameters(), 1e-2), loader
        )
        self.losses: list[str] = []

    def turn(self, batch: Any) -> None:
        with self.accelerator.accumulate(self.net):
            loss = self.net(batch).square().mean()
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.losses.append(loss.item().hex())


def plain_losses() -> list[str]:
    loop = Loop()
    for _epoch in range(3):
        for batch in loop.loader:
            loop.turn(batch)
    return loop.losses


def test_without_marks_a_step_is_an_optimizer_step_that_was_taken(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=2, warmup=1, active=3):
        for _epoch in range(3):
            for batch in loop.loader:
                loop.turn(batch)
    assert loop.losses == plain_losses()
    facts = rank_file(tmp_path)
    assert facts.step_marker == "optimizer"
    assert step_count(tmp_path) == 3 * 3 - 1  # 4, 4 and 2 batches; the first has no known begin
    assert [(w.first_step, w.steps) for w in facts.windows] == [(3, 3)]


def test_steps_of_a_prepared_loader_are_its_batches(tmp_path: Path) -> None:
    loop = Loop()
    with perfkit.profile(tmp_path, wait=2, warmup=1, active=3) as p:
        for _epoch in range(3):
            for batch in p.steps(loop.loader):
                loop.turn(batch)
    assert loop.losses == plain_losses()
    facts = rank_file(tmp_path)
    assert (facts.step_marker, step_count(tmp_path)) == ("steps()", 30)
    waits = [wait for wait in records(tmp_path, BatchWait) if wait.part == "batch"]
    assert sum(wait.batches for wait in waits) == 30
