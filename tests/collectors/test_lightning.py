"""The Lightning callback: steps are optimizer steps, and the Trainer never notices it."""

from __future__ import annotations

import importlib
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors.session import Session, current
from perfkit.model.capture import StepTimes
from tests.collectors.training import rank_file, records, run, step_count

torch: Any = pytest.importorskip("torch")
pl: Any = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
callback_module = importlib.import_module("perfkit.collectors.integrations.lightning")
PerfkitCallback: Any = callback_module.PerfkitCallback
pytestmark = pytest.mark.filterwarnings("ignore:::lightning", "ignore:::pytorch_lightning")

BATCHES, STEPS = 10, 3  # of an epoch with accumulate_grad_batches=4, the last one of two batches


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    assert current() is None


def module_class(framework: Any) -> Any:
    class Module(framework.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.3))
            self.losses: list[str] = []
            self.validated_ns: list[int] = []

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.net(batch).square().mean()
            self.losses.append(loss.item().hex())
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.net(batch)
            self.validated_ns.append(time.time_ns())

        test_step = validation_step

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-2)

    return Module


Module: Any = module_class(pl)


def loader(*, shuffle: bool = False) -> Any:
    return torch.utils.data.DataLoader(torch.randn(40, 8), batch_size=4, shuffle=shuffle)


def trainer(folder: Path, *callbacks: Any, framework: Any = pl, **options: Any) -> Any:
    framework.seed_everything(0, verbose=False)
    return framework.Trainer(
        **{
            "accelerator": "cpu",
            "max_epochs": 2,
            "callbacks": list(callbacks),
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": folder,
            **options,
        }
    )


def fit(folder: Path, *callbacks: Any, **options: Any) -> Any:
    """A fit with accumulation, a sanity check and two validations; the module."""
    training = trainer(folder, *callbacks, accumulate_grad_batches=4, **options)
    module = Module()
    training.fit(module, loader(shuffle=True), loader())
    return module


def test_steps_are_optimizer_steps_and_losses_stay_the_same(tmp_path: Path) -> None:
    plain = fit(tmp_path)
    capture = tmp_path / "capture"
    watched = fit(tmp_path, PerfkitCallback(capture, wait=0, warmup=1, active=2))
    assert watched.losses == plain.losses
    assert len(plain.losses) == 2 * BATCHES
    assert step_count(capture) == 2 * STEPS
    facts = rank_file(capture)
    assert (facts.ended, facts.step_marker) == ("finished", "step()")
    assert [(w.first_step, w.steps) for w in facts.windows] == [(1, 2)]
    trace = perfkit.open_trace(capture / "rank0" / facts.windows[0].file)
    marks = [name for name in trace.names if name.startswith("ProfilerStep#")]
    assert sorted(marks) == ["ProfilerStep#1", "ProfilerStep#2"]


def test_validation_is_no_part_of_a_step(tmp_path: Path) -> None:
    module = fit(tmp_path, PerfkitCallback(tmp_path / "capture", repeat=0))
    validations = module.validated_ns[2:]  # the sanity check's two batches come first
    assert len(validations) == 2 * BATCHES
    blocks = list(records(tmp_path / "capture", StepTimes))  # one may end after a second, too
    epochs = [[b for b in blocks if b.first // STEPS == epoch] for epoch in (0, 1)]
    for epoch in epochs:
        assert [step - epoch[0].first for b in epoch for step in range(b.first, _end(b))] == list(
            range(STEPS)
        )
    assert epochs[0][0].first == 0
    assert epochs[0][0].start_ns > module.validated_ns[1]
    assert epochs[1][0].start_ns > validations[BATCHES - 1]
    assert epochs[0][-1].start_ns + sum(epochs[0][-1].wall_us) * 1000 < validations[0]


def _end(block: StepTimes) -> int:
    return block.first + len(block.wall_us)


def test_validation_is_marked_in_the_trace(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    fit(tmp_path, PerfkitCallback(capture, wait=0, warmup=1, active=4))
    trace = perfkit.open_trace(capture / "rank0/window1.pt.trace.json.gz")
    marked = [trace.names[i] for i in trace.name if trace.names[i] == "perfkit::validation"]
    assert len(marked) == 1


def test_validating_and_testing_leave_no_capture(tmp_path: Path) -> None:
    training = trainer(tmp_path, PerfkitCallback(tmp_path / "capture"))
    training.validate(Module(), loader(), verbose=False)
    training.test(Module(), loader(), verbose=False)
    assert not (tmp_path / "capture").exists()


def test_an_exception_passes_and_the_capture_says_so(tmp_path: Path) -> None:
    class Failing(Module):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 5:
                raise KeyError("mine")
            return super().training_step(batch, batch_idx)

    with pytest.raises(KeyError, match="mine"):
        trainer(tmp_path, PerfkitCallback(tmp_path / "capture")).fit(Failing(), loader())
    assert rank_file(tmp_path / "capture").ended == "exception"
    assert step_count(tmp_path / "capture") == 5


def test_a_batch_that_steps_two_optimizers_by_hand_is_one_step(tmp_path: Path) -> None:
    class Manual(Module):  # type: ignore[misc]
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(self.net(batch).square().mean())
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)]

    callback = PerfkitCallback(tmp_path / "capture")
    trainer(tmp_path, callback, max_epochs=1).fit(Manual(), loader())
    assert step_count(tmp_path / "capture") == BATCHES


def test_the_other_packages_trainer_takes_it_too(tmp_path: Path) -> None:
    other = pytest.importorskip("pytorch_lightning", reason="pytorch_lightning is not installed")
    assert not issubclass(PerfkitCallback, other.Callback)
    callback = pickle.loads(pickle.dumps(PerfkitCallback(tmp_path / "capture")))
    training = trainer(tmp_path, callback, framework=other, max_epochs=1)
    training.fit(module_class(other)(), loader())
    assert step_count(tmp_path / "capture") == BATCHES


@pytest.mark.parametrize("method", ["start", "begin_anew", "step", "stop"])
def test_what_fails_inside_perfkit_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    stop = Session.stop

    def fail(self: Session, *arguments: Any) -> None:
        if method == "stop":
            stop(self, *arguments)  # or its hooks would outlive this test
        raise RuntimeError("inside perfkit")

    monkeypatch.setattr(Session, method, fail)
    before = torch.autograd.backward
    module = fit(tmp_path, PerfkitCallback(tmp_path / "capture"))
    assert len(module.losses) == 2 * BATCHES
    assert torch.autograd.backward is before


RANKS = """
import sys
import lightning.pytorch as pl, torch
from perfkit.collectors.integrations.lightning import PerfkitCallback

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 4)
    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

loader = torch.utils.data.DataLoader(torch.randn(48, 8), batch_size=4)
pl.Trainer(accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=1, logger=False,
           enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
           callbacks=[PerfkitCallback(sys.argv[1], wait=1, warmup=1, active=2)]
).fit(Module(), loader)
"""


def test_every_rank_writes_its_own_folder(tmp_path: Path) -> None:
    run(RANKS, "capture", folder=tmp_path)
    for rank in (0, 1):
        facts = rank_file(tmp_path / "capture", rank)
        assert (facts.rank, facts.world_size, facts.ended) == (rank, 2, "finished")
        assert [(w.first_step, w.steps) for w in facts.windows] == [(2, 2)]
        assert step_count(tmp_path / "capture", rank) == 6
