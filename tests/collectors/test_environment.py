"""The environment's facts: what is told, and what never is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.collectors import limits, numa
from perfkit.collectors.environment import A_PATH, environment, ranks, variables

LAUNCHERS = (
    "RANK LOCAL_RANK WORLD_SIZE SLURM_PROCID SLURM_LOCALID SLURM_NTASKS SLURM_JOB_ID SLURM_STEP_ID "
    "SLURM_STEPID OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_LOCAL_RANK OMPI_COMM_WORLD_SIZE PMI_RANK "
    "PMI_SIZE MPI_LOCALRANKID PALS_RANKID PALS_LOCAL_RANKID PALS_SIZE"
)
ALLOWED = (
    "NCCL_DEBUG",
    "NCCL_X",
    "TORCH_NCCL_Y",
    "TORCHINDUCTOR_Z",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "SLURM_NODELIST",
    "POD_NAME",
)
SECRET_WORDS = ("TOKEN", "API_KEY", "secret", "Password", "PASS", "CREDENTIALS", "AUTH", "PWD")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@pytest.fixture(autouse=True)
def nothing_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    for name in LAUNCHERS.split():
        monkeypatch.delenv(name, raising=False)


def put(monkeypatch: pytest.MonkeyPatch, **known: object) -> None:
    for name, value in known.items():
        monkeypatch.setenv(name, str(value))


def test_the_machine_and_versions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, OMP_NUM_THREADS=3, NCCL_DEBUG="INFO", HOME="/home/me", NOT_NCCL_X=1)
    facts = environment()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["perfkit"]
    assert facts["cpu_count"] >= facts["cores"] >= 1
    assert facts["memory_bytes"] > 1 << 28
    assert facts["variables"]["OMP_NUM_THREADS"] == "3"
    assert facts["variables"]["NCCL_DEBUG"] == "INFO"
    assert not {"HOME", "NOT_NCCL_X"} & facts["variables"].keys()
    assert "torch" not in facts
    assert None not in facts.values()
    json.dumps(facts)


def test_torch_is_asked_only_where_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("libraries do not match")

    torch = SimpleNamespace(
        __version__="2.9.0+cu128",
        version=SimpleNamespace(cuda="12.8", hip=None),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=fails)),
        _C=SimpleNamespace(_nccl_version=lambda: 0),
        cuda=SimpleNamespace(nccl=SimpleNamespace(version=lambda: (2, 27, 3))),
        get_num_threads=lambda: 8,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    facts = environment()
    assert (facts["torch"], facts["cuda"], facts["nccl"]) == ("2.9.0+cu128", "12.8", "2.27.3")
    assert "cudnn" not in facts  # its question failed, alone
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert "torch" not in environment()  # still being imported


def test_the_real_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # torch cannot be imported twice in a process
    torch = pytest.importorskip("torch")
    assert environment()["torch"] == str(torch.__version__)


@settings(max_examples=300, deadline=None)
@given(
    prefix=st.sampled_from(ALLOWED),
    word=st.sampled_from(SECRET_WORDS),
    secret=st.text(LETTERS, min_size=16, max_size=60),
    form=st.sampled_from(["name", "unknown", "url", "query", "assigned", "bearer", "known"]),
)
def test_a_secret_never_appears(prefix: str, word: str, secret: str, form: str) -> None:
    secret = f"q7{secret}"
    name, value = {
        "name": (f"{prefix}_{word}", secret),
        "unknown": (f"MY_{word}", secret),
        "url": (prefix, f"redis://user:{secret}@host:6379/0"),
        "query": (prefix, f"https://host/path?sig={secret}"),
        "assigned": (prefix, f"mode=fast,{word}={secret}"),
        "bearer": (prefix, f"Bearer {secret}"),
        "known": (prefix, f"hf_{secret}"),
    }[form]
    with patch.dict("os.environ", {name: value, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}):
        assert secret not in json.dumps(environment())


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,GPU-8932f937-d72c-4106-c12f-20bd9faed9f7", True),
        ("mlx5_0:1,mlx5_1:1,mlx5_2:1,mlx5_3:1,mlx5_4:1", True),
        ("expandable_segments:True,max_split_size_mb:512", True),
        ("http://proxy.example:3128/path", True),
        ("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12", False),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", False),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.abc", False),
        ("x" * 501, False),
    ],
)
def test_values_that_look_like_keys_are_dropped_and_others_kept(value: str, kept: bool) -> None:
    assert variables([("NCCL_ANY", value)]) == ({"NCCL_ANY": value} if kept else {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TORCHINDUCTOR_CACHE_DIR", "torchinductor_alice"),
        ("NCCL_TOPO_FILE", "/home/alice/topo.xml"),
        ("NCCL_ANY", "/scratch/project/alice/cache"),
        ("NCCL_ANY", "~/cache"),
        ("PYTORCH_CUDA_ALLOC_CONF", "a:1,trace:/home/alice/x"),
        ("NCCL_ANY", "a b,/home/alice"),
    ],
)
def test_of_paths_it_is_only_said_that_they_are_set(name: str, value: str) -> None:
    assert variables([(name, value)]) == {name: A_PATH}


def test_slurm_and_kubernetes_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    put(monkeypatch, SLURM_JOB_ID=42, SLURM_NODELIST="n[1-2]", SLURM_CPUS_PER_TASK=8)
    put(monkeypatch, POD_NAME="train-0", MY_POD_NAMESPACE="ml", SLURM_JWT="eyJhbGciOiJIUzI1NiIs")
    facts = environment()
    assert facts["slurm"] == {"job_id": "42", "nodelist": "n[1-2]", "cpus_per_task": "8"}
    assert "kubernetes" not in facts  # POD_NAME alone says nothing
    put(monkeypatch, KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert environment()["kubernetes"] == {"pod": "train-0", "namespace": "ml"}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, (0, None, 1)),
        ({"RANK": 9, "LOCAL_RANK": 1, "WORLD_SIZE": 16}, (9, 1, 16)),
        ({"RANK": 9, "WORLD_SIZE": 16}, (9, None, 16)),
        ({"SLURM_PROCID": 3, "SLURM_LOCALID": 1, "SLURM_NTASKS": 4}, (3, 1, 4)),
        ({"OMPI_COMM_WORLD_RANK": 2, "OMPI_COMM_WORLD_LOCAL_RANK": 0, "OMPI_COMM_WORLD_SIZE": 3},
         (2, 0, 3)),
        ({"PMI_RANK": 1, "PMI_SIZE": 2, "MPI_LOCALRANKID": 1}, (1, 1, 2)),
        # torchrun inside of Slurm is the nearer one
        ({"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 8, "SLURM_PROCID": 0, "SLURM_NTASKS": 2},
         (1, 1, 8)),
        # a batch script's python is no task of the job's many
        ({"SLURM_JOB_ID": 5, "SLURM_PROCID": 0, "SLURM_NTASKS": 8}, (0, None, 1)),
        ({"SLURM_JOB_ID": 5, "SLURM_STEP_ID": 0, "SLURM_PROCID": 7, "SLURM_NTASKS": 8},
         (7, None, 8)),
        # nonsense
        ({"RANK": -1, "WORLD_SIZE": 4}, (0, None, 1)),
        ({"RANK": 4, "WORLD_SIZE": 4}, (0, None, 1)),
        ({"RANK": "two", "WORLD_SIZE": 4}, (0, None, 1)),
        ({"RANK": "²", "WORLD_SIZE": 4}, (0, None, 1)),
        ({"RANK": 0, "WORLD_SIZE": 0}, (0, None, 1)),
        ({"RANK": 1, "LOCAL_RANK": 99, "WORLD_SIZE": 4}, (1, None, 4)),
        ({"RANK": "", "WORLD_SIZE": "", "SLURM_PROCID": 1, "SLURM_NTASKS": 2}, (1, None, 2)),
    ],
)  # fmt: skip
def test_ranks(
    monkeypatch: pytest.MonkeyPatch,
    known: dict[str, object],
    expected: tuple[int, int | None, int],
) -> None:
    put(monkeypatch, **known)
    assert ranks() == expected


def distributed(**more: Any) -> Any:
    known = {"is_available": lambda: True, "is_initialized": lambda: True}
    return SimpleNamespace(**{**known, "get_rank": lambda: 5, "get_world_size": lambda: 6, **more})


def test_an_initialized_process_group_knows_best(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, RANK=1, LOCAL_RANK=1, WORLD_SIZE=8)
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed())
    assert ranks() == (5, 1, 6)
    fake = distributed(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "torch.distributed", fake)
    assert ranks() == (1, 1, 8)

    def fails() -> int:
        raise RuntimeError("group was destroyed")

    monkeypatch.setitem(sys.modules, "torch.distributed", distributed(get_rank=fails))
    assert ranks() == (1, 1, 8)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A root of control groups, and /proc/self/cgroup beside it."""
    monkeypatch.setattr(limits, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path / "own")
    (tmp_path / "cgroup").mkdir()
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_limits_of_control_groups_v2(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (groups / "own").write_text("0::/job/step\n")
    assert (limits.cores_by_quota(), limits.memory_limit_bytes()) == (None, None)
    write(groups / "cgroup/job/step/cpu.max", "max 100000\n")
    write(groups / "cgroup/job/cpu.max", "250000 100000\n")
    write(groups / "cgroup/job/step/memory.max", "max\n")
    write(groups / "cgroup/job/memory.max", "1073741824\n")
    assert (limits.cores_by_quota(), limits.memory_limit_bytes()) == (2.5, 1 << 30)
    monkeypatch.setattr(limits, "cores_by_affinity", lambda: 64)
    assert limits.cores() == 3
    monkeypatch.setattr(limits, "cores_by_affinity", lambda: 2)
    assert limits.cores() == 2


def test_limits_of_control_groups_v1(groups: Path) -> None:
    (groups / "own").write_text("4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n")
    cpu, memory = groups / "cgroup/cpu,cpuacct", groups / "cgroup/memory"
    write(cpu / "job/cpu.cfs_quota_us", "-1\n")
    write(cpu / "job/cpu.cfs_period_us", "100000\n")
    write(memory / "job/memory.limit_in_bytes", "9223372036854771712\n")
    assert (limits.cores_by_quota(), limits.memory_limit_bytes()) == (None, None)
    write(cpu / "job/cpu.cfs_quota_us", "400000\n")
    write(memory / "job/memory.limit_in_bytes", "2147483648\n")
    assert (limits.cores_by_quota(), limits.memory_limit_bytes()) == (4.0, 2 << 30)


def test_a_container_sees_its_own_group_as_the_root(groups: Path) -> None:
    (groups / "own").write_text("0::/kubepods/pod1/container\n")  # a path that is not mounted
    write(groups / "cgroup/cpu.max", "50000 100000\n")
    assert limits.cores_by_quota() == 0.5


def test_without_control_groups_there_is_no_limit(groups: Path) -> None:
    assert (limits.cores_by_quota(), limits.memory_limit_bytes()) == (None, None)
    (groups / "own").write_text("nonsense\n::\n")
    assert limits.cores_by_quota() is None


def test_nodes_are_those_of_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numa, "_NODES", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 64})
    assert (numa.count(), numa.nodes_of_cores()) == (None, [])
    for node, cores in enumerate(("0-7,64-71", "8-15,72", "", "16-23")):
        write(tmp_path / f"node{node}/cpulist", cores + "\n")  # the third has memory only
    assert (numa.count(), numa.nodes_of_cores()) == (3, [0, 1])
