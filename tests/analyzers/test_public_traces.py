"""Real traces whose truth is published or was measured by others."""

from __future__ import annotations

from functools import cache

import pytest

from perfkit.api import analyze
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.inference_facts import PassShape
from tests.traces import PUBLIC, kineto_files, needs_public

pytestmark = needs_public


@cache
def diagnosis(path: str) -> Diagnosis:
    return analyze(PUBLIC / path)


def share(path: str, part: str) -> float:
    found = diagnosis(path)
    return float(getattr(found.breakdown_us, part)) / found.steps.mean_us


def warnings(path: str) -> list[str]:
    return [f.code for f in diagnosis(path).findings if f.severity != "info"]


RESNET = "resnet50_v100/num_workers_0.pt.trace.json.gz"


def test_resnet50_gives_the_published_table() -> None:
    found = diagnosis(RESNET)
    assert found.steps.mean_us == pytest.approx(177_592, abs=0.5)
    assert found.breakdown_us.compute / found.steps.mean_us == pytest.approx(0.5551, abs=0.0005)
    assert found.breakdown_us.copy / found.steps.mean_us == pytest.approx(0.0108, abs=0.0006)
    assert found.idle_us["dataloader"] / found.steps.mean_us == pytest.approx(0.3337, abs=0.02)
    assert found.findings[0].code == "dataloader-starvation"
    assert found.steps.count == 6


@pytest.mark.parametrize("path", kineto_files())
def test_parts_sum_to_the_step(path: str) -> None:
    found = diagnosis(path)
    parts = found.breakdown_us
    whole = parts.compute + parts.communication + parts.copy + parts.idle
    assert whole == pytest.approx(found.steps.mean_us, rel=1e-9)
    assert sum(found.idle_us.values()) == pytest.approx(parts.idle, rel=1e-9, abs=1e-6)
    for row in found.step_rows:
        assert sum(row.idle_us.values()) == pytest.approx(row.breakdown_us.idle, abs=1e-3)


def test_gpu_bound_training_raises_no_warning() -> None:
    path = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
    assert share(path, "compute") > 0.95
    assert "launch-bound" not in warnings(path)
    assert "host-sync-in-step" not in warnings(path)
    assert "dataloader-starvation" not in warnings(path)


def test_qwen_inference_is_gpu_bound() -> None:
    path = "h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
    assert share(path, "compute") == pytest.approx(0.915, abs=0.01)
    assert warnings(path) == []


@pytest.mark.parametrize(
    ("path", "idle"),
    [
        ("h100/gaunernst_bert-small-uncased__1016001.json.gz", 0.92),
        ("h100/Falconsai_nsfw_image_detection__1016002.json.gz", 0.84),
        ("h100/small_transformer_training.pt.trace.json.gz", 0.86),
        ("b200/eager_trace.json.gz", 0.863),
    ],
)
def test_launch_bound_traces(path: str, idle: float) -> None:
    assert share(path, "idle") == pytest.approx(idle, abs=0.015)
    assert diagnosis(path).findings[0].code == "launch-bound"


def test_serving_is_told_from_the_names_of_the_engine() -> None:
    decode = diagnosis("edge/cuda_graph_replay_decode.json.gz").inference
    prefill = diagnosis("b200/eager_trace.json.gz").inference
    assert decode is not None
    assert prefill is not None
    assert [(f.phase, f.told_by, f.engine) for f in (decode, prefill)] == [
        ("decode", "names", "vLLM"),
        ("prefill", "names", "vLLM"),
    ]
    assert (decode.served[0].generations, decode.served[0].context_tokens) == (32, 55086)
    assert prefill.served[0].prompt_tokens == 888
    assert decode.graph_share == pytest.approx(0.97, abs=0.01)


@pytest.mark.parametrize("path", kineto_files())
def test_what_trains_is_no_inference_window(path: str) -> None:
    found = diagnosis(path)
    assert (found.inference is None) == (not found.framework.inference)
    if found.framework.optimizer or found.framework.parallelism:
        assert found.inference is None


def test_shapes_tell_batch_tokens_and_autograd() -> None:
    qwen = diagnosis("h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz").inference
    vit = diagnosis("h100/Falconsai_nsfw_image_detection__1016002.json.gz").inference
    forward = diagnosis("batch_sweep_a100/batch_256.pt.trace.json.gz").inference
    assert qwen is not None
    assert vit is not None
    assert forward is not None
    assert (qwen.phase, qwen.told_by) == ("prefill", "shapes")
    assert qwen.shape == PassShape(sequences=16, tokens=559, context=559)
    assert (vit.phase, vit.shape) == ("forward", PassShape(sequences=4, tokens=197, context=197))
    assert forward.shape == PassShape(sequences=256)
    assert (qwen.autograd_nodes, vit.autograd_nodes, forward.autograd_nodes) == (None, None, 833)
    assert qwen.reads is not None
    assert (qwen.reads.rows, qwen.reads.balanced_rows) == (16 * 559, 295)
    assert qwen.reads.bound_us == pytest.approx(qwen.reads.weight_bytes / 3350e9 * 1e6)


def test_mi300x_waits_for_communication() -> None:
    path = "mi300x/resnet_act_checkpoint.json.gz"
    assert share(path, "idle") == pytest.approx(0.03, abs=0.01)
    assert share(path, "communication") == pytest.approx(0.66, abs=0.03)
    assert diagnosis(path).findings[0].code == "exposed-communication"
    assert diagnosis(path).framework.parallelism == ["DDP"]


def test_batch_sweep_is_host_bound_and_busier_with_batch() -> None:
    paths = [f"batch_sweep_a100/batch_{n}.pt.trace.json.gz" for n in (2, 32, 256)]
    compute = [share(path, "compute") for path in paths]
    assert compute == sorted(compute)
    spans = [diagnosis(path).steps.mean_us for path in paths]
    assert max(spans) < 1.06 * min(spans)
    assert all(share(path, "idle") > 0.8 for path in paths)


def test_first_and_last_rank_of_dlrm() -> None:
    late, waiting = (f"dlrm_8rank_v100/rank{r}.pt.trace.json.gz" for r in (7, 1))
    comm = (
        [c.total_us for c in diagnosis(late).collectives],
        [c.total_us for c in diagnosis(waiting).collectives],
    )
    assert sum(comm[0]) == pytest.approx(1_700, rel=0.05)
    assert sum(comm[1]) == pytest.approx(11_300, rel=0.05)


def test_no_kernels_is_said_and_nothing_is_claimed_of_the_gpu() -> None:
    found = diagnosis("edge/no_kernels_a100.json.gz")
    assert found.device.kind == "none"
    assert found.idle_us["unobserved_gpu_work"] == pytest.approx(found.steps.mean_us)
    assert any("No GPU activity was recorded" in note for note in found.fidelity.notes)
    assert [f.code for f in found.findings] == ["autograd-in-inference"]  # of the host


def test_cpu_only_is_said() -> None:
    found = diagnosis("hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz")
    assert found.device.kind == "cpu"
    assert found.source.rank == 34
    assert any("no GPU work" in note for note in found.fidelity.notes)
    # no operator runs in its step: gloo:all_reduce is open on two threads for 178.8 of 210.1 ms
    assert found.breakdown_us.compute == 0
    assert share("hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz", "communication") == (
        pytest.approx(0.851, abs=0.001)
    )


def test_nccl_shows_that_a_gpu_was_not_recorded() -> None:
    found = diagnosis("hta/rank_non_gpu/rank_non_gpu.json.gz")
    assert (found.device.kind, found.findings) == ("none", [])
    assert any("nccl:all_to_all shows that there was a GPU" in n for n in found.fidelity.notes)


def test_sampled_trace_is_mostly_unexplained() -> None:
    found = diagnosis("hta/timeline_analysis/sampled_rank-0.json.gz")
    assert found.fidelity.unknown_share > 0.25


def test_steps_are_found_without_marks() -> None:
    found = diagnosis("edge/no_profiler_step_2021.pt.trace.json.gz")
    assert found.steps.marker == "detected"
    assert found.framework.optimizer is not None
    # The host of the first of five has no lead: cuDNN's trials in the step before waited.
    assert [entry.step for entry in found.steps.excluded] == ["step 1"]
    assert found.steps.count == 4
    assert found.idle_us["sync"] < 0.001 * found.steps.mean_us
    assert found.kernel_summary is not None
    assert found.kernel_summary.launches_per_step == pytest.approx(1450, abs=15)  # as launched
    assert "copies from or to pageable memory cost 8.72 ms" in found.verdict


def test_thousands_of_short_gaps_are_no_single_wait() -> None:
    found = diagnosis("hta/df_index_resolver/df_index_resolver.json.gz")
    launches = next(f for f in found.findings if f.code == "launch-bound")
    assert "wait" not in launches.remedy.text  # no gap of its steps exceeds 4.7 ms
    jit = diagnosis("batch_sweep_a100/batch_256.pt.trace.json.gz").findings[0].remedy.text
    assert "a few long waits of about 149.4 ms in delta_r2" in jit  # of 149.4 and 145.7 ms
    bare = diagnosis("batch_sweep_a100/batch_2.pt.trace.json.gz").findings[0].remedy.text
    assert "Python between operators, one wait of 294.1 ms" in bare
