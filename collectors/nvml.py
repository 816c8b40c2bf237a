"""GPU counters once a second: how busy, how hot, how fast, and what the driver complains of."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from perfkit.collectors.gpu_readings import Gpu
from perfkit.collectors.gpus import (
    NoDriver,
    NoGpus,
    by_uuid,
    is_rocm,
    nvml,
    used_by_torch,
    visible,
)
from perfkit.collectors.guard import attempt, log, say_once
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.model.capture import GpuFault, GpuSample, Sight

_PERIOD_S = 1.0
_ERRORS_EVERY_S = 60.0
_STOP_S = 2.0
_MOST_FAULTS = 20
"""In one look: a broken GPU repeats itself."""

_ROCM = "This torch is built for ROCm, and NVML sees no AMD GPU: watch them with amd-smi."
_NONE_VISIBLE = "No GPU is visible to this process: check CUDA_VISIBLE_DEVICES."
_MANY = (
    "Several GPUs are visible, and which is used is known only once torch uses it: "
    "run a script, or choose with CUDA_VISIBLE_DEVICES."
)
_DEAF = "Xid errors are not reported to this process: find them with dmesg | grep Xid."
_UNLIKE = (
    "The GPUs here are unlike, so their numbers are known only once torch uses one: "
    "set CUDA_DEVICE_ORDER=PCI_BUS_ID to number them by slot."
)
_SLICE = (
    "A MIG slice's utilization, power and links are not told by NVML: "
    "watch them with DCGM (dcgmi dmon)."
)
_COUNTERS = {
    "utilization": "utilization",
    "memory_used_bytes": "memory",
    "power_w": "power",
    "energy_j": "energy",
    "sm_clock_mhz": "clocks",
    "temperature_c": "temperature",
    "clock_event_reasons": "clock event reasons",
    "nvlink_tx_bytes": "NVLink bytes",
    "pcie_tx_bytes": "PCIe bytes",
    "ecc_uncorrected": "ECC errors",
}
_NOT_EVERYWHERE = {"nvlink_tx_bytes", "ecc_uncorrected"}
"""Absent from many GPUs by design, which is no loss."""


class Nvml:
    """Samples the GPUs this process uses, in a thread of its own.

    Until torch has reserved memory on a GPU it is the one of the local rank, or the only one
    visible. A forked child has no such thread, and samples nothing.
    """

    name = "nvml"

    def __init__(self, period_s: float = _PERIOD_S) -> None:
        self._period_s = period_s
        self._records: RecordFile | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._owner = os.getpid()
        self._local_rank: int | None = None
        self._used: list[tuple[int, str]] | None = None
        self._errors_due = 0.0

    def sight(self) -> Sight:
        """Takes one sample to see what the GPUs here tell; tens of milliseconds."""
        if is_rocm():
            return Sight(collector=self.name, active=False, missing=[_ROCM])
        try:
            with nvml() as module:
                return self._seen(module, self._gpus(module))
        except NoGpus as reason:
            return Sight(collector=self.name, active=False, missing=[str(reason)])

    def start(self, run: Run) -> None:
        """Start sampling, where there is anything to sample."""
        self._owner, self._local_rank = os.getpid(), run.local_rank
        if is_rocm():
            log.info("perfkit: %s", _ROCM)
            return
        self._records = run.records("nvml")
        self._thread = threading.Thread(
            target=attempt,
            args=("Sampling the GPUs", self._work),
            name="perfkit-nvml",
            daemon=True,
        )
        self._thread.start()

    def tick(self) -> None:
        """Ask torch, until it says, which GPUs it uses."""
        if self._used is None and self._thread is not None:
            self._used = attempt("Asking torch which GPUs it uses", used_by_torch)

    def stop(self) -> None:
        """Take a last sample; a thread that hangs in the driver is left behind."""
        if self._thread is None or os.getpid() != self._owner:
            return
        self._stopping.set()
        self._thread.join(_STOP_S)
        if self._records is not None:
            self._records.close()

    def _work(self) -> None:
        try:
            with nvml() as module:
                self._watch(module)
        except NoDriver as reason:  # as on most machines without a GPU
            log.info("perfkit: %s", reason)
        except NoGpus as reason:
            say_once(str(reason))

    def _watch(self, module: Any) -> None:
        used, gpus = self._used, self._listening(module)
        self._look(gpus, with_errors=True)
        while not self._stopping.wait(self._period_s):
            if self._used is not used:
                used, gpus = self._used, self._listening(module)
            self._look(gpus, with_errors=time.monotonic() >= self._errors_due)
        self._look(gpus, with_errors=True)

    def _listening(self, module: Any) -> list[Gpu]:
        self._errors_due = 0.0
        gpus = self._gpus(module)
        for gpu in gpus:
            gpu.listen()
        return gpus

    def _gpus(self, module: Any) -> list[Gpu]:
        """The GPUs of this process, as far as is known now."""
        shown = visible(module)
        if self._used is not None:
            named = [(i, _handle(module, uuid) or _at(shown, i)) for i, uuid in self._used]
        elif len(shown) == 1:
            named = [(0, shown[0])]
        else:
            rank = self._local_rank
            named = [] if rank is None else [(rank, _at(shown, rank))]
        return [Gpu(module, handle, device) for device, handle in named if handle is not None]

    def _look(self, gpus: list[Gpu], *, with_errors: bool) -> None:
        if with_errors:
            self._errors_due = time.monotonic() + _ERRORS_EVERY_S
        for gpu in gpus:
            if not gpu.is_lost:
                self._add(gpu.sample(with_errors=with_errors))
                self._report_faults(gpu)

    def _report_faults(self, gpu: Gpu) -> None:
        for _ in range(_MOST_FAULTS):
            xid = gpu.next_fault()
            if xid is None:
                break
            self._add(GpuFault(t_ns=time.time_ns(), device=gpu.device, xid=xid))
        if gpu.is_lost:
            say_once(f"GPU {gpu.device} does not answer any more: reset it or drain this machine.")

    def _add(self, record: GpuSample | GpuFault) -> None:
        if self._records is not None:
            self._records.add(record)

    def _seen(self, module: Any, gpus: list[Gpu]) -> Sight:
        """What one sample of the first of them tells."""
        if not gpus:
            shown = _blind(module)
            return Sight(collector=self.name, active=False, missing=[shown])
        gpu = gpus[0]
        sample = gpu.sample(with_errors=True)
        known = [key for key in _COUNTERS if getattr(sample, key) is not None]
        hears = gpu.listen()
        return Sight(
            collector=self.name,
            active=bool(known),
            sees=[*(_COUNTERS[key] for key in known), *(["Xid errors"] if hears else [])],
            missing=[*_not_told(gpu, known), *([] if hears else [_DEAF])],
        )


def _not_told(gpu: Gpu, known: list[str]) -> list[str]:
    if gpu.is_slice:
        return [_SLICE]
    absent = [_COUNTERS[key] for key in _COUNTERS if key not in {*known, *_NOT_EVERYWHERE}]
    if not absent:
        return []
    return [f"Not told by this GPU or its driver ({', '.join(absent)}): a newer driver may."]


def _blind(module: Any) -> str:
    """Why no GPU is known to be this process's."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") is not None and not visible(module):
        return _NONE_VISIBLE
    return _UNLIKE if not visible(module) else _MANY


def _handle(module: Any, uuid: str) -> Any:
    """By what torch calls a UUID, which lacks the prefix of NVML's."""
    return uuid and (by_uuid(module, f"GPU-{uuid}") or by_uuid(module, f"MIG-{uuid}"))


def _at(handles: list[Any], index: int) -> Any:
    return handles[index] if index < len(handles) else None
