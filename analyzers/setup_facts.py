"""What `rank.json` says of a run's environment, as far as advice rests on it."""

from __future__ import annotations

from typing import Any

from perfkit.model.capture import GpuSample, RankFile
from perfkit.model.setup_facts import SetupFacts
from perfkit.trace.capture_records import Records


def setup(facts: RankFile | None, records: Records) -> SetupFacts | None:
    """The settings of one rank; None where it left none."""
    if facts is None or not facts.environment:
        return None
    known = facts.environment
    gpu = _gpu(known, records)
    return SetupFacts(
        torch=_text(known.get("torch")),
        threads=_whole(known.get("torch_threads")),
        local_ranks=_local_ranks(known),
        cores=_whole(known.get("cores")),
        machine_cores=_whole(known.get("cpu_count")),
        cores_by_quota=_number(known.get("cores_by_quota")),
        variables={k: v for k, v in _table(known.get("variables")).items() if isinstance(v, str)},
        gpu_memory_bytes=_whole(gpu.get("memory_bytes")),
        gpu_node=_whole(gpu.get("numa_node")),
        core_nodes=[n for n in _list(known.get("numa_nodes_of_cores")) if isinstance(n, int)],
        nodes=_whole(known.get("numa_nodes")),
        power_limit_w=_number(gpu.get("power_limit_w")),
        power_limit_default_w=_number(gpu.get("power_limit_default_w")),
        sm_clock_limit_mhz=_number(gpu.get("sm_clock_limit_mhz")),
    )


def _local_ranks(known: dict[str, Any]) -> int | None:
    """As torchrun says it, or Slurm where it was asked for the same number on each node."""
    told = _table(known.get("variables")).get("LOCAL_WORLD_SIZE")
    text = str(told or _table(known.get("slurm")).get("ntasks_per_node") or "")
    return int(text) or None if text.isascii() and text.isdigit() else None


def _gpu(known: dict[str, Any], records: Records) -> dict[str, Any]:
    """The GPU this rank used, by its UUID; without one only where there is but one GPU."""
    all_gpus = [gpu for gpu in _list(known.get("gpus")) if isinstance(gpu, dict)]
    used = {sample.uuid for sample in records.of(GpuSample)} - {None}
    mine = [gpu for gpu in all_gpus if gpu.get("uuid") in used]
    if len(mine) == 1:
        return mine[0]
    return all_gpus[0] if len(all_gpus) == 1 else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value > 0 else None  # type: ignore[arg-type, operator]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
