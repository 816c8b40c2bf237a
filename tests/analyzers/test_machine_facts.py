"""GPUs and host over a run, from samples: means of the steps, extremes of all."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.machine_facts import gpus, host
from perfkit.model.capture import GpuFault, GpuSample, HostSample, StepTimes
from tests.captures import as_read

GB = 10**9


def sample(t_s: float, **values: Any) -> GpuSample:
    return GpuSample(t_ns=round(t_s * 1e9), **({"device": 0} | values))


def test_gpu_samples_are_means_extremes_and_shares() -> None:
    found = as_read(
        *(sample(i, utilization=0.5, power_w=300.0, sm_clock_mhz=1400.0 + 100 * (i % 2),
                 temperature_c=60 + i, memory_used_bytes=i * GB,
                 clock_event_reasons=0x40 if i < 3 else 0) for i in range(10)),
        sample(1, device=1),
        GpuFault(t_ns=5, device=0, xid=79),
    )  # fmt: skip
    first, second = gpus(found)
    assert (first.samples, first.utilization, first.power_w) == (10, 0.5, 300.0)
    assert (first.sm_clock_mhz, first.sm_clock_max_mhz) == (1450.0, 1500.0)
    assert (first.temperature_max_c, first.memory_used_max_bytes) == (69.0, 9 * GB)
    assert [(r.name, r.judgement) for r in first.reasons] == [("HwThermalSlowdown", "error")]
    assert first.reasons[0].share == pytest.approx(0.3)
    assert first.xids == [79]
    assert (second.device, second.utilization, second.reasons) == (1, None, [])


def test_means_of_a_gpu_leave_out_start_up_and_end() -> None:
    run = StepTimes(first=0, start_ns=10 * GB, wall_us=[5e6, *[1e5] * 50], data_us=[0.0] * 51)
    busy = {"utilization": 0.9, "power_w": 600.0, "sm_clock_mhz": 1800.0}
    idle = {"utilization": 0.0, "power_w": 70.0, "sm_clock_mhz": 1980.0, "clock_event_reasons": 1}
    seen = [
        *(sample(t, temperature_c=30.0, **idle) for t in range(15)),  # the first step ends at 15 s
        *(sample(t, temperature_c=60.0, memory_used_bytes=GB, clock_event_reasons=0, **busy)
          for t in range(16, 20)),
        *(sample(t, temperature_c=65.0, memory_used_bytes=3 * GB, **idle) for t in range(21, 40)),
    ]  # fmt: skip
    (found,) = gpus(as_read(run, *seen))
    assert (found.samples, found.utilization, found.power_w) == (4, 0.9, 600.0)
    assert (found.sm_clock_mhz, found.reasons) == (1800.0, [])
    assert (found.sm_clock_max_mhz, found.temperature_max_c) == (1980.0, 65.0)
    assert found.memory_used_max_bytes == 3 * GB
    (short,) = gpus(as_read(run, *seen[:15]))
    assert (short.samples, short.utilization, short.memory_used_max_bytes) == (0, None, None)
    (one_step,) = gpus(as_read(StepTimes(first=0, start_ns=0, wall_us=[5e6], data_us=[0.0]), *seen))
    assert (one_step.samples, one_step.utilization) == (6, 0.0)


@pytest.mark.parametrize(
    ("bits", "clock", "name", "judgement"),
    [
        (0x1, 1500.0, "GpuIdle", "ok"),
        (0x2, 1500.0, "ApplicationsClocksSetting", "config"),
        (0x4, 1450.0, "SwPowerCap", "ok"),
        (0x4, 1200.0, "SwPowerCap", "config"),
        (0x8, 1500.0, "HwSlowdown", "warn"),
        (0x20, 1500.0, "SwThermalSlowdown", "warn"),
        (0x80, 1500.0, "HwPowerBrakeSlowdown", "error"),
    ],
)
def test_reasons_are_judged(bits: int, clock: float, name: str, judgement: str) -> None:
    held = [sample(i, clock_event_reasons=bits, sm_clock_mhz=clock) for i in range(4)]
    free = sample(9, clock_event_reasons=0, sm_clock_mhz=1500.0)
    (found,) = gpus(as_read(*held, free))
    assert [(r.name, r.judgement) for r in found.reasons] == [(name, judgement)]
    assert found.reasons[0].share == pytest.approx(0.8)


def test_host_counters_are_differences() -> None:
    found = host(as_read(
        HostSample(t_ns=0, cpu_us=5e6, run_delay_us=1e6, involuntary_switches=100, load=4.0,
                   cores=2, rss_bytes=GB),
        HostSample(t_ns=4 * GB, cpu_us=11e6, run_delay_us=2e6, involuntary_switches=300, load=6.0,
                   cores=2, rss_bytes=3 * GB),
    ))  # fmt: skip
    assert found is not None
    assert found.run_delay_share == pytest.approx(0.25)
    assert found.cpu_cores_used == pytest.approx(1.5)
    assert found.involuntary_switches_per_s == pytest.approx(50)
    assert (found.load, found.cores, found.rss_max_bytes) == (5.0, 2, 3 * GB)
    assert found.major_faults_per_s is None


def test_host_leaves_out_what_came_before_and_after_the_steps() -> None:
    delays_s = [0.0, 0.9, 1.0, 1.1, 4.0]  # workers start before the second, a trace is packed last
    samples = [
        HostSample(t_ns=t * GB, run_delay_us=delay * 1e6, load=float(t))
        for t, delay in enumerate(delays_s)
    ]
    found = host(as_read(*samples))
    assert found is not None
    assert found.run_delay_share == pytest.approx(0.1)
    assert (found.duration_us, found.samples, found.load) == (2e6, 5, 2.0)
    short = host(as_read(*samples[:2], HostSample(t_ns=2 * GB, run_delay_us=1.4e6)))
    assert short is not None
    assert short.run_delay_share == pytest.approx(0.5)


def test_host_says_nothing_of_an_instant() -> None:
    one = HostSample(t_ns=0, run_delay_us=1.0)
    assert host(as_read(one)) is None
    assert host(as_read(one, HostSample(t_ns=1000, run_delay_us=2.0))) is None
