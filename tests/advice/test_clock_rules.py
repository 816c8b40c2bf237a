"""Rules on clocks and faults of GPUs, from facts and from samples beside a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfkit.analyzers.clock_facts import clocks
from perfkit.api import analyze
from perfkit.model.capture import GpuFault, GpuSample, StepTimes
from perfkit.model.clock_facts import ClockFacts, HeldClock, Holder
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.model.run_facts import GpuFacts
from perfkit.model.setup_facts import SetupFacts
from perfkit.reports.advice import advise
from perfkit.trace.kineto import read_kineto
from tests.advice.builder import diagnosis, matrix
from tests.advice.runs import run
from tests.advice.test_rules import ids
from tests.captures import START_NS, as_read, write_capture
from tests.trace.kineto_text import document, host, kernel

CLOCK_RULES = {"thermal-throttling", "power-capped", "hardware-slowdown", "low-clocks"}
S = 10**9
SETUP: dict[str, Any] = {
    "sm_clock_limit_mhz": 1980.0, "power_limit_w": 700.0, "power_limit_default_w": 700.0,
}  # fmt: skip
REASONS = {"heat": ["HwThermalSlowdown"], "hardware": ["HwPowerBrakeSlowdown"],
           "power": ["SwPowerCap"], "setting": ["ApplicationsClocksSetting"]}  # fmt: skip


def held(holder: Holder, mhz: float, **facts: Any) -> HeldClock:
    usual: dict[str, Any] = {"reasons": REASONS[holder], "samples": 40, "share": 0.4,
                             "kernel_slowdown": 1980 / mhz, "kernels": 12}  # fmt: skip
    return HeldClock(holder=holder, clock_mhz=mhz, **(usual | facts))


def case(
    *of: HeldClock, setup: dict[str, Any] | None = None, name: str = "NVIDIA H100", **free: Any
) -> Diagnosis:
    """100 samples of an H100 with a boost of 1980 MHz, whose step computes all the time."""
    usual: dict[str, Any] = {"free_clock_mhz": 1980.0, "free_utilization": 0.99}
    found = ClockFacts(device=0, samples=100, held=list(of),
                       free_samples=100 - sum(h.samples for h in of), **(usual | free))  # fmt: skip
    return diagnosis(clocks=found, setup=SetupFacts(**(SETUP | (setup or {}))),
                     device={"name": name}, kernel_summary=matrix(6000, 1.0))  # fmt: skip


def faults(*xids: int, ecc: int | None = 0) -> Diagnosis:
    gpu = GpuFacts(device=0, samples=9, xids=list(xids), ecc_uncorrected=ecc)
    return diagnosis(run=run(gpus=[gpu]))


CAPPED = {"power_limit_w": 400.0}
NONE_FREE: dict[str, Any] = {"free_clock_mhz": None, "free_utilization": None}

FIRES = [
    ("thermal-throttling", "half the clock", case(held("heat", 990.0)), "critical"),
    ("thermal-throttling", "a fifth", case(held("heat", 1600.0)), "warning"),
    ("thermal-throttling", "no kernel to compare",
     case(held("heat", 990.0, share=1.0, kernel_slowdown=None), **NONE_FREE), "critical"),
    ("thermal-throttling", "only steps to compare",
     case(held("heat", 990.0, kernel_slowdown=None, step_slowdown=1.9)), "warning"),
    ("power-capped", "a lowered limit", case(held("power", 1300.0), setup=CAPPED), "warning"),
    ("power-capped", "all the time",
     case(held("power", 1300.0, share=1.0, samples=100), setup=CAPPED), "critical"),
    ("hardware-slowdown", "a power brake", case(held("hardware", 800.0)), "critical"),
    ("hardware-slowdown", "a quick power draw",
     case(held("hardware", 990.0, reasons=["HwSlowdown"], share=0.12)), "warning"),
    ("low-clocks", "application clocks",
     case(held("setting", 1200.0, share=1.0, samples=100)), "critical"),
    ("low-clocks", "locked, for no reason that is told", case(free_clock_mhz=1410.0), "warning"),
    ("gpu-faults", "memory", faults(48), "critical"),
    ("gpu-faults", "counted only", faults(ecc=2), "critical"),
    ("gpu-faults", "the program, most likely", faults(31, ecc=None), "warning"),
    ("gpu-faults", "contained", faults(94), "warning"),
    ("gpu-faults", "contained, and therefore counted", faults(94, ecc=1), "warning"),
    ("gpu-faults", "contained, then not", faults(94, 95), "critical"),
    ("gpu-faults", "a program that was ended", faults(45), "info"),
    ("gpu-faults", "another Xid, whose work was cleaned up", faults(45, 31), "warning"),
    ("gpu-faults", "one that is not known here", faults(999), "warning"),
]  # fmt: skip

SILENT = [
    ("thermal-throttling", "full clocks", case()),
    ("thermal-throttling", "not sampled", diagnosis()),
    ("thermal-throttling", "heat that costs a twentieth of the clock", case(held("heat", 1890.0))),
    ("thermal-throttling", "the same kernels were as quick",
     case(held("heat", 1600.0, kernel_slowdown=0.99))),
    ("power-capped", "a loaded GPU at its default limit", case(held("power", 1300.0))),
    ("power-capped", "limits are not known",
     case(held("power", 1300.0), setup={"power_limit_default_w": None})),
    ("power-capped", "a lowered limit that does not bind",
     case(held("power", 1900.0), setup=CAPPED)),
    ("hardware-slowdown", "one sample, as when the power state changes",
     case(held("hardware", 800.0, samples=1, share=0.01))),
    ("hardware-slowdown", "heat tells of it", case(held("heat", 800.0))),
    ("low-clocks", "full clocks", case()),
    ("low-clocks", "application clocks at the highest", case(held("setting", 1980.0))),
    ("low-clocks", "the highest is not known",
     case(held("setting", 1200.0), setup={"sm_clock_limit_mhz": None})),
    ("low-clocks", "a GPU that is used little",
     case(free_clock_mhz=1410.0, free_utilization=0.4)),
    ("low-clocks", "power holds it", case(held("power", 1300.0, share=1.0), **NONE_FREE)),
    ("low-clocks", "the clock of a consumer's card, which boost sets",
     case(free_clock_mhz=1700.0, name="NVIDIA GeForce RTX 4090")),
    ("gpu-faults", "none", faults()),
    ("gpu-faults", "a test and corrected errors", faults(106, 121)),
    ("gpu-faults", "errors are not counted", faults(ecc=None)),
    ("gpu-faults", "not sampled", diagnosis(run=run())),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "found", "severity"), FIRES, ids=ids(FIRES))
def test_fires(code: str, why: str, found: Diagnosis, severity: str) -> None:
    said = {f.code: f for f in advise(found).findings}
    assert code in said, why
    assert said[code].severity == severity
    assert said[code].audience == "infrastructure"
    assert said[code].cost_us <= found.breakdown_us.compute
    assert len(said.keys() & CLOCK_RULES) <= 1
    assert said[code].evidence
    assert said[code].remedy.snippet


@pytest.mark.parametrize(("code", "why", "found"), SILENT, ids=ids(SILENT))
def test_is_silent(code: str, why: str, found: Diagnosis) -> None:
    assert code not in [f.code for f in advise(found).findings], why


def only(found: Diagnosis, code: str) -> Finding:
    return next(f for f in advise(found).findings if f.code == code)


def test_the_cost_is_what_the_same_kernels_took_longer() -> None:
    measured = only(case(held("heat", 990.0, kernel_slowdown=1.25)), "thermal-throttling")
    assert measured.cost_us == pytest.approx(10_000 * 0.4 * 0.2)
    assert "took 1.25 times as long then" in " ".join(e.text for e in measured.evidence)
    bound = only(case(held("heat", 990.0, kernel_slowdown=None)), "thermal-throttling")
    assert bound.cost_us == pytest.approx(6000 * 0.4 * 0.5)  # of the matrix products


@pytest.mark.parametrize(
    ("xid", "word"),
    [(79, "restart the node"), (48, "nvidia-smi -r -i 0"), (31, "compute-sanitizer"),
     (63, "reset the GPU when"), (45, "dmesg")],
)  # fmt: skip
def test_a_fault_has_the_remedy_of_its_kind(xid: int, word: str) -> None:
    remedy = only(faults(xid), "gpu-faults").remedy
    assert word in f"{remedy.text} {remedy.snippet}"


def sample(t_s: float, bits: int, mhz: float, device: int = 0, **more: Any) -> GpuSample:
    return GpuSample(t_ns=START_NS + round(t_s * S), device=device, sm_clock_mhz=mhz,
                     clock_event_reasons=bits, **more)  # fmt: skip


def gpu_trace(slow: float, names: tuple[str, str] = ("gemm", "vectorized_elementwise")) -> str:
    """Ten steps of half a second; kernels take `slow` times as long from 2 s on."""
    events, at = [], 0
    for number in range(10):
        took = round(S // 10 * (slow if at >= 2 * S else 1))
        events.append(host(f"ProfilerStep#{number}", at, S // 2, cat="user_annotation"))
        for i, name in enumerate(names):
            for j in range(2):
                corr = 100 * number + 10 * i + j + 1
                start = at + (2 * i + j) * S // 9
                args = {"correlation": corr}
                events.append(
                    host("cudaLaunchKernel", start, 10_000, cat="cuda_runtime", args=args)
                )
                events.append(kernel(name, start + 20_000, took, args=args))
        at += S // 2
    return document(*events)


def read(path: Path, text: str) -> Any:
    path.write_text(text)
    return read_kineto(str(path))


def test_kernels_and_steps_are_compared_on_the_samples_time_line(tmp_path: Path) -> None:
    trace = read(tmp_path / "t.json", gpu_trace(1.1))
    samples = [sample(t / 2, 0x40 if t >= 4 else 0, 990.0 if t >= 4 else 1980.0,
                      temperature_c=70.0 + t) for t in range(10)]  # fmt: skip
    quick, slow = [1000.0] * 1900, [1500.0] * 1900
    steps = StepTimes(first=20, start_ns=START_NS, wall_us=quick + slow, data_us=[0.0] * 3800)
    found = clocks(trace, as_read(*samples, sample(3, 0x1, 300.0), steps), 0)
    assert found is not None
    assert (found.samples, found.free_samples, found.free_clock_mhz) == (10, 4, 1980.0)
    (hot,) = found.held
    assert (hot.holder, hot.reasons, hot.share) == ("heat", ["HwThermalSlowdown"], 0.6)
    assert (hot.clock_mhz, hot.temperature_max_c) == (990.0, 79.0)
    assert hot.kernel_slowdown == pytest.approx(1.1, rel=0.02)
    assert hot.kernels == 2
    assert hot.step_slowdown == pytest.approx(1.5, rel=0.02)


def test_communication_and_rare_kernels_are_not_compared(tmp_path: Path) -> None:
    text = gpu_trace(1.1, ("ncclDevKernel_AllReduce", "gemm"))
    trace = read(tmp_path / "t.json", text)
    samples = [sample(t / 2, 0x4 if t >= 4 else 0, 1500.0) for t in range(10)]
    found = clocks(trace, as_read(*samples), 0)
    assert found is not None
    assert (found.held[0].holder, found.held[0].kernels) == ("power", 1)
    late = [sample(t / 2, 0x4 if t >= 9 else 0, 1500.0) for t in range(10)]
    few = clocks(trace, as_read(*late), 0)
    assert few is not None
    assert (few.held[0].kernel_slowdown, few.held[0].step_slowdown) == (None, None)


@pytest.mark.parametrize(
    ("bits", "holder"),
    [(0x48, "heat"), (0x20, "heat"), (0x88, "hardware"), (0x8, "hardware"), (0x6, "power"),
     (0x10, "setting")],
)  # fmt: skip
def test_the_gravest_holder_counts(tmp_path: Path, bits: int, holder: str) -> None:
    trace = read(tmp_path / "t.json", gpu_trace(1))
    found = clocks(trace, as_read(sample(0, bits, 900.0), sample(1, 0x100, 1980.0)), 0)
    assert found is not None
    assert [one.holder for one in found.held] == [holder]
    assert found.free_samples == 1


def test_only_the_traces_gpu_counts(tmp_path: Path) -> None:
    trace = read(tmp_path / "t.json", gpu_trace(1))
    both = as_read(sample(0, 0, 1980.0), sample(0, 0x40, 500.0, device=1))
    found = clocks(trace, both, 0)
    assert found is not None
    assert (found.samples, found.held) == (1, [])
    assert clocks(trace, both, None) is None
    assert clocks(trace, as_read(sample(0, 0x1, 300.0)), 0) is None


def test_from_samples_to_the_finding(tmp_path: Path) -> None:
    samples = [sample(t / 2, 0x40 if t >= 4 else 0, 990.0 if t >= 4 else 1980.0)
               for t in range(10)]  # fmt: skip
    hot = analyze(write_capture(tmp_path / "hot", samples, gpu_trace(1.1)))
    assert "thermal-throttling" in [f.code for f in hot.findings]
    free = [msgspec.structs.replace(s, clock_event_reasons=0x4) for s in samples]
    fault = GpuFault(t_ns=START_NS, device=0, xid=79)
    cool = analyze(write_capture(tmp_path / "cool", [*free, fault], gpu_trace(1)))
    assert not {f.code for f in cool.findings} & CLOCK_RULES
    assert "gpu-faults" in [f.code for f in cool.findings]
    assert Diagnosis.from_json(cool.to_json()) == cool
