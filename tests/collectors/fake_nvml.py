"""A stand-in for pynvml, with its errors, byte strings, absent functions and MIG slices."""

# ruff: noqa: N802, N815 (the names are those of pynvml)

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, LOST = 3, 4, 10, 15
UINT, ULL = 1, 3


class NVMLError(Exception):
    """Carries the number of nvml.h as `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


@dataclass(eq=False)
class Handle:
    uuid: str
    name: str = "NVIDIA H100"
    parent: Handle | None = None
    slices: list[Handle] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    """NVML error by function."""
    fields: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """(return code, value type, value) by field."""
    xids: list[int] = field(default_factory=list)


def h100(uuid: str = "GPU-aaaa1111", **more: Any) -> Handle:
    fields = {186: (0, UINT, 350_000), 138: (0, ULL, 5), 139: (0, ULL, 6), 197: (0, ULL, 70),
              198: (0, ULL, 80)}  # fmt: skip
    return Handle(uuid, fields=fields, **more)


class FakeNvml:
    """`handles` are the GPUs by PCI order; `calls` counts what was asked."""

    NVMLError = NVMLError
    nvmlEventTypeXidCriticalError = 8

    def __init__(self, *handles: Handle, init_error: int | None = None, old: bool = False) -> None:
        self.handles = handles
        self.init_error = init_error
        self.old = old
        self.calls: Counter[str] = Counter()
        self.open = 0

    def __getattribute__(self, name: str) -> Any:
        old = object.__getattribute__(self, "__dict__").get("old")
        new = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetMigMode",
               "nvmlDeviceGetDeviceHandleFromMigDeviceHandle"}  # fmt: skip
        if old and name in new:
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    def _asked(self, function: str, handle: Handle | None = None) -> None:
        self.calls[function] += 1
        if handle is not None and function in handle.errors:
            raise NVMLError(handle.errors[function])

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise NVMLError(self.init_error)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"550.54.15"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.handles)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        return self.handles[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Handle:
        every = [*self.handles, *(s for h in self.handles for s in h.slices)]
        for handle in every:
            if handle.uuid == uuid:
                return handle
        raise NVMLError(6)

    def nvmlDeviceGetName(self, handle: Handle) -> str | bytes:
        return handle.name.encode() if self.old else handle.name

    def nvmlDeviceGetUUID(self, handle: Handle) -> str | bytes:
        return handle.uuid.encode() if self.old else handle.uuid

    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]:
        on = int(bool(handle.slices))
        return [on, on]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle:
        return handle.slices[index]

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Handle) -> Handle:
        if handle.parent is None:
            raise NVMLError(2)
        return handle.parent

    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any:
        self._asked("nvmlDeviceGetUtilizationRates", handle)
        return SimpleNamespace(gpu=87, memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> Any:
        self._asked("nvmlDeviceGetMemoryInfo", handle)
        return SimpleNamespace(used=1 << 30, total=80 << 30)

    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:
        self._asked("nvmlDeviceGetPowerUsage", handle)
        return 300_000

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:
        return 700_000

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Handle) -> int:
        return 700_000

    def nvmlDeviceGetMaxClockInfo(self, handle: Handle, kind: int) -> int:
        return {1: 1980}[kind]

    def nvmlDeviceGetPciInfo(self, handle: Handle) -> Any:
        return SimpleNamespace(busId="00000000:65:00.0")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:
        self._asked("nvmlDeviceGetTotalEnergyConsumption", handle)
        return 12_345

    def nvmlDeviceGetClockInfo(self, handle: Handle, kind: int) -> int:
        self._asked("nvmlDeviceGetClockInfo", handle)
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:
        self._asked("nvmlDeviceGetTemperature", handle)
        return 54

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Handle) -> int:
        self._asked("nvmlDeviceGetCurrentClocksEventReasons", handle)
        return 0x4

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Handle) -> int:
        self._asked("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return 0x4

    def nvmlDeviceGetTotalEccErrors(self, handle: Handle, kind: int, counter: int) -> int:
        self._asked("nvmlDeviceGetTotalEccErrors", handle)
        return kind

    def nvmlDeviceGetFieldValues(self, handle: Handle, asked: Any) -> list[Any]:
        self._asked("nvmlDeviceGetFieldValues", handle)
        return [self._field(handle, number, scope) for number, scope in asked]

    def _field(self, handle: Handle, number: int, scope: int) -> Any:
        self._asked(f"field {number}")
        code, kind, value = handle.fields.get(number, (NOT_SUPPORTED, ULL, 0))
        links = {138, 139}
        if number in links and scope != 0xFFFFFFFF:
            value = 0  # one link's part
        held = SimpleNamespace(uiVal=value, ullVal=value)
        return SimpleNamespace(nvmlReturn=code, valueType=kind, value=held)

    def nvmlDeviceGetPcieThroughput(self, handle: Handle, counter: int) -> int:
        raise AssertionError("this blocks for 20 ms")

    def nvmlDeviceGetP2PStatus(self, first: Handle, second: Handle, index: int) -> int:
        self._asked("nvmlDeviceGetP2PStatus", first)
        return 0

    def nvmlDeviceGetTopologyCommonAncestor(self, first: Handle, second: Handle) -> int:
        return 50

    def nvmlEventSetCreate(self) -> list[Handle]:
        return []

    def nvmlDeviceRegisterEvents(self, handle: Handle, kinds: int, events: list[Handle]) -> None:
        self._asked("nvmlDeviceRegisterEvents", handle)
        events.append(handle)

    def nvmlEventSetWait(self, events: list[Handle], timeout_ms: int) -> Any:
        assert timeout_ms == 0
        for handle in events:
            if handle.xids:
                return SimpleNamespace(eventData=handle.xids.pop(0))
        raise NVMLError(TIMEOUT)
