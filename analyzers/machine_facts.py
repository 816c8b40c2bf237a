"""What samples of the GPUs and of the training process say over a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from perfkit.analyzers.step_spans import after_the_first
from perfkit.model.capture import GpuFault, GpuSample, HostSample
from perfkit.model.run_facts import ClockReason, GpuFacts, HostFacts, Judgement
from perfkit.trace.capture_records import Records

_REASONS: tuple[tuple[int, str, Judgement], ...] = (
    # bits and their meaning: nvml.h, nvmlClocksEventReasons
    (0x1, "GpuIdle", "ok"),
    (0x2, "ApplicationsClocksSetting", "config"),
    (0x4, "SwPowerCap", "ok"),
    (0x8, "HwSlowdown", "warn"),
    (0x10, "SyncBoost", "config"),
    (0x20, "SwThermalSlowdown", "warn"),
    (0x40, "HwThermalSlowdown", "error"),
    (0x80, "HwPowerBrakeSlowdown", "error"),
    (0x100, "DisplayClockSetting", "ok"),
)
T = TypeVar("T")
_POWER_CAP = 0x4
_MOST_CLOCK_DROP = 0.10  # a loaded GPU at its power cap is normal while its clocks hold
_LEAST_S = 0.5  # counters over less time than this tell of chance


def gpus(records: Records) -> list[GpuFacts]:
    """Each GPU that was sampled or reported a fault."""
    samples, faults = records.of(GpuSample), records.of(GpuFault)
    training = samples_of_steps(records)
    devices = sorted({*(s.device for s in samples), *(f.device for f in faults)})
    return [
        _gpu(
            device,
            [s for s in samples if s.device == device],
            [s for s in training if s.device == device],
            sorted({f.xid for f in faults if f.device == device}),
        )
        for device in devices
    ]


def samples_of_steps(records: Records) -> list[GpuSample]:
    """Those after the first step and before the last one's end; all where no step was seen.

    While a run starts up its GPU idles, and a mean over that time says nothing of the training.
    """
    samples, steps = records.of(GpuSample), after_the_first(records)
    if not len(steps):
        return samples
    first, last = int(steps.start[0]), int(steps.end[0])
    return [sample for sample in samples if first <= sample.t_ns <= last]


def _gpu(
    device: int, samples: list[GpuSample], training: list[GpuSample], xids: list[int]
) -> GpuFacts:
    errors = _known(s.ecc_uncorrected for s in samples)
    return GpuFacts(
        device=device,
        samples=len(training),
        utilization=_mean(s.utilization for s in training),
        memory_used_max_bytes=max(_known(s.memory_used_bytes for s in samples), default=None),
        power_w=_mean(s.power_w for s in training),
        sm_clock_mhz=_mean(s.sm_clock_mhz for s in training),
        sm_clock_max_mhz=max(_known(s.sm_clock_mhz for s in samples), default=None),
        temperature_max_c=max(_known(s.temperature_c for s in samples), default=None),
        reasons=_reasons(training, samples),
        xids=xids,
        ecc_uncorrected=max(errors) - min(errors) if errors else None,
    )


def _reasons(training: list[GpuSample], samples: list[GpuSample]) -> list[ClockReason]:
    held = [s for s in training if s.clock_event_reasons is not None]
    found = []
    for bit, name, judgement in _REASONS:
        under = [s for s in held if (s.clock_event_reasons or 0) & bit]
        fell = bit == _POWER_CAP and _clock_drop(under, samples) > _MOST_CLOCK_DROP
        if under:
            judged: Judgement = "config" if fell else judgement
            share = len(under) / len(held)
            found.append(ClockReason(name=name, share=share, judgement=judged))
    return found


def reasons_of(bits: int) -> list[str]:
    """The names of these bits."""
    return [name for bit, name, _ in _REASONS if bits & bit]


def _clock_drop(under: list[GpuSample], samples: list[GpuSample]) -> float:
    """How far clocks lie under the highest seen, as a share of it."""
    mean = _mean(s.sm_clock_mhz for s in under)
    highest = max(_known(s.sm_clock_mhz for s in samples), default=0.0)
    return 1 - mean / highest if mean is not None and highest else 0.0


def host(records: Records) -> HostFacts | None:
    """The training process while it took steps; None where its samples lie too close for that."""
    samples = sorted(records.of(HostSample), key=lambda sample: sample.t_ns)
    counted = _over_steps(samples)
    seconds = _span_s(counted)
    if seconds < _LEAST_S:
        return None

    def per_s(value: Callable[[HostSample], float | None]) -> float | None:
        known = [(s.t_ns, v) for s in counted if (v := value(s)) is not None]
        if len(known) < 2:
            return None
        (first, low), (last, high) = known[0], known[-1]
        return max(high - low, 0.0) / ((last - first) / 1e9)

    delay, used = per_s(lambda s: s.run_delay_us), per_s(lambda s: s.cpu_us)
    return HostFacts(
        samples=len(samples),
        duration_us=seconds * 1e6,
        run_delay_share=None if delay is None else min(delay / 1e6, 1.0),
        cpu_cores_used=None if used is None else used / 1e6,
        involuntary_switches_per_s=per_s(lambda s: s.involuntary_switches),
        major_faults_per_s=per_s(lambda s: s.major_faults),
        load=_mean(s.load for s in counted),
        cores=max(_known(s.cores for s in samples), default=None),
        machine_cores=max(_known(s.machine_cores for s in samples), default=None),
        rss_max_bytes=max(_known(s.rss_bytes for s in samples), default=None),
    )


def _over_steps(samples: list[HostSample]) -> list[HostSample]:
    """Those between the first step's end and the last one's, as far as they span enough.

    The first sample of a run is taken before its steps, and what comes then is start-up, such as
    of workers that crowd the cores; the last is taken after a trace has been written.
    """
    for some in (samples[1:-1], samples[1:]):
        if _span_s(some) >= _LEAST_S:
            return some
    return samples


def _span_s(samples: list[HostSample]) -> float:
    return (samples[-1].t_ns - samples[0].t_ns) / 1e9 if samples else 0.0


def _known(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return sum(known) / len(known) if known else None
