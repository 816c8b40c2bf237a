"""`perfkit doctor` on machines that have things, lack things, and break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perfkit.cli import main
from perfkit.collectors import checkup
from perfkit.collectors.environment import _machine
from perfkit.collectors.mounts import Mount
from perfkit.model.capture import Sight
from tests.collectors.fake_nvml import FakeNvml, h100

NAMES = ["torch profiler", "NVML", "NVTX", "NCCL", "DataLoader", "storage", "checkpoints",
         "GPU memory", "host", "garbage", "permissions"]  # fmt: skip
Doctor = Callable[..., str]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command in this process; checks its exit status and gives what it printed."""

    def run(*options: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *options])
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


@pytest.fixture(autouse=True)
def fresh() -> Any:
    """The machine's facts are kept for a process, and these tests change the machine."""
    _machine.cache_clear()
    yield
    _machine.cache_clear()


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def sights(text: str) -> dict[str, dict[str, Any]]:
    return {sight["name"]: sight for sight in json.loads(text)["collectors"]}


def seen(name: str) -> Sight:
    return next(sight for sight in checkup.checkup() if sight.collector == name)


def test_every_collector_has_a_block_in_both_forms(doctor: Doctor, no_torch: None) -> None:
    text = doctor()
    starts = [
        line[4:].split(":")[0] for line in text.splitlines() if line[:2] in {"ok", " !", "--"}
    ]
    assert starts == NAMES
    assert "no torch" in text
    assert "\x1b" not in text  # nothing but a terminal gets colours
    document = json.loads(doctor("--json"))
    assert document["schema"] == "perfkit.doctor/1"
    assert document["environment"]["python"]
    assert list(sights(json.dumps(document))) == NAMES


def test_the_mark_says_whether_something_is_missing(doctor: Doctor, no_torch: None) -> None:
    text, known = doctor(), sights(doctor("--json"))
    for line in text.splitlines():
        name = line[4:].split(":")[0]
        if name in known and line[:2].strip():
            expected = (
                "--" if not known[name]["active"] else " !" if known[name]["missing"] else "ok"
            )
            assert line[:2] == expected


def test_without_torch_the_remedy_is_a_line(doctor: Doctor, no_torch: None) -> None:
    known = sights(doctor("--json"))
    for name in ("torch profiler", "NCCL", "DataLoader", "checkpoints", "GPU memory"):
        if name == "checkpoints" and known[name]["active"]:
            continue  # safetensors is there
        assert not known[name]["active"], name
        assert (
            "install torch" in known[name]["missing"][0]
            or "install it" in known[name]["missing"][0]
        )
    assert known["host"]["active"]


def test_a_torch_that_cannot_be_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise OSError('libcudart.so.12: cannot open')")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    command = [sys.executable, "-m", "perfkit", "doctor", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "libcudart" in sights(done.stdout)["torch profiler"]["missing"][0]


def test_with_the_real_torch(doctor: Doctor) -> None:
    torch = pytest.importorskip("torch")
    text = doctor()
    assert f"torch {torch.__version__}" in text
    known = sights(doctor("--json"))
    assert "CPU activity" in known["torch profiler"]["sees"]
    assert known["DataLoader"]["active"]


def test_a_collector_that_breaks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Sight:
        raise RuntimeError("first\nsecond")

    monkeypatch.setitem(checkup._LOOKS, "host", fails)
    sight = seen("host")
    assert not sight.active
    assert sight.missing == ["Asking failed (RuntimeError: first second): repair what it names."]


def test_gpus_are_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, no_torch: None) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(h100(), h100("GPU-b", name="NVIDIA H100")))
    assert "2 x NVIDIA H100, driver 550.54.15" in doctor()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert "utilization" in sights(doctor("--json"))["NVML"]["sees"]


def fake_torch(**more: Any) -> Any:
    distributed = SimpleNamespace(is_available=lambda: True, is_nccl_available=lambda: True)
    cuda = SimpleNamespace(
        is_available=lambda: True, nccl=SimpleNamespace(version=lambda: (2, 27, 3))
    )
    known = {"cuda": cuda, "distributed": distributed, "version": SimpleNamespace(cuda="12.8")}
    # find_spec asks a module for its spec
    return SimpleNamespace(__spec__=SimpleNamespace(), **{**known, **more})


def test_nccl_and_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    assert seen("NCCL").sees[0] == "NCCL 2.27.3"
    assert seen("GPU memory").active
    none = fake_torch(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", none)
    assert "nvidia-smi" in seen("GPU memory").missing[0]
    alone = fake_torch(distributed=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", alone)
    assert "torch.distributed" in seen("NCCL").missing[0]


@pytest.mark.parametrize(
    ("text", "active"),
    [("ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: 0\n", True),
     ("RmProfilingAdminOnly: 1\n", False), (None, False)],
)  # fmt: skip
def test_performance_counters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, active: bool
) -> None:
    path = tmp_path / "params"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(checkup, "_DRIVER_PARAMETERS", path)
    sight = seen("permissions")
    assert sight.active == active
    assert bool(sight.missing) != active
    assert text is None or active or "NVreg_RestrictProfilingToAdminUsers=0" in sight.missing[0]


def test_little_shared_memory_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(checkup, "_shm_bytes", lambda: 64 << 20)
    assert "--shm-size" in seen("DataLoader").missing[-1]
    monkeypatch.setattr(checkup, "_shm_bytes", lambda: 8 << 30)
    assert not any("--shm-size" in said for said in seen("DataLoader").missing)
    assert "8192 MiB of shared memory" in seen("DataLoader").sees


def test_lustre_layouts_by_lfs_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "mounts", lambda: [Mount("/lus", "lustre", "mgs:/fs")])
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "Lustre layouts (extended attributes)" in seen("storage").sees
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "Lustre layouts (lfs)" in seen("storage").sees
