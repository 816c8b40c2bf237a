"""The training loop that all scenarios share: a stack of linear layers over embedded numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sample_traces.scenarios.base import Program, Setting

VOCABULARY = 512


@dataclass(frozen=True)
class Size:
    """Of a model and its batches; batches travel as numbers, so that loading them costs little."""

    batch: int
    width: int
    layers: int
    dtype: torch.dtype = torch.float32


CPU = Size(batch=128, width=768, layers=4)  # about 25 ms a step on one core
GPU = Size(batch=8192, width=8192, layers=5, dtype=torch.bfloat16)  # 15 matmuls of 1.1 TFLOP
SMALL_GPU = Size(batch=4096, width=8192, layers=5, dtype=torch.bfloat16)  # half of that


def size_for(setting: Setting) -> Size:
    """What takes tens of milliseconds a step on the device."""
    return GPU if setting.on_gpu else CPU


class Model(nn.Module):
    """Numbers are embedded, which needs no gradient, and pass through linear layers."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, size.width)
        self.embedding.weight.requires_grad_(False)
        self.layers = nn.ModuleList(nn.Linear(size.width, size.width) for _ in range(size.layers))

    def forward(self, numbers: torch.Tensor, between: Callable[[], object] | None) -> torch.Tensor:
        """Mean square of the output; `between` is called after each layer."""
        hidden = self.embedding(numbers)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
            if between is not None:
                between()
        return torch.mean(hidden.float().square())


class Trainer:
    """One optimizer step a call; on a CPU by one thread, so that other cores stay free."""

    def __init__(self, setting: Setting, size: Size | None = None) -> None:
        if not setting.on_gpu:
            torch.set_num_threads(1)
        size = size or size_for(setting)
        self.device = setting.device
        self.on_gpu = setting.on_gpu
        with torch.device(setting.device):
            self.model = Model(size).to(size.dtype)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4)

    def step(
        self, numbers: torch.Tensor, between: Callable[[], object] | None = None
    ) -> torch.Tensor:
        """Train on a batch; the loss, still on the device."""
        numbers = numbers.to(self.device, non_blocking=True)
        loss: torch.Tensor = self.model(numbers, between)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


class Numbers(Dataset[torch.Tensor]):
    """As many samples as a run needs, each one number."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(index % VOCABULARY)


class Batches(Dataset[torch.Tensor]):
    """Whole batches, one an item: hardly any work for a loader."""

    def __init__(self, count: int, batch: int) -> None:
        self.count = count
        self.numbers = torch.arange(batch) % VOCABULARY

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.numbers.roll(index)


def fast_loader(setting: Setting, size: Size | None = None) -> DataLoader[torch.Tensor]:
    """A loader in the training process that costs well under a millisecond a batch."""
    batches = Batches(setting.steps, (size or size_for(setting)).batch)
    return loader(setting, batches, batch_size=None)


def loader(setting: Setting, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
    """A loader that pins batches where a GPU takes them."""
    return DataLoader(dataset, **{"pin_memory": setting.on_gpu, **options, **setting.options})


def plain_program(setting: Setting, size: Size | None = None) -> Program:
    """The loop without any fault."""
    return Program(fast_loader(setting, size), Trainer(setting, size).step)


def side_stream() -> torch.cuda.Stream:
    """Work of its own, beside the kernels of the loop."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
