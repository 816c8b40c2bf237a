"""What a run ran on and with: versions, the machine, chosen variables, and which rank this is."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from perfkit.collectors import limits, numa
from perfkit.collectors.gpus import machine as gpu_machine
from perfkit.collectors.guard import attempt
from perfkit.version import __version__

Ranks = tuple[int, int | None, int]

_PREFIXES = ("NCCL_", "RCCL_", "TORCH_NCCL_", "TORCHINDUCTOR_", "TORCH_COMPILE_", "TORCHDYNAMO_")
_NAMES = """
CUDA_DEVICE_MAX_CONNECTIONS CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUDA_MODULE_LOADING
CUDA_VISIBLE_DEVICES CUBLAS_WORKSPACE_CONFIG GOMP_CPU_AFFINITY GPU_MAX_HW_QUEUES
HIP_VISIBLE_DEVICES HSA_FORCE_FINE_GRAIN_PCIE KMP_AFFINITY KMP_BLOCKTIME LOCAL_WORLD_SIZE
MALLOC_ARENA_MAX
MKL_NUM_THREADS NVIDIA_DRIVER_CAPABILITIES NVIDIA_TF32_OVERRIDE NVIDIA_VISIBLE_DEVICES
OMP_NUM_THREADS OMP_PLACES OMP_PROC_BIND OPENBLAS_NUM_THREADS PYTORCH_ALLOC_CONF
PYTORCH_CUDA_ALLOC_CONF PYTORCH_HIP_ALLOC_CONF PYTORCH_NO_CUDA_MEMORY_CACHING
ROCR_VISIBLE_DEVICES TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_DISTRIBUTED_DEBUG
"""
_SLURM = """
JOB_ID JOB_PARTITION CLUSTER_NAME NODELIST JOB_NODELIST NNODES NTASKS NTASKS_PER_NODE PROCID
LOCALID NODEID CPUS_PER_TASK CPUS_ON_NODE GPUS_ON_NODE GPUS_PER_TASK MEM_PER_NODE CPU_BIND
"""
_KUBERNETES = {
    "pod": ("POD_NAME", "MY_POD_NAME", "K8S_POD_NAME"),
    "namespace": ("POD_NAMESPACE", "MY_POD_NAMESPACE", "K8S_NAMESPACE", "K8S_POD_NAMESPACE"),
    "node": ("NODE_NAME", "MY_NODE_NAME", "K8S_NODE_NAME"),
}
_SECRET_NAME = re.compile(
    r"TOKEN|KEY|SECRET|PASS|PWD|CRED|AUTH|PRIVATE|COOKIE|SIGN|CERT|WEBHOOK|DSN|JWT|BEARER"
)
_SECRET_VALUE = re.compile(
    r"://[^/\s]*@"  # an address with credentials
    r"|(?i:token|key|secret|pass\w*|pwd|auth\w*|cred\w*|sig\w*)\s*[=:]"
    r"|\b(?:AKIA|ASIA|AIza|eyJ|gh[a-z]_|github_pat_|glpat-|hf_|npm_|pypi-|sk-|xox[a-z]-)[\w-]{12}"
    r"|-----BEGIN|\b(?i:bearer|basic)\s"
    # long and mixed as a key is, and no path and no UUID
    r"|(?<![\w+/=.-])(?!/)(?=[\w+/=]*\d)(?=[\w+/=]*[A-Za-z])[\w+/=]{32,}(?![\w+/=.-])"
)
_PATH = re.compile(r"(?:^|[\s,;=]|:(?!//))~?/|^[A-Za-z]:\\")
_PATH_NAME = re.compile(r"_(?:DIR|FILE|PATH|PREFIX)$")
A_PATH = "(a path)"
_LONGEST_VALUE = 500


def environment() -> dict[str, Any]:
    """Facts for `rank.json`; torch's only once torch is imported, absent ones are left out.

    Of the environment's variables it holds those of a fixed list, never a secret's name or value.
    """
    facts = {
        **_machine(),
        **(attempt("Asking torch for its versions", _torch_facts) or {}),
        "variables": variables(os.environ.items()),
        "slurm": _slurm(),
        "kubernetes": _kubernetes(),
    }
    return {key: value for key, value in facts.items() if value not in (None, {}, [])}


def variables(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those that change how a run performs and hold no secret; of paths, that they are set.

    Paths tell of people and projects, and nothing of performance.
    """
    names = frozenset(_NAMES.split())
    chosen = ((k, v) for k, v in items if k in names or k.startswith(_PREFIXES))
    return dict(sorted((k, _without_path(k, v)) for k, v in chosen if _harmless(k, v)))


def _without_path(name: str, value: str) -> str:
    return A_PATH if _PATH_NAME.search(name) or _PATH.search(value) else value


def ranks() -> Ranks:
    """(rank, rank on this machine, number of ranks): torch's, the launcher's, or (0, None, 1)."""
    for found in (attempt("Asking for the rank", _torch_ranks), *map(_ranks_of, _LAUNCHERS)):
        if found is not None:
            return found
    return 0, None, 1


_LAUNCHERS = (
    ("RANK", "LOCAL_RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "MPI_LOCALRANKID", "PMI_SIZE"),
    ("PALS_RANKID", "PALS_LOCAL_RANKID", "PALS_SIZE"),
)
"""Names of the rank, the local rank and the number of ranks: torchrun, Slurm, MPI."""


def _ranks_of(names: tuple[str, str, str]) -> Ranks | None:
    """None where the launcher is another one, or says what cannot be."""
    rank, local, size = (_number(os.environ.get(name)) for name in names)
    if names[0] == "SLURM_PROCID" and _in_batch_script():
        return None
    if rank is None or size is None or rank >= size:
        return None
    return rank, local if local is not None and local < size else None, size


def _in_batch_script() -> bool:
    """Whether no srun started this process: the variables are then of the whole job."""
    slurm = os.environ
    return "SLURM_JOB_ID" in slurm and not {"SLURM_STEP_ID", "SLURM_STEPID"} & slurm.keys()


def _torch_ranks() -> Ranks | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    rank, size = distributed.get_rank(), distributed.get_world_size()
    local = (_number(os.environ.get(names[1])) for names in _LAUNCHERS)
    return rank, next((one for one in local if one is not None and one < size), None), size


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


@cache
def _machine() -> dict[str, Any]:
    """What does not change while the process runs."""
    return {
        "python": platform.python_version(),
        "perfkit": __version__,
        "os": _os_name(),
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "cores": limits.cores(),
        "cores_by_affinity": limits.cores_by_affinity(),
        "cores_by_quota": limits.cores_by_quota(),
        "numa_nodes": numa.count(),
        "numa_nodes_of_cores": numa.nodes_of_cores(),
        "memory_bytes": _memory_bytes(),
        "memory_limit_bytes": limits.memory_limit_bytes(),
        **(attempt("Asking NVML for the GPUs", gpu_machine) or {}),
    }


def _os_name() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def _cpu_model() -> str | None:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _torch_facts() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "version"):  # not there, or still being imported
        return {}
    return {
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "cudnn": attempt("Asking for cuDNN's version", torch.backends.cudnn.version),
        "nccl": attempt("Asking for NCCL's version", _nccl_version, torch),
        "triton": _version_of("triton"),
        "torch_threads": torch.get_num_threads(),
    }


@cache
def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _nccl_version(torch: Any) -> str | None:
    """Asked only where torch holds it: on a CPU build the question raises."""
    if not hasattr(torch._C, "_nccl_version"):
        return None
    version = torch.cuda.nccl.version()
    return ".".join(map(str, version)) if isinstance(version, tuple) else str(version)


def _slurm() -> dict[str, str]:
    return _set((name.lower(), (f"SLURM_{name}",)) for name in _SLURM.split())


def _kubernetes() -> dict[str, str]:
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return {}
    return _set(_KUBERNETES.items())


def _set(names: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    """Each by the first of its variables that is set and holds no secret."""
    found: dict[str, str] = {}
    for key, choices in names:
        values = (os.environ[name] for name in choices if os.environ.get(name))
        value = next(values, None)
        if value is not None and _harmless("", value):
            found[key] = value
    return found


def _harmless(name: str, value: str) -> bool:
    secret = _SECRET_NAME.search(name.upper()) or _SECRET_VALUE.search(value)
    return not secret and len(value) <= _LONGEST_VALUE
