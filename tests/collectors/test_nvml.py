"""GPU counters: of the right GPU, absent where NVML does not tell, and never in the run's way."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perfkit.collectors import gpus, guard, numa
from perfkit.collectors.gpu_readings import Gpu
from perfkit.collectors.nvml import Nvml
from perfkit.collectors.protocol import Run
from perfkit.model.capture import GpuFault, GpuSample, Record
from tests.collectors.fake_nvml import LOST, NO_PERMISSION, NOT_SUPPORTED, FakeNvml, Handle, h100

A, B, C = "GPU-aaaa1111", "GPU-bbbb2222", "GPU-cccc3333"
Install = Callable[..., FakeNvml]


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test puts there: other tests of this process may have imported torch."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(guard, "_said", set())


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(*handles: Handle, **more: Any) -> FakeNvml:
        fake = FakeNvml(*handles, **more)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return put


def records(folder: Path) -> list[Any]:
    path = folder / "nvml.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Record) for line in lines]


def collect(folder: Path, steps: int = 1, local_rank: int | None = None) -> list[Any]:
    collector = Nvml(period_s=0.01)
    collector.start(Run(folder=folder, local_rank=local_rank))
    for _ in range(steps):
        collector.tick()
        time.sleep(0.03)
    collector.stop()
    return records(folder)


def fake_torch(*used: int, uuids: tuple[str, ...] = (), initialized: bool = True) -> Any:
    def stats(device: int) -> dict[str, Any]:
        return {"reserved_bytes": {"all": {"peak": 1 if device in used else 0}}}

    def properties(device: int) -> Any:
        return SimpleNamespace(uuid=uuids[device]) if uuids else SimpleNamespace()

    cuda = SimpleNamespace(
        is_initialized=lambda: initialized,
        device_count=lambda: 3,
        memory=SimpleNamespace(memory_stats_as_nested_dict=stats),
        get_device_properties=properties,
    )
    return SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.4", hip=None))


def test_everything_that_nvml_tells_is_recorded(install: Install, tmp_path: Path) -> None:
    fake = install(h100())
    samples = collect(tmp_path)
    assert len(samples) >= 2
    t_ns = samples[0].t_ns
    assert abs(t_ns - time.time_ns()) < 60e9
    assert samples[0] == GpuSample(
        t_ns=t_ns,
        device=0,
        uuid=A,
        utilization=0.87,
        memory_utilization=0.01,
        memory_used_bytes=1 << 30,
        power_w=350.0,
        energy_j=12.345,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        temperature_c=54,
        clock_event_reasons=4,
        nvlink_tx_bytes=5 * 1024,
        nvlink_rx_bytes=6 * 1024,
        pcie_tx_bytes=70,
        pcie_rx_bytes=80,
        ecc_corrected=0,
        ecc_uncorrected=1,
    )
    assert samples[1].ecc_corrected is None  # once a minute, at the start and at the end
    assert samples[-1].ecc_corrected == 0
    assert fake.open == 0
    assert fake.calls["nvmlDeviceGetPowerUsage"] == 0


def test_a_counter_that_is_refused_is_absent_and_not_asked_again(
    install: Install, tmp_path: Path
) -> None:
    gpu = h100(
        errors={
            "nvmlDeviceGetUtilizationRates": NOT_SUPPORTED,
            "nvmlDeviceGetClockInfo": 4,
            "nvmlDeviceGetTemperature": 999,
        }
    )
    del gpu.fields[138]
    fake = install(gpu)
    samples = collect(tmp_path, steps=2)
    assert len(samples) >= 3
    for sample in samples:
        assert (sample.utilization, sample.memory_utilization, sample.sm_clock_mhz) == (None,) * 3
        assert (sample.nvlink_tx_bytes, sample.nvlink_rx_bytes) == (None, 6 * 1024)
        assert sample.memory_used_bytes == 1 << 30
    assert fake.calls["nvmlDeviceGetUtilizationRates"] == 1
    assert fake.calls["nvmlDeviceGetClockInfo"] == 2  # one of each kind
    assert fake.calls["field 138"] == 1
    assert fake.calls["nvmlDeviceGetTemperature"] == len(samples)  # an unknown error may pass


def test_a_byte_counter_that_wraps_within_a_second_is_absent(install: Install) -> None:
    gpu = h100()
    gpu.fields[197] = (0, 1, 4_000_000_000)
    sample = Gpu(install(gpu), gpu, 0).sample()
    assert (sample.pcie_tx_bytes, sample.pcie_rx_bytes) == (None, 80)


def test_old_drivers_have_other_names_and_bytes(install: Install, tmp_path: Path) -> None:
    gpu = Handle(A)  # and no field values
    fake = install(gpu, old=True)
    sample = collect(tmp_path)[0]
    assert (sample.uuid, sample.power_w, sample.clock_event_reasons) == (A, 300.0, 4)
    assert sample.pcie_tx_bytes is None
    assert fake.calls["field 186"] == 1


def test_a_torch_without_field_values_still_gives_power(install: Install) -> None:
    gpu = h100(errors={"nvmlDeviceGetFieldValues": 13})
    fake = install(gpu)
    reader = Gpu(fake, gpu, 0)
    assert [reader.sample().power_w, reader.sample().power_w] == [300.0, 300.0]
    assert fake.calls["nvmlDeviceGetFieldValues"] == 1


@pytest.mark.parametrize(
    ("chosen", "order", "expected"),
    [
        (None, None, [A, B, C]),
        ("2,0", None, [C, A]),
        ("1, 7, 0", None, [B]),
        ("-1", None, []),
        ("", None, []),
        ("NoDevFiles", None, []),
        (f"{B},{A}", None, [B, A]),
        ("GPU-cccc", None, [C]),
        ("GPU-", None, []),
        (f"{B},GPU-nowhere,{A}", None, [B]),
    ],
)
def test_cuda_visible_devices(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str | None,
    order: str | None,
    expected: list[str],
) -> None:
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    fake = install(h100(A), h100(B), h100(C))
    assert [handle.uuid for handle in gpus.visible(fake)] == expected


def test_numbers_of_unlike_gpus_mean_nothing_unless_in_pci_order(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = install(h100(A, name="NVIDIA T400"), h100(B))
    assert gpus.visible(fake) == []
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in Nvml().sight().missing[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", B)
    assert [handle.uuid for handle in gpus.visible(fake)] == [B]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert [handle.uuid for handle in gpus.visible(fake)] == [B]


def test_the_local_rank_chooses_among_the_visible(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    install(h100(A), h100(B), h100(C))
    assert {(s.device, s.uuid) for s in collect(tmp_path, local_rank=1)} == {(1, C)}


def test_with_one_gpu_visible_to_each_rank_that_is_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    install(h100(A), h100(B))
    assert {(s.device, s.uuid) for s in collect(tmp_path, local_rank=3)} == {(0, B)}


def test_of_many_gpus_none_is_sampled_before_torch_uses_one(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(h100(A), h100(B), h100(C))
    assert collect(tmp_path) == []
    monkeypatch.setitem(sys.modules, "torch", fake_torch(initialized=False))
    assert collect(tmp_path, steps=2) == []


def test_torch_says_which_gpus_it_uses(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(h100(A), h100(B), h100(C))
    # CUDA's order is another than NVML's
    torch = fake_torch(0, 2, uuids=("cccc3333", "bbbb2222", "aaaa1111"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    found = collect(tmp_path, steps=2, local_rank=1)
    assert {(s.device, s.uuid) for s in found} - {(1, B)} == {(0, C), (2, A)}


def test_a_torch_without_uuids_goes_by_number(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(h100(A), h100(B), h100(C))
    monkeypatch.setitem(sys.modules, "torch", fake_torch(1))
    assert {(s.device, s.uuid) for s in collect(tmp_path, steps=2)} == {(1, B)}


def test_a_torch_that_cannot_say_leaves_the_local_rank(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(device: int) -> dict[str, Any]:
        raise RuntimeError("this allocator does not count")

    install(h100(A), h100(B))
    torch = fake_torch()
    torch.cuda.memory.memory_stats_as_nested_dict = fails
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert {s.uuid for s in collect(tmp_path, steps=2, local_rank=1)} == {B}


@pytest.mark.parametrize("named", [True, False])
def test_a_mig_slice_has_its_memory_and_what_its_board_shares(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool
) -> None:
    board = h100(errors={"nvmlDeviceGetMemoryInfo": NO_PERMISSION})
    board.slices = [Handle("MIG-1", parent=board), Handle("MIG-2", parent=board)]
    fake = install(board)
    if named:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
    sample = collect(tmp_path)[0]
    assert sample.uuid == ("MIG-2" if named else "MIG-1")
    assert (sample.memory_used_bytes, sample.temperature_c) == (1 << 30, 54)
    for absent in ("utilization", "power_w", "energy_j", "pcie_tx_bytes", "nvlink_tx_bytes"):
        assert getattr(sample, absent) is None
    assert "DCGM" in Nvml().sight().missing[0]
    assert fake.calls["nvmlDeviceGetUtilizationRates"] == 0


def test_xid_errors_are_recorded(install: Install, tmp_path: Path) -> None:
    gpu = h100()
    install(gpu)
    collector = Nvml(period_s=0.01)
    collector.start(Run(folder=tmp_path))
    gpu.xids += [94, 31]
    time.sleep(0.1)
    collector.stop()
    faults = [record for record in records(tmp_path) if isinstance(record, GpuFault)]
    assert [(fault.device, fault.xid) for fault in faults] == [(0, 94), (0, 31)]


def test_a_gpu_that_is_lost_is_said_once_and_left_alone(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = h100(errors={"nvmlDeviceGetUtilizationRates": LOST})
    fake = install(gpu)
    collect(tmp_path, steps=3)
    assert fake.calls["nvmlDeviceGetUtilizationRates"] == 1
    assert [r.getMessage() for r in caplog.records if "drain" in r.getMessage()] == [
        "perfkit: GPU 0 does not answer any more: reset it or drain this machine."
    ]


@pytest.mark.parametrize(("error", "words"), [(12, "libnvidia-ml"), (9, "not loaded"),
                         (18, "restart"), (4, "/dev/nvidiactl"), (999, "nvidia-smi")])  # fmt: skip
def test_without_a_driver_the_reason_is_said_and_nothing_written(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: int, words: str
) -> None:
    install(init_error=error)
    with caplog.at_level(logging.INFO, logger="perfkit"):
        assert collect(tmp_path) == []
    assert [words in r.getMessage() for r in caplog.records] == [True]
    assert caplog.records[0].levelname == ("INFO" if error == 12 else "WARNING")
    sight = Nvml().sight()
    assert not sight.active
    assert words in sight.missing[0]


def test_without_the_package_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert collect(tmp_path) == []
    assert "pip install nvidia-ml-py" in Nvml().sight().missing[0]


def test_the_real_library_here(tmp_path: Path) -> None:
    """With a driver or without, on a machine as it is."""
    sight = Nvml().sight()
    found = collect(tmp_path)
    assert sight.active or sight.missing
    assert bool(found) <= sight.active


def test_rocm_is_said_and_starts_nothing(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = install(h100())
    torch = SimpleNamespace(version=SimpleNamespace(cuda=None, hip="6.1"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert collect(tmp_path) == []
    assert fake.calls == {}
    assert "amd-smi" in Nvml().sight().missing[0]


def test_sight_names_what_is_told_and_what_not(install: Install) -> None:
    fake = install(h100())
    sight = Nvml().sight()
    assert sight.active
    assert sight.missing == []
    assert {"utilization", "power", "NVLink bytes", "Xid errors"} <= set(sight.sees)
    assert fake.open == 0
    install(h100(errors={"nvmlDeviceGetTotalEnergyConsumption": 3, "nvmlDeviceRegisterEvents": 3}))
    sight = Nvml().sight()
    assert "energy" not in sight.sees
    assert any("energy" in sentence for sentence in sight.missing)
    assert any("dmesg" in sentence for sentence in sight.missing)


def test_a_driver_that_hangs_does_not_hold_the_run_up(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hangs, entered = threading.Event(), threading.Event()

    def rates(handle: Handle) -> Any:
        entered.set()
        hangs.wait(30)
        raise AssertionError("let go")

    fake = install(h100())
    monkeypatch.setattr(fake, "nvmlDeviceGetUtilizationRates", rates, raising=False)
    monkeypatch.setattr("perfkit.collectors.nvml._STOP_S", 0.05)
    collector = Nvml(period_s=0.01)
    began = time.monotonic()
    collector.start(Run(folder=tmp_path))
    assert entered.wait(5)
    collector.tick()
    collector.stop()
    assert time.monotonic() - began < 5
    hangs.set()


def test_a_forked_child_samples_nothing_and_stops_at_once(install: Install, tmp_path: Path) -> None:
    install(h100())
    collector = Nvml(period_s=0.01)
    collector.start(Run(folder=tmp_path))
    # what a child of fork has: the object, another pid, and no thread
    collector._owner = os.getpid() + 1
    collector.tick()
    collector.stop()
    assert collector._thread is not None and collector._thread.is_alive()
    collector._owner = os.getpid()
    collector.stop()
    assert not collector._thread.is_alive()


def test_the_machine_in_the_environment(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(numa, "_DEVICES", tmp_path)
    (tmp_path / "0000:65:00.0").mkdir()
    (tmp_path / "0000:65:00.0" / "numa_node").write_text("1\n")
    install(h100(A), h100(B), h100(C), old=True)
    facts = gpus.machine()
    assert facts["driver"] == "550.54.15"
    assert facts["gpus"][0] == {
        "name": "NVIDIA H100",
        "memory_bytes": 80 << 30,
        "power_limit_w": 700.0,
        "power_limit_default_w": 700.0,
        "sm_clock_limit_mhz": 1980,
        "uuid": A,
        "numa_node": 1,
    }
    (tmp_path / "0000:65:00.0" / "numa_node").write_text("-1\n")
    assert "numa_node" not in gpus.machine()["gpus"][0]
    assert facts["gpu_links"] == {"all": "NVLink"}
    install(h100(A, errors={"nvmlDeviceGetP2PStatus": 3}), h100(B))
    assert gpus.machine()["gpu_links"] == {"0-1": "SYS"}
    install(init_error=12)
    assert gpus.machine() == {}
