"""A trace without GPU work: of a CPU, or of a GPU whose records are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfkit.api import analyze
from perfkit.model.diagnosis import Diagnosis
from perfkit.reports.advice import advise
from tests.trace.kineto_text import document, host, kernel, label

GPU = {"deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}]}
NO_GPU: dict[str, Any] = {"deviceProperties": []}
STEPS = [host(f"ProfilerStep#{i}", i * 10_000, 10_000, cat="user_annotation") for i in range(3)]
WORK = [host("aten::mm", i * 10_000 + 1000, 4000) for i in range(3)]


def call(name: str, at: int = 2000, **args: Any) -> str:
    return host(name, at, 500, cat="cuda_runtime", args=args)


LAUNCH = call("cudaLaunchKernel", correlation=7)
WITHOUT_ID = call("hipLaunchKernel")
WAIT = host("cudaStreamSynchronize", 3000, 500, cat="cuda_sync", args={"stream": 7})
RANGE = host("forward", 1000, 500, cat="gpu_user_annotation", pid=0, tid=7, args={"device": 0})
NCCL = host("nccl:all_reduce", 1000, 500)
CUDNN = host("aten::cudnn_convolution", 1200, 500)
MPS = host("aten::_mps_convolution", 1200, 500)
MPS_ATTENTION = host("aten::_scaled_dot_product_attention_math_for_mps", 1200, 500)
INTEL = call("urEnqueueKernelLaunch", correlation=7)
ONEDNN = host("aten::mkldnn_linear", 1200, 500)
PROFILER = call("cudaDeviceSynchronize", 25_000)


def read(tmp_path: Path, *more: str, cut: bool = False, head: dict[str, Any] | None) -> Diagnosis:
    """The diagnosis of a file; one that is cut ends inside its last event."""
    text = document(*STEPS, *WORK, *more, before=head)
    path = tmp_path / "t.json"
    path.write_text(text[: text.rindex('"name"')] if cut else text)
    return advise(analyze(str(path)))


MISSING: list[tuple[str, list[str], bool, dict[str, Any] | None, str]] = [
    ("a launch", [LAUNCH], False, None, "launched 1 operations"),
    ("a launch without an id", [WITHOUT_ID], False, None, "hipLaunchKernel shows"),
    ("a wait for a stream", [WAIT], False, None, "cudaStreamSynchronize shows"),
    ("a range on a GPU", [RANGE], False, None, "forward shows"),
    ("NCCL", [NCCL], False, None, "nccl:all_reduce shows"),
    ("cuDNN", [CUDNN], False, None, "aten::cudnn_convolution shows"),
    ("Apple's GPU", [MPS], False, None, "of which torch.profiler records nothing"),
    ("an attention of Apple's", [MPS_ATTENTION], False, None, "Instruments"),
    ("a launch of Intel's", [INTEL], False, None, "ProfilerActivity.XPU"),
    ("cut behind a launch", [LAUNCH, WORK[0]], True, None, "operations, of which none is left"),
    ("cut behind a call", [WITHOUT_ID, WORK[0]], True, None, "hipLaunchKernel shows"),
    ("cut, and nothing tells of devices", [WORK[0]], True, None, "nothing tells whether"),
    ("cut, and the file names a GPU", [WORK[0]], True, GPU, "nothing tells whether"),
    ("GPUs that nobody watched", [], False, GPU, "ProfilerActivity.CUDA; if the job used the CPU"),
]


@pytest.mark.parametrize(
    ("why", "more", "cut", "head", "note"), MISSING, ids=[m[0] for m in MISSING]
)
def test_missing_gpu_records_are_no_cpu(
    tmp_path: Path, why: str, more: list[str], cut: bool, head: dict[str, Any] | None, note: str
) -> None:
    found = read(tmp_path, *more, cut=cut, head=head)
    assert found.device.kind == "none", why
    assert found.verdict.startswith("The trace holds no GPU records")
    assert any(note in said for said in found.fidelity.notes)
    assert found.idle_us["unobserved_gpu_work"] == pytest.approx(found.steps.mean_us)
    assert not any("the CPU is the device" in said for said in found.fidelity.notes)
    assert found.findings == []


OF_A_CPU: list[tuple[str, list[str], bool, dict[str, Any] | None]] = [
    ("nothing of a GPU", [], False, None),
    ("the file says that there is none", [], False, NO_GPU),
    ("cut, and the file says that there is none", [WORK[0]], True, NO_GPU),
    ("cut, and oneDNN computes on CPUs alone", [ONEDNN, WORK[0]], True, None),
    ("the GPU was watched, and did nothing", [PROFILER], False, GPU),
    ("oneDNN beside GPUs", [ONEDNN], False, GPU),
]


@pytest.mark.parametrize(("why", "more", "cut", "head"), OF_A_CPU, ids=[c[0] for c in OF_A_CPU])
def test_a_cpu_stays_the_device(
    tmp_path: Path, why: str, more: list[str], cut: bool, head: dict[str, Any] | None
) -> None:
    found = read(tmp_path, *more, cut=cut, head=head)
    assert found.device.kind == "cpu", why
    assert found.verdict.startswith("On the CPU")


def test_one_kernel_is_a_gpu(tmp_path: Path) -> None:
    labels = [label("process_labels", 0, {"labels": "GPU 0"})]
    found = read(tmp_path, LAUNCH, kernel("gemm", 2600, 900, args={"correlation": 7}), *labels,
                 head=GPU)  # fmt: skip
    assert found.device.kind == "gpu"
