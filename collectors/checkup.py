"""What this machine lets perfkit see, collector by collector, outside of any run."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from perfkit.collectors import create, limits
from perfkit.collectors.mounts import mounts
from perfkit.model.capture import Schedule, Sight

_SHM = "/dev/shm"
_LEAST_SHM_BYTES = 1 << 30
_OLDEST_TORCH = (2, 3)
_DRIVER_PARAMETERS = Path("/proc/driver/nvidia/params")
_NO_TORCH = "PyTorch is not installed: install torch in this environment."


def checkup() -> list[Sight]:
    """A Sight of everything perfkit collects; whatever fails is one too, and nothing raises."""
    return [_tried(name, look) for name, look in _LOOKS.items()]


def _tried(name: str, look: Callable[[], Sight]) -> Sight:
    try:
        return msgspec.structs.replace(look(), collector=name)
    except Exception as error:
        said = f"Asking failed ({type(error).__name__}: {error}): repair what it names."
        return Sight(collector=name, active=False, missing=[" ".join(said.split())])


def _of(path: str) -> Callable[[], Sight]:
    """What a collector says of itself."""
    return lambda: create(path).sight()


def _profiler() -> Sight:
    from perfkit.collectors.torch_profiler import TorchProfiler

    sight = TorchProfiler(Schedule(), lambda _: None).sight()
    if find_spec("torch") is None:
        return sight
    version = str(import_module("torch").__version__)
    found = re.match(r"(\d+)\.(\d+)", version)
    old = found is not None and (int(found[1]), int(found[2])) < _OLDEST_TORCH
    said = [f"torch {version} is older than 2.3, the oldest perfkit is made for: upgrade it."]
    return _more(sight, sees=[f"torch {version}"], missing=said if old else [])


def _nccl() -> Sight:
    if find_spec("torch") is None:
        return _blind(_NO_TORCH)
    torch = import_module("torch")
    if not torch.distributed.is_available():
        return _blind("This torch has no torch.distributed: install an official build.")
    if not torch.distributed.is_nccl_available():
        return _blind("This torch has no NCCL: install a CUDA or ROCm build to join GPUs.")
    version = torch.cuda.nccl.version()
    told = ".".join(map(str, version)) if isinstance(version, tuple) else str(version)
    return Sight(collector="", active=True, sees=[f"NCCL {told}", "collectives in traces"])


def _loaders() -> Sight:
    sight = create("dataloader.DataLoaders").sight()
    default, *others = multiprocessing.get_all_start_methods()
    workers = f"workers by {default}" + (f" (or {', '.join(others)})" if others else "")
    sees = [workers, f"{limits.cores()} of {os.cpu_count()} cores"]
    size = _shm_bytes()
    if size is None:
        return _more(sight, sees=sees)
    told = f"{size / (1 << 20):.0f} MiB of shared memory"
    small = (
        f"{_SHM} holds only {told}, through which workers hand batches over: "
        "start the container with --shm-size=8g or --ipc=host."
    )
    return _more(sight, sees=[*sees, told], missing=[small] if size < _LEAST_SHM_BYTES else [])


def _shm_bytes() -> int | None:
    try:
        room = os.statvfs(_SHM)
    except (AttributeError, OSError):  # not on macOS
        return None
    return room.f_blocks * room.f_frsize


def _storage() -> Sight:
    sight = create("storage.Storage").sight()
    if shutil.which("lfs"):
        return _more(sight, sees=["Lustre layouts (lfs)"])
    has_lustre = any(mount.family == "lustre" for mount in mounts())
    return _more(sight, sees=["Lustre layouts (extended attributes)"] if has_lustre else [])


def _memory() -> Sight:
    """As the collector says, but of the GPU that a run would use: none is used here."""
    if find_spec("torch") is None:
        return _blind(_NO_TORCH)
    torch = import_module("torch")
    if not (torch.version.cuda or getattr(torch.version, "hip", None)):
        return create("memory.Memory").sight()
    if not torch.cuda.is_available():
        return _blind("torch finds no GPU: see what nvidia-smi says.")
    return Sight(collector="", active=True, sees=["PyTorch's allocator, once a run uses the GPU"])


def _permissions() -> Sight:
    """Of GPU performance counters, which other tools need and perfkit does not."""
    try:
        text = _DRIVER_PARAMETERS.read_text()
    except OSError:
        return _blind("Without an NVIDIA driver there are no counters to allow.")
    if re.search(r"^RmProfilingAdminOnly:\s*0", text, re.MULTILINE):
        return Sight(collector="", active=True, sees=["performance counters for every user"])
    return _blind(
        "GPU performance counters are for root only, so ncu and DCGM profiling fail (perfkit needs "
        "none of them): load the driver with NVreg_RestrictProfilingToAdminUsers=0."
    )


_LOOKS: dict[str, Callable[[], Sight]] = {
    "torch profiler": _profiler,
    "NVML": _of("nvml.Nvml"),
    "NVTX": _of("nvtx_ranges.Nvtx"),
    "NCCL": _nccl,
    "DataLoader": _loaders,
    "storage": _storage,
    "checkpoints": _of("checkpoints.Checkpoints"),
    "GPU memory": _memory,
    "host": _of("host.Host"),
    "garbage": _of("garbage.Garbage"),
    "permissions": _permissions,
}


def _blind(reason: str) -> Sight:
    return Sight(collector="", active=False, missing=[reason])


def _more(sight: Sight, sees: list[str] | None = None, missing: list[str] | None = None) -> Sight:
    """The same, and more; a collector that sees nothing has nothing added to what it sees."""
    return msgspec.structs.replace(
        sight,
        sees=[*sight.sees, *(sees or [])] if sight.active else sight.sees,
        missing=[*sight.missing, *(missing or [])],
    )


def facts() -> dict[str, Any]:
    """The environment as a run would record it; torch's facts too, where it can be imported."""
    from perfkit.collectors.environment import environment

    try:
        import_module("torch")
    except Exception:  # said by the torch profiler's Sight
        return environment()
    return environment()
