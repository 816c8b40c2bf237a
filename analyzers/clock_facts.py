"""What held the GPU's clock down, against kernels and steps on the same time line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from perfkit.analyzers.kernel_names import kind_of
from perfkit.analyzers.machine_facts import reasons_of, samples_of_steps
from perfkit.analyzers.names import used
from perfkit.model.capture import GpuSample, StepTimes
from perfkit.model.clock_facts import ClockFacts, HeldClock, Holder
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Bools, Int64s, Kind, Trace
from perfkit.trace.capture_records import Records

_IDLE, _POWER, _HARDWARE, _HEAT, _BRAKE = 0x1, 0x4, 0x8, 0x20 | 0x40, 0x80
_SETTING = 0x2 | 0x10
_HOLDERS: tuple[Holder, ...] = ("heat", "hardware", "power", "setting")
_FREE = len(_HOLDERS)
_NEAR_NS = 1_000_000_000  # samples come once a second
_FEWEST = 5  # of each kind that are compared
Floats = NDArray[np.float64]
_Compared = list[tuple[float | None, int]]


def clocks(trace: Trace, records: Records, device: int | None) -> ClockFacts | None:
    """The clock of the GPU that the trace is of; None where it was not sampled at work."""
    samples = _at_work(records, device)
    if not samples:
        return None
    state = np.array([_holder(sample.clock_event_reasons or 0) for sample in samples])
    times = np.array([sample.t_ns for sample in samples], dtype=np.int64)
    held = [code for code in range(_FREE) if (state == code).any()]
    kernels = _kernels(trace, times, state) if held else []
    steps = _steps(records, times, state)
    free = [s for s, of in zip(samples, state, strict=True) if of == _FREE]
    return ClockFacts(
        device=samples[0].device,
        samples=len(samples),
        free_samples=len(free),
        free_clock_mhz=_median(s.sm_clock_mhz for s in free),
        free_utilization=_median(s.utilization for s in free),
        held=[
            _held(code, [s for s, of in zip(samples, state, strict=True) if of == code],
                  len(samples), kernels, steps)
            for code in held
        ],
    )  # fmt: skip


def _at_work(records: Records, device: int | None) -> list[GpuSample]:
    """Samples with clock and reasons of this GPU, or of the only one; an idle GPU's say nothing."""
    found = [
        s for s in samples_of_steps(records)
        if s.sm_clock_mhz is not None and s.clock_event_reasons is not None
    ]  # fmt: skip
    if len({s.device for s in found}) > 1:
        found = [s for s in found if s.device == device]
    at_work = [s for s in found if not (s.clock_event_reasons or 0) & _IDLE]
    return sorted(at_work, key=lambda sample: sample.t_ns)


def _holder(bits: int) -> int:
    """The first of what holds the clock; slowed hardware that is hot is heat's."""
    hardware = bits & _BRAKE or (bits & _HARDWARE and not bits & _HEAT)
    holds = (bits & _HEAT, hardware, bits & _POWER, bits & _SETTING)
    return next((code for code, is_so in enumerate(holds) if is_so), _FREE)


def _held(
    code: int, samples: list[GpuSample], of: int, kernels: _Compared, steps: Floats
) -> HeldClock:
    slowdown, names = kernels[code]
    bits = np.bitwise_or.reduce([sample.clock_event_reasons or 0 for sample in samples])
    temperatures = [s.temperature_c for s in samples if s.temperature_c is not None]
    return HeldClock(
        holder=_HOLDERS[code],
        reasons=reasons_of(int(bits)),
        samples=len(samples),
        share=len(samples) / of,
        clock_mhz=float(np.mean([s.sm_clock_mhz for s in samples if s.sm_clock_mhz is not None])),
        temperature_max_c=max(temperatures, default=None),
        power_w=_median(s.power_w for s in samples),
        kernel_slowdown=slowdown,
        kernels=names,
        step_slowdown=None if np.isnan(steps[code]) else float(steps[code]),
    )


def _kernels(trace: Trace, times: Int64s, state: Int64s) -> _Compared:
    """By holder: how much longer kernels took than those of the same names did free, and names."""
    rows = np.flatnonzero((trace.kind == Kind.KERNEL) & ~_waiting(trace)[trace.name])
    of = _state_at(trace.ts[rows] + trace.info.base_ns, times, state)
    size = len(trace.names)
    free_count, free_time = _sums(trace, rows[of == _FREE], size)
    return [
        _slowdown(*_sums(trace, rows[of == code], size), free_count, free_time)
        for code in range(_FREE)
    ]


def _waiting(trace: Trace) -> Bools:
    """Names of communication, whose time is other ranks' too."""
    found = np.zeros(len(trace.names), dtype=np.bool_)
    for name in used(trace, trace.kind == Kind.KERNEL):
        found[name] = kind_of(trace.names[name]) is KernelKind.COMMUNICATION
    return found


def _sums(trace: Trace, rows: Int64s, size: int) -> tuple[Int64s, Floats]:
    """Number and time of kernels by name; shape (names,)."""
    names = trace.name[rows]
    time = np.bincount(names, trace.dur[rows].astype(np.float64), size)
    return np.bincount(names, minlength=size), time.astype(np.float64)


def _slowdown(
    count: Int64s, time: Floats, free_count: Int64s, free_time: Floats
) -> tuple[float | None, int]:
    both = (count >= _FEWEST) & (free_count >= _FEWEST) & (free_time > 0)
    if not both.any():
        return None, 0
    expected = count[both] * free_time[both] / free_count[both]
    return float(time[both].sum() / expected.sum()), int(both.sum())


def _steps(records: Records, times: Int64s, state: Int64s) -> Floats:
    """By holder: the median unprofiled step as a multiple of the free ones'; nan where unknown."""
    found = list(_unprofiled(records))
    at, wall = (np.concatenate([one[i] for one in found]) if found else np.empty(0) for i in (0, 1))
    of = _state_at(at.astype(np.int64), times, state)
    walls = [wall[of == code] for code in range(_FREE + 1)]
    usual = np.median(walls[_FREE]) if len(walls[_FREE]) >= _FEWEST else np.nan
    medians = [np.median(w) if len(w) >= _FEWEST else np.nan for w in walls[:_FREE]]
    return np.array(medians) / usual


def _unprofiled(records: Records) -> Iterator[tuple[Floats, Floats]]:
    """Middles in nanoseconds since the epoch, and wall times, of each block of steps."""
    for block in records.of(StepTimes):
        wall = np.array(block.wall_us, dtype=np.float64)
        if not block.profiled and np.isfinite(wall).all():
            yield block.start_ns + (np.cumsum(wall) - wall / 2) * 1000, wall


def _state_at(at: Int64s, times: Int64s, state: Int64s) -> Int64s:
    """The state of the nearest sample, -1 where none is near."""
    after = np.clip(np.searchsorted(times, at), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    nearest = np.where(at - times[before] <= times[after] - at, before, after)
    return np.where(np.abs(times[nearest] - at) <= _NEAR_NS, state[nearest], -1)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
