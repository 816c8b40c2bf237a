"""Live collection: what watches a training run and writes its Capture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from perfkit.collectors.guard import attempt

if TYPE_CHECKING:
    from perfkit.collectors.protocol import Collector

WATCHERS = (
    "dataloader.DataLoaders",
    "storage.Storage",
    "checkpoints.Checkpoints",
    "nvml.Nvml",
    "memory.Memory",
    "host.Host",
    "garbage.Garbage",
)
"""The collectors that a run carries beside its step clock and the profiler."""


def create(path: str) -> Collector:
    """A collector by its place among this package's modules, such as "nvml.Nvml"."""
    module, name = path.split(".")
    collector: Collector = getattr(import_module(f"perfkit.collectors.{module}"), name)()
    return collector


def watchers() -> list[Collector]:
    """A new one of each; what cannot be made here is left out, and said once."""
    made = [attempt(f"The collector {path}", create, path) for path in WATCHERS]
    return [collector for collector in made if collector is not None]
