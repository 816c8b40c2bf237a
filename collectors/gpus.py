"""NVIDIA's driver library as perfkit asks it, and which of its GPUs a process uses."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from perfkit.collectors import numa

_LEVELS = {0: "same board", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
"""As `nvidia-smi topo -m` names them, by nvml.h's nvmlGpuTopologyLevel_t."""
_P2P_BY_NVLINK = 2
_MOST_GPUS = 16
_SM = 1


class NoGpus(Exception):  # noqa: N818
    """NVML has nothing to say here; the message is one sentence with the remedy."""


class NoDriver(NoGpus):
    """There is no NVIDIA driver on this machine."""


@contextmanager
def nvml() -> Iterator[Any]:
    """The module pynvml, initialized. NoGpus where there is no driver to ask."""
    try:
        module = import_module("pynvml")
    except ImportError:
        raise NoGpus("GPU counters need nvidia-ml-py: pip install nvidia-ml-py.") from None
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        raise _unavailable(error) from None
    try:
        yield module
    finally:
        with suppress(module.NVMLError):
            module.nvmlShutdown()


_UNAVAILABLE = {
    4: "The NVIDIA driver refuses this user: allow reading and writing /dev/nvidiactl.",
    9: "The NVIDIA driver is not loaded: see what nvidia-smi says.",
    18: "The NVIDIA driver was updated while it was loaded: restart the machine.",
}
"""By the number of NVML's error: no permission, driver not loaded, versions do not match."""
_LIBRARY_NOT_FOUND = 12


def _unavailable(error: Exception) -> NoGpus:
    code = getattr(error, "value", None)
    if code == _LIBRARY_NOT_FOUND:
        return NoDriver(
            "There is no NVIDIA driver here (libnvidia-ml.so.1): install it, or start the "
            "container with NVIDIA_DRIVER_CAPABILITIES=compute,utility."
        )
    other = f"The NVIDIA driver does not answer ({error}): see what nvidia-smi says."
    return NoGpus(_UNAVAILABLE.get(code or 0, other))


def visible(module: Any) -> list[Any]:
    """Handles of the GPUs that CUDA shows this process, in CUDA's order.

    CUDA counts the fastest GPU first unless told otherwise, so on a machine of unlike GPUs their
    indices say nothing, and the list is empty.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and not chosen.strip()[:1].isdigit():
        return _by_uuid(module, chosen)
    handles = _all(module)
    names = {text_of(module.nvmlDeviceGetName(handle)) for handle in handles}
    if len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return []
    picked = handles if chosen is None else _by_index(handles, chosen)
    return [_first_slice(module, handle) for handle in picked]


def _by_index(handles: list[Any], chosen: str) -> list[Any]:
    """CUDA stops at the first index that does not exist."""
    picked = []
    for part in chosen.split(","):
        if not part.strip().isdigit() or int(part) >= len(handles):
            break
        picked.append(handles[int(part)])
    return picked


def _by_uuid(module: Any, chosen: str) -> list[Any]:
    """GPUs by UUIDs, which may be cut short, and MIG slices by theirs."""
    picked = []
    for part in (part.strip() for part in chosen.split(",")):
        handle = by_uuid(module, part) or _by_prefix(module, part)
        if handle is None:
            break
        picked.append(handle)
    return picked


def by_uuid(module: Any, uuid: str) -> Any:
    """A handle, or None where there is no such GPU."""
    try:
        return module.nvmlDeviceGetHandleByUUID(uuid) if uuid else None
    except module.NVMLError:
        return None


def _by_prefix(module: Any, prefix: str) -> Any:
    if not prefix.startswith("GPU-"):
        return None
    handles = _all(module)
    found = [h for h in handles if text_of(module.nvmlDeviceGetUUID(h)).startswith(prefix)]
    return found[0] if len(found) == 1 else None


def _first_slice(module: Any, handle: Any) -> Any:
    """Of a GPU that is cut into MIG slices CUDA shows the first."""
    try:
        if not module.nvmlDeviceGetMigMode(handle)[0]:
            return handle
        return module.nvmlDeviceGetMigDeviceHandleByIndex(handle, 0)
    except (AttributeError, module.NVMLError):
        return handle


def used_by_torch() -> list[tuple[int, str]] | None:
    """(CUDA index, UUID or "") of the GPUs on which torch has reserved memory; None as yet.

    Never initializes CUDA.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return None
    used = [i for i in range(torch.cuda.device_count()) if _reserved(torch, i)]
    uuids = [getattr(torch.cuda.get_device_properties(i), "uuid", "") for i in used]
    return list(zip(used, map(str, uuids), strict=True)) or None


def _reserved(torch: Any, device: int) -> int:
    stats = torch.cuda.memory.memory_stats_as_nested_dict(device)
    return int(stats.get("reserved_bytes", {}).get("all", {}).get("peak", 0))


def is_rocm() -> bool:
    """Whether torch is imported and built for AMD's GPUs."""
    return bool(getattr(getattr(sys.modules.get("torch"), "version", None), "hip", None))


def machine() -> dict[str, Any]:
    """The driver, all GPUs of the machine in NVML's order, and how they are linked."""
    try:
        with nvml() as module:
            handles = _all(module)
            return {
                "driver": text_of(module.nvmlSystemGetDriverVersion()),
                "gpus": [_facts(module, handle) for handle in handles],
                "gpu_links": _links(module, handles[:_MOST_GPUS]),
            }
    except NoGpus:
        return {}


def _facts(module: Any, handle: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": text_of(module.nvmlDeviceGetName(handle))}
    with suppress(AttributeError, module.NVMLError):
        facts["memory_bytes"] = int(module.nvmlDeviceGetMemoryInfo(handle).total)
    with suppress(AttributeError, module.NVMLError):
        facts["power_limit_w"] = module.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
    with suppress(AttributeError, module.NVMLError):
        limit = module.nvmlDeviceGetPowerManagementDefaultLimit(handle)
        facts["power_limit_default_w"] = limit / 1000
    with suppress(AttributeError, module.NVMLError):
        facts["sm_clock_limit_mhz"] = module.nvmlDeviceGetMaxClockInfo(handle, _SM)
    with suppress(AttributeError, module.NVMLError):
        facts["uuid"] = text_of(module.nvmlDeviceGetUUID(handle))
    with suppress(AttributeError, module.NVMLError):
        node = numa.node_of(text_of(module.nvmlDeviceGetPciInfo(handle).busId))
        facts.update({} if node is None else {"numa_node": node})
    return facts


def _links(module: Any, handles: list[Any]) -> dict[str, str]:
    """Link by pair of GPUs, such as {"0-1": "NVLink"}; {"all": ...} where they are alike."""
    pairs = itertools.combinations(range(len(handles)), 2)
    found = {f"{a}-{b}": _link(module, handles[a], handles[b]) for a, b in pairs}
    kinds = set(found.values())
    return {"all": kinds.pop()} if len(found) > 1 and len(kinds) == 1 else found


def _link(module: Any, first: Any, second: Any) -> str:
    with suppress(AttributeError, module.NVMLError):
        if module.nvmlDeviceGetP2PStatus(first, second, _P2P_BY_NVLINK) == 0:
            return "NVLink"
    with suppress(AttributeError, module.NVMLError):
        level = module.nvmlDeviceGetTopologyCommonAncestor(first, second)
        return _LEVELS.get(level, "unknown")
    return "unknown"


def _all(module: Any) -> list[Any]:
    """Handles of all GPUs, by PCI address; one that is broken is left out."""
    handles = []
    for index in range(module.nvmlDeviceGetCount()):
        with suppress(module.NVMLError):
            handles.append(module.nvmlDeviceGetHandleByIndex(index))
    return handles


def text_of(value: Any) -> str:
    """Text of what old versions of pynvml give as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
