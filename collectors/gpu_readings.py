"""One reading of one NVIDIA GPU: every counter on its own, for any may be absent."""

from __future__ import annotations

import time
from typing import Any

from perfkit.collectors.gpus import text_of
from perfkit.model.capture import GpuSample

_REFUSED_FOR_GOOD = {1, 2, 3, 4, 13, 22, 25, 26}
"""NVML errors that no second question mends: uninitialized, invalid argument, not supported, no
permission, function not found, no ECC on vGPU, argument version, deprecated."""
_LOST = {15, 16}
"""GPU is lost, reset required."""

_ALL_LINKS = 0xFFFFFFFF
_POWER, _LINK_TX, _LINK_RX, _PCIE_TX, _PCIE_RX = 186, 138, 139, 197, 198
_FIELDS = {_POWER: 0, _LINK_TX: _ALL_LINKS, _LINK_RX: _ALL_LINKS, _PCIE_TX: 0, _PCIE_RX: 0}
"""Scope by number in nvml.h: POWER_INSTANT (POWER_AVERAGE costs milliseconds),
NVLINK_THROUGHPUT_DATA_TX and RX (KiB), PCIE_COUNT_TX_BYTES and RX."""
_VALUES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
_NARROW = {1, 5, 6}
"""Value types of 32 bits or fewer: at PCIe's speed such a counter wraps within a second."""
_SM, _MEMORY = 1, 2
_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE = 0


class Gpu:
    """One GPU, or one MIG slice of it, as CUDA device `device` of this process.

    What NVML refuses for good is not asked again.
    """

    def __init__(self, module: Any, handle: Any, device: int) -> None:
        self._nvml = module
        self._handle = handle
        self.device = device
        self.is_lost = False
        self._refused: set[tuple[Any, ...]] = set()
        board = self._ask(handle, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle")
        self.is_slice = board is not None
        self._board = board if self.is_slice else handle
        uuid = self._ask(handle, "nvmlDeviceGetUUID")
        self.uuid = None if uuid is None else text_of(uuid)
        self._fields = {} if self.is_slice else dict(_FIELDS)
        self._events: Any = None

    def sample(self, *, with_errors: bool = False) -> GpuSample:
        """Read it; of a MIG slice only its memory, and what the whole board has in common."""
        fields, used = self._read_fields(), self._own("nvmlDeviceGetUtilizationRates")
        energy, memory = (
            self._own("nvmlDeviceGetTotalEnergyConsumption"),
            self._ask(self._handle, "nvmlDeviceGetMemoryInfo"),
        )
        return GpuSample(
            t_ns=time.time_ns(),
            device=self.device,
            uuid=self.uuid,
            utilization=None if used is None else used.gpu / 100,
            memory_utilization=None if used is None else used.memory / 100,
            memory_used_bytes=None if memory is None else int(memory.used),
            power_w=_thousandth(self._power(fields)),
            energy_j=_thousandth(energy),
            sm_clock_mhz=self._ask(self._board, "nvmlDeviceGetClockInfo", _SM),
            memory_clock_mhz=self._ask(self._board, "nvmlDeviceGetClockInfo", _MEMORY),
            temperature_c=self._ask(self._board, "nvmlDeviceGetTemperature", 0),
            clock_event_reasons=self._reasons(),
            nvlink_tx_bytes=_kibibytes(fields.get(_LINK_TX)),
            nvlink_rx_bytes=_kibibytes(fields.get(_LINK_RX)),
            pcie_tx_bytes=fields.get(_PCIE_TX),
            pcie_rx_bytes=fields.get(_PCIE_RX),
            ecc_corrected=self._errors(_CORRECTED) if with_errors else None,
            ecc_uncorrected=self._errors(_UNCORRECTED) if with_errors else None,
        )

    def listen(self) -> bool:
        """Have the driver keep this GPU's Xid errors for `next_fault`; False if it will not."""
        try:
            events = self._nvml.nvmlEventSetCreate()
            kind = self._nvml.nvmlEventTypeXidCriticalError
            self._nvml.nvmlDeviceRegisterEvents(self._board, kind, events)
        except (AttributeError, self._nvml.NVMLError):
            return False
        self._events = events
        return True

    def next_fault(self) -> int | None:
        """The Xid of the next error since, or None; returns at once."""
        if self._events is None:
            return None
        found = self._ask(self._events, "nvmlEventSetWait", 0)
        return None if found is None else int(found.eventData)

    def _ask(self, handle: Any, function: str, *args: Any) -> Any:
        """The driver's answer, or None."""
        if (function, *args) in self._refused:
            return None
        call = getattr(self._nvml, function, None)
        if call is None:  # an older pynvml
            self._refused.add((function, *args))
            return None
        try:
            return call(handle, *args)
        except self._nvml.NVMLError as error:
            code = getattr(error, "value", None)
            self.is_lost |= code in _LOST
            if code in _REFUSED_FOR_GOOD:
                self._refused.add((function, *args))
            return None

    def _own(self, function: str) -> Any:
        """What the board knows only as a whole is nothing that one slice of it did."""
        return None if self.is_slice else self._ask(self._handle, function)

    def _power(self, fields: dict[int, int]) -> Any:
        return fields[_POWER] if _POWER in fields else self._own("nvmlDeviceGetPowerUsage")

    def _reasons(self) -> int | None:
        for word in ("Event", "Throttle"):  # its name since driver 535, and before
            found = self._ask(self._board, f"nvmlDeviceGetCurrentClocks{word}Reasons")
            if found is not None:
                return int(found)
        return None

    def _errors(self, kind: int) -> Any:
        return self._ask(self._board, "nvmlDeviceGetTotalEccErrors", kind, _VOLATILE)

    def _read_fields(self) -> dict[int, int]:
        """Value by field, of those that are there; one call to the driver."""
        asked = tuple(self._fields.items())
        found = self._ask(self._handle, "nvmlDeviceGetFieldValues", asked) if asked else None
        values = {}
        for (number, _), field in zip(asked, found or (), strict=False):
            narrow = number != _POWER and field.valueType in _NARROW
            if field.nvmlReturn in _REFUSED_FOR_GOOD or (field.nvmlReturn == 0 and narrow):
                del self._fields[number]
            elif field.nvmlReturn == 0:
                values[number] = int(getattr(field.value, _VALUES[field.valueType]))
        return values


def _thousandth(value: Any) -> float | None:
    return None if value is None else value / 1000


def _kibibytes(value: int | None) -> int | None:
    return None if value is None else value * 1024
