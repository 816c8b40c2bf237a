"""The callback for Hugging Face's Trainer: steps are optimizer steps, the losses stay the same."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.collectors.session import current
from perfkit.model.capture import StepTimes
from tests.collectors.training import rank_file, records, run, start, step_count

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
PerfkitCallback: Any = importlib.import_module(
    "perfkit.collectors.integrations.transformers"
).PerfkitCallback
pytestmark = pytest.mark.filterwarnings("ignore:::transformers", "ignore:::accelerate")

STEPS = 3  # of an epoch of 10 batches, 4 to a step, the last one of two


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    assert current() is None


class Net(torch.nn.Module):  # type: ignore[misc]
    """Keeps its losses, and when it was last asked to evaluate."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.3))
        self.losses: list[str] = []
        self.evaluated_ns: list[int] = []
        self.fail_at = fail_at

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        loss = torch.nn.functional.cross_entropy(self.layers(x), labels)
        if self.training:
            self.losses.append(loss.item().hex())
        else:
            self.evaluated_ns.append(time.time_ns())
        if len(self.losses) == self.fail_at:
            self.fail_at = None
            raise KeyError("mine")
        return {"loss": loss}


def trainer(folder: Path, *callbacks: Any, fail_at: int | None = None, **options: Any) -> Any:
    transformers.set_seed(0)
    data = [{"x": torch.randn(8), "labels": i % 4} for i in range(40)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "output"),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=8,
        gradient_accumulation_steps=4,
        num_train_epochs=2,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **options,
    )
    return transformers.Trainer(
        model=Net(fail_at=fail_at),
        args=arguments,
        train_dataset=data,
        eval_dataset=data[:16],
        callbacks=list(callbacks),
    )


def test_steps_are_optimizer_steps_and_losses_stay_the_same(tmp_path: Path) -> None:
    plain = trainer(tmp_path)
    plain.train()
    capture = tmp_path / "capture"
    watched = trainer(tmp_path, PerfkitCallback(capture, wait=0, warmup=1, active=2))
    watched.train()
    assert watched.model.losses == plain.model.losses
    assert len(plain.model.losses) == 20
    assert step_count(capture) == 2 * STEPS
    facts = rank_file(capture)
    assert (facts.ended, facts.step_marker) == ("finished", "step()")
    assert [(w.first_step, w.steps) for w in facts.windows] == [(1, 2)]
    trace = perfkit.open_trace(capture / "rank0" / facts.windows[0].file)
    marks = [name for name in trace.names if name.startswith("ProfilerStep#")]
    assert sorted(marks) == ["ProfilerStep#1", "ProfilerStep#2"]


def test_evaluation_is_no_part_of_a_step(tmp_path: Path) -> None:
    callback = PerfkitCallback(tmp_path / "capture", repeat=0)
    training = trainer(tmp_path, callback, eval_strategy="epoch", eval_on_start=True)
    training.train()
    evaluated = training.model.evaluated_ns
    assert len(evaluated) == 6  # two batches at the start and after each epoch
    first, second = records(tmp_path / "capture", StepTimes)
    assert (first.first, len(first.wall_us)) == (0, STEPS)
    assert (second.first, len(second.wall_us)) == (STEPS, STEPS)
    assert first.start_ns > evaluated[1]
    assert second.start_ns > evaluated[3]


def test_a_run_that_failed_ends_where_the_next_begins(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    training = trainer(tmp_path, PerfkitCallback(capture), fail_at=9)
    with pytest.raises(KeyError, match="mine"):
        training.train()
    training.train()
    before = (capture / "rank0.previous/rank.json").read_text()
    assert '"ended": "exception"' in before
    assert rank_file(capture).ended == "finished"
    assert step_count(capture) == 2 * STEPS


def test_a_profile_around_the_trainer_knows_of_its_exception(tmp_path: Path) -> None:
    training = trainer(tmp_path, PerfkitCallback(tmp_path / "unused"), fail_at=9)
    with pytest.raises(KeyError, match="mine"), perfkit.profile(tmp_path / "capture"):
        training.train()
    assert not (tmp_path / "unused").exists()
    assert rank_file(tmp_path / "capture").ended == "exception"
    assert step_count(tmp_path / "capture") == 2  # nine batches are two steps and one batch


FAILS = """
import sys, torch
from transformers import Trainer, TrainingArguments
from perfkit.collectors.integrations.transformers import PerfkitCallback

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.calls = torch.nn.Linear(8, 1), 0
    def forward(self, x, labels=None):
        self.calls += 1
        if self.calls == 9:
            raise KeyError("mine")
        return {"loss": self.net(x).mean()}

Trainer(model=Net(), args=TrainingArguments(output_dir="output", report_to=[], use_cpu=True),
        train_dataset=[{"x": torch.ones(8), "labels": 0}] * 200,
        callbacks=[PerfkitCallback(sys.argv[1])]).train()
"""


def test_an_exception_that_ends_the_process_is_known(tmp_path: Path) -> None:
    result = run(FAILS, "capture", folder=tmp_path, check=False)
    assert result.returncode == 1
    assert "KeyError: 'mine'" in result.stderr
    assert rank_file(tmp_path / "capture").ended == "exception"
    assert step_count(tmp_path / "capture") == 8


TWO_RANKS = """
import sys, torch
from transformers import Trainer, TrainingArguments, set_seed
from perfkit.collectors.integrations.transformers import PerfkitCallback

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.3))
        self.losses = []
    def forward(self, x, labels=None):
        loss = torch.nn.functional.cross_entropy(self.layers(x), labels)
        self.losses.append(loss.item().hex())
        return {"loss": loss}

def train(callbacks):
    set_seed(0)
    data = [{"x": torch.randn(8), "labels": i % 4} for i in range(80)]
    arguments = TrainingArguments(
        output_dir="output", per_device_train_batch_size=4, gradient_accumulation_steps=2,
        num_train_epochs=1, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True)
    trainer = Trainer(model=Net(), args=arguments, train_dataset=data, callbacks=callbacks)
    trainer.train()
    return trainer.model.losses, arguments.world_size

plain, _ = train([])
watched, ranks = train([PerfkitCallback("capture", wait=0, warmup=1, active=2)])
assert (len(plain), ranks, watched == plain) == (10, 2, True), (plain, watched, ranks)
"""


def test_two_ranks_write_a_folder_each_and_their_losses_stay_the_same(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TWO_RANKS)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    start([sys.executable, *launcher, "train.py"], tmp_path, True, {})
    for rank in (0, 1):
        facts = rank_file(tmp_path / "capture", rank)
        assert (facts.rank, facts.world_size, facts.ended) == (rank, 2, "finished")
        assert [(w.first_step, w.steps) for w in facts.windows] == [(1, 2)]
        assert step_count(tmp_path / "capture", rank) == 5
