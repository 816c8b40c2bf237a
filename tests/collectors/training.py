"""A small training script for subprocesses, with and without perfkit in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from perfkit.model.capture import RankFile, Record, StepTimes

BODY = """
import os, signal, sys, time
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Dropout(0.2), torch.nn.Linear(32, 4))
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
data = torch.utils.data.TensorDataset(torch.randn(160, 16), torch.randint(4, (160,)))
loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
losses = []

def train_step(batch):
    x, y = batch
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
"""
LOOP = """
for batch in loader:
    train_step(batch)
"""
STEPS = """
import perfkit
with perfkit.profile(sys.argv[1], active=5) as p:
    for batch in p.steps(loader):
        train_step(batch)
"""
DECORATED = """
import perfkit
train_step = perfkit.profile(sys.argv[1], active=5)(train_step)
for batch in loader:
    train_step(batch)
"""
SHOW = """
print([loss.hex() for loss in losses])
"""


def run(
    script: str, *arguments: object, folder: Path, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script's text in a process of its own, `folder` being where it works."""
    path = folder / "train.py"
    path.write_text(script)
    return start([sys.executable, str(path), *map(str, arguments)], folder, check, environment)


def start(
    command: list[str], folder: Path, check: bool, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output as text."""
    root = Path(__file__).parents[2]
    known = {
        **os.environ,
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    return subprocess.run(
        command, cwd=folder, env=known, check=check, capture_output=True, text=True, timeout=120
    )


def rank_file(capture: Path, rank: int = 0) -> RankFile:
    """What a rank's `rank.json` says."""
    return msgspec.json.decode((capture / f"rank{rank}" / "rank.json").read_bytes(), type=RankFile)


def records(capture: Path, kind: Any, rank: int = 0) -> list[Any]:
    """A rank's records of one type."""
    files = sorted((capture / f"rank{rank}").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    decoded = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in decoded if isinstance(record, kind)]


def step_count(capture: Path, rank: int = 0) -> int:
    """How many steps were timed."""
    return sum(len(block.wall_us) for block in records(capture, StepTimes, rank))
