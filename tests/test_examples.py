"""The examples run as their readers run them, and leave Captures that can be analyzed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import perfkit
from tests.collectors.training import rank_file, start, step_count

pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[1] / "examples"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCUMULATING = """
import torch
torch.manual_seed(0)
if "RANK" in __import__("os").environ:
    torch.distributed.init_process_group("gloo")
net = torch.nn.Linear(64, 64)
optimizer = torch.optim.SGD(net.parameters(), 0.1)
for number, batch in enumerate(torch.utils.data.DataLoader(torch.randn(960, 64), batch_size=8)):
    net(batch).square().mean().backward()
    if number % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def python(folder: Path, *arguments: str) -> str:
    """Run an interpreter in the folder; what it prints."""
    return start([sys.executable, *arguments], folder, True, {}).stdout


def check(capture: Path, steps: int, window: int, rank: int = 0) -> None:
    """The steps were counted, and the window analyzes to plausible steps."""
    assert step_count(capture, rank) == steps
    facts = rank_file(capture, rank)
    assert facts.ended == "finished"
    assert [found.steps for found in facts.windows] == [window]
    found = perfkit.analyze(capture, rank=rank)
    assert found.steps.marker == "ProfilerStep"
    assert found.steps.count + len(found.steps.excluded) == window
    breakdown = found.breakdown_us
    total = breakdown.compute + breakdown.communication + breakdown.copy + breakdown.idle
    assert 0 < total == pytest.approx(found.steps.mean_us)
    assert 0 <= breakdown.compute <= found.steps.mean_us


def test_a_plain_loop(tmp_path: Path) -> None:
    printed = python(tmp_path, str(EXAMPLES / "plain_loop.py"))
    assert "perfkit analyze perfkit-run" in printed
    check(tmp_path / "perfkit-run", steps=40, window=10)


def test_two_ranks_write_a_folder_each(tmp_path: Path) -> None:
    python(tmp_path, *TORCHRUN, str(EXAMPLES / "ddp.py"))
    for rank in (0, 1):
        assert rank_file(tmp_path / "perfkit-run", rank).world_size == 2
        check(tmp_path / "perfkit-run", steps=20, window=10, rank=rank)


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    python(tmp_path, str(EXAMPLES / "lightning_trainer.py"))
    check(tmp_path / "perfkit-run", steps=20, window=10)


def test_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    python(tmp_path, str(EXAMPLES / "huggingface_trainer.py"))
    check(tmp_path / "perfkit-run", steps=20, window=10)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_script_without_a_line_of_perfkit(tmp_path: Path, ranks: int) -> None:
    (tmp_path / "train.py").write_text(ACCUMULATING)
    launcher = TORCHRUN if ranks == 2 else []
    options = ["--wait", "2", "--warmup", "1", "--active", "5"]
    python(tmp_path, *launcher, "-m", "perfkit", "run", *options, "train.py")
    for rank in range(ranks):
        assert rank_file(tmp_path / "perfkit-run", rank).step_marker == "optimizer"
        check(tmp_path / "perfkit-run", steps=29, window=5, rank=rank)
