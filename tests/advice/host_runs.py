"""Recorded runs of which a machine's tools tell: clocks, faults, NUMA nodes, threads, memory.

A case is a table of labels/host.toml. Its program takes `steps` steps (20) of 250 ms, each a copy
to the device of `copy_us` that nothing hides and four kernels that fill the rest; from `slow_from`
on, seconds after the start, kernels take `slow` times as long. `samples` are lines as
`nvidia-smi --query-gpu=...,clocks.sm,clocks_event_reasons.active,temperature.gpu,power.draw
--format=csv,noheader,nounits` prints them, with seconds in place of the time; `xids` and `ecc` are
what the driver reports. `environment` is that of `rank.json`. `allocations` are lines of
milliseconds, size, and what is then allocated and reserved in GB, with a word behind where it
failed; `grows_gb` stays allocated of each step. `ended` and `error` say how the run ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from perfkit.model.capture import GpuFault, GpuSample
from tests.captures import START_NS, write_capture
from tests.trace.kineto_text import allocation, document, host, kernel

MS, S, GB = 10**6, 10**9, 10**9
_STEP_NS = 250 * MS
_KERNELS = ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn",
            "void at::native::vectorized_elementwise_kernel<4>")  # fmt: skip
_GPU = {"id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 80 * GB,
        "computeMajor": 9, "computeMinor": 0}  # fmt: skip


def write(case: dict[str, Any], folder: Path) -> Path:
    """The Capture of this case."""
    ending = {key: case[key] for key in ("ended", "error") if key in case}
    environment = {"gpus": [{"name": _GPU["name"], "memory_bytes": 80 * GB}]}
    return write_capture(
        folder, _records(case), _trace(case),
        environment=environment | case.get("environment", {}), **ending,
    )  # fmt: skip


def _records(case: dict[str, Any]) -> Iterator[msgspec.Struct]:
    errors = case.get("ecc")
    for line in case.get("samples", "").split("\n"):
        if line.strip():
            at, mhz, reasons, celsius, watts = line.split(",")
            yield GpuSample(
                t_ns=START_NS + round(float(at) * S), device=0, sm_clock_mhz=float(mhz),
                clock_event_reasons=int(reasons, 16), temperature_c=float(celsius),
                power_w=float(watts), utilization=0.99, ecc_uncorrected=0 if errors else None,
            )  # fmt: skip
    if errors:
        yield GpuSample(t_ns=START_NS + 9 * S, device=0, ecc_uncorrected=errors)
    for xid in case.get("xids", []):
        yield GpuFault(t_ns=START_NS + S, device=0, xid=xid)


def _trace(case: dict[str, Any]) -> str:
    events, at = [], 0
    for number in range(case.get("steps", 20)):
        slow = case.get("slow", 1.0) if at >= case.get("slow_from", 2.5) * S else 1.0
        step = [*_step(number, at, case.get("copy_us", 0), slow), *_kept(case, number, at)]
        length = round(_STEP_NS * slow)
        events += [host(f"ProfilerStep#{number}", at, length, cat="user_annotation"), *step]
        at += length
    return document(*events, *_allocations(case), before={"deviceProperties": [_GPU]})


def _step(number: int, at: int, copy_us: int, slow: float) -> Iterator[str]:
    """Five launches at once, and on the GPU the copy and the kernels, one after the other."""
    start = at + 20_000
    for i in range(5):
        args = {"correlation": 10 * number + i + 1}
        name = "cudaLaunchKernel" if i else "cudaMemcpyAsync"
        yield host(name, at + 2000 * i, 2000, cat="cuda_runtime", args=args)
        took = round((_STEP_NS * slow - 40_000 - copy_us * 1000) / 4) if i else copy_us * 1000
        if took and i:
            yield kernel(_KERNELS[i % 2], start, took, args=args)
        elif took:
            copied = {"args": args | {"bytes": copy_us * 20_000}, "cat": "gpu_memcpy"}
            yield kernel("Memcpy HtoD (Pinned -> Device)", start, took, **copied)
        start += took


def _kept(case: dict[str, Any], number: int, at: int) -> list[str]:
    grows = case.get("grows_gb")
    if grows is None:
        return []
    held = 20 + grows * number
    return [
        allocation(at + 100 * MS, 10 * GB, round((held + 10) * GB), 60 * GB),
        allocation(at + 200 * MS, -10 * GB, round(held * GB), 60 * GB),
    ]


def _allocations(case: dict[str, Any]) -> Iterator[str]:
    for line in case.get("allocations", "").split("\n"):
        if line.strip():
            at, size, allocated, reserved, *failed = line.split()
            yield allocation(
                round(float(at) * MS),
                *(round(float(gb) * GB) for gb in (size, allocated, reserved)),
                name="[OutOfMemory]" if failed else "[memory]",
            )
