"""Each rule: cases in which it must speak, and cases in which it must not."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Outlier, Outliers, Place
from perfkit.model.settings import Settings
from perfkit.reports.advice import advise, codes
from tests.advice.builder import all_reduces, copies, diagnosis, kernel, matrix, place
from tests.advice.runs import collecting, gaps, loader, machine, run, saving

CPU = {"kind": "cpu"}
LAUNCH = {"launch": 1500.0, "dispatch": 1500.0, "python": 500.0}
PERIODIC = Outliers(
    steps=[Outlier(step=f"ProfilerStep#{i}", wall_us=90_000.0, excess_us=80_000.0,
                   grew="dataloader") for i in (7, 15, 23)],
    cost_us=1200.0, cause="dataloader", period=8,
)  # fmt: skip

SINGLE = msgspec.structs.replace(PERIODIC, steps=PERIODIC.steps[:1], period=None)

# (code, why, diagnosis, severity)
FIRES = [
    ("dataloader-starvation", "a third of the step", diagnosis({"dataloader": 3300}), "critical"),
    ("dataloader-starvation", "six percent", diagnosis({"dataloader": 600}), "warning"),
    ("dataloader-starvation", "CPU training waits too",
     diagnosis({"dataloader": 3000}, device={"kind": "cpu"}), "critical"),
    ("host-sync-in-step", "a fifth", diagnosis({"sync": 2100}), "critical"),
    ("host-sync-in-step", "small, told as information", diagnosis({"sync": 200}), "info"),
    ("launch-bound", "all three parts count", diagnosis(LAUNCH), "critical"),
    ("launch-bound", "Python alone", diagnosis({"python": 1500}), "warning"),
    ("pageable-copy", "exposed", diagnosis(copy=1500, copies=copies("pageable", 1500)), "warning"),
    ("pageable-copy", "staging while the GPU idles",
     diagnosis({"copy": 2200}, copies=copies("pageable", 0.0, 2200)), "critical"),
    ("exposed-communication", "a third",
     diagnosis(communication=3400, collectives=all_reduces(3400)), "critical"),
    ("allocator-churn", "in the step", diagnosis({"allocator": 800}), "warning"),
    ("allocator-churn", "one step may be the first",
     diagnosis({"allocator": 3000}, steps={"count": 1}), "info"),
    ("low-precision-unused", "fp32 GEMMs on an A100",
     diagnosis(kernel_summary=matrix(6000, 0.0)), "info"),
    ("low-precision-unused", "Volta has tensor cores",
     diagnosis(device={"compute_capability": "7.0"}, kernel_summary=matrix(6000, 0.0)), "info"),
    ("step-outliers", "every eighth", diagnosis(outliers=PERIODIC), "warning"),
    ("step-outliers", "nearly all waiting lies in a single step",
     diagnosis({"dataloader": 1250}, outliers=SINGLE), "warning"),
    ("step-outliers", "not of the loader, and other time of the cause lies elsewhere",
     diagnosis({"python": 2500}, outliers=msgspec.structs.replace(SINGLE, cause="python")),
     "warning"),
    ("gpus-in-turn", "half of the step", diagnosis({"other_gpu": 5000}), "critical"),
    ("gpus-in-turn", "serving, too",
     diagnosis({"other_gpu": 900}, framework={"inference": True}), "warning"),
    ("garbage-collection", "a fifth", diagnosis({"gc": 2000}), "critical"),
    ("garbage-collection", "four percent", diagnosis({"gc": 400}), "warning"),
    ("garbage-collection", "the run's records alone", diagnosis(run=run(gc=collecting(900.0))),
     "warning"),
    ("synchronous-checkpoint", "in the trace", diagnosis({"checkpoint": 2500}), "critical"),
    ("synchronous-checkpoint", "outside of the trace",
     diagnosis(run=run(checkpoints=saving(3e6, 800.0))), "warning"),
    ("synchronous-checkpoint", "the trace holds more than its share of them",
     diagnosis({"checkpoint": 2500}, run=run(checkpoints=saving(3e6, 90.0))), "info"),
    ("python-overhead", "a third", diagnosis({"python": 3500}, device=CPU,
                                             python_gaps=gaps(3300, 3500)), "critical"),
    ("python-overhead", "an eighth", diagnosis({"python": 1700}, device=CPU,
                                               python_gaps=gaps(1250, 1700)), "warning"),
    ("python-overhead", "nothing but small operators",
     diagnosis({"python": 7000}, device=CPU, python_gaps=gaps(0, 7000)), "warning"),
    ("cpu-contention", "half the time without a core",
     diagnosis(device=CPU, run=run(cpu=machine(0.5))), "critical"),
    ("cpu-contention", "the launching thread of a GPU",
     diagnosis({"dispatch": 4000}, run=run(cpu=machine(0.3))), "critical"),
    ("cpu-contention", "a GPU hides most of it",
     diagnosis({"dispatch": 600}, run=run(cpu=machine(0.5))), "warning"),
    ("cpu-contention", "the loader's workers, which starvation tells of",
     diagnosis({"dataloader": 1500}, device=CPU,
               run=run(cpu=machine(0.5), loaders=[loader(num_workers=2)])), "info"),
    ("cpu-contention", "the loader's workers, which nothing else tells of",
     diagnosis({"dataloader": 100}, device=CPU,
               run=run(cpu=machine(0.5), loaders=[loader(num_workers=2)])), "critical"),
    ("dataloader-starvation", "small batches are handed over in time",
     diagnosis({"dataloader": 1400}, run=run(loaders=[loader(ready=4.0, deliver_us=50.0)])),
     "info"),
    ("dataloader-starvation", "large batches are handed over in time",
     diagnosis({"dataloader": 2400}, run=run(loaders=[loader(ready=4.0, deliver_us=50.0)])),
     "warning"),
    ("dataloader-starvation", "none stood ready",
     diagnosis({"dataloader": 1400}, run=run(loaders=[loader(ready=0.0, deliver_us=50.0)])),
     "warning"),
]  # fmt: skip

# (code, why, diagnosis)
SILENT = [
    ("dataloader-starvation", "hidden by prefetching", diagnosis({"dataloader": 0.0})),
    ("dataloader-starvation", "below half a percent", diagnosis({"dataloader": 45})),
    ("dataloader-starvation", "other idle time", diagnosis({"sync": 3000})),
    ("host-sync-in-step", "deep queue, costs nothing", diagnosis({"sync": 20})),
    ("host-sync-in-step", "no GPU", diagnosis({"sync": 3000}, device={"kind": "cpu"})),
    ("launch-bound", "healthy", diagnosis({"kernel_gap": 200})),
    ("launch-bound", "unknown is no evidence", diagnosis({"unknown": 5000})),
    ("launch-bound", "waits for data", diagnosis({"dataloader": 5000})),
    ("launch-bound", "no host events", diagnosis(LAUNCH, fidelity={"host_events": 0})),
    ("launch-bound", "CPU only", diagnosis(LAUNCH, device={"kind": "cpu"})),
    ("pageable-copy", "pinned", diagnosis(copy=1500, copies=copies("pinned", 1500))),
    ("pageable-copy", "hidden", diagnosis(copies=copies("pageable", 10))),
    ("pageable-copy", "ROCm does not tell", diagnosis(copy=1500, copies=copies("host", 1500))),
    ("exposed-communication", "hidden", diagnosis(communication=30, collectives=all_reduces(30))),
    ("exposed-communication", "none", diagnosis()),
    ("allocator-churn", "none", diagnosis()),
    ("low-precision-unused", "on tensor cores", diagnosis(kernel_summary=matrix(6000, 0.9))),
    ("low-precision-unused", "names do not tell", diagnosis(kernel_summary=matrix(6000, None))),
    ("low-precision-unused", "few GEMMs", diagnosis(kernel_summary=matrix(500, 0.0))),
    ("low-precision-unused", "no tensor cores",
     diagnosis(device={"compute_capability": "6.1"}, kernel_summary=matrix(6000, 0.0))),
    ("low-precision-unused", "AMD numbers mean something else",
     diagnosis(device={"name": "AMD Instinct MI300X", "compute_capability": "9.4"},
               kernel_summary=matrix(6000, 0.0))),
    ("low-precision-unused", "GPU not known",
     diagnosis(device={"compute_capability": None}, kernel_summary=matrix(6000, 0.0))),
    ("low-precision-unused", "a GTX 16 has no tensor cores",
     diagnosis(device={"name": "NVIDIA GeForce GTX 1660", "compute_capability": "7.5"},
               kernel_summary=matrix(6000, 0.0))),
    ("low-precision-unused", "16 bits are in use",
     diagnosis(framework={"low_precision_share": 0.6}, kernel_summary=matrix(6000, 0.0))),
    ("low-precision-unused", "most GEMMs are Triton's, which do not tell",
     diagnosis(kernel_summary=matrix(6000, 0.0), kernels=[
         kernel("triton_tem_fused_mm_0", 5900), kernel("ampere_sgemm_128x64_tn", 100)])),
    ("step-outliers", "even steps", diagnosis()),
    ("step-outliers", "a slow loader, for which some steps wait longest",
     diagnosis({"dataloader": 1600}, outliers=SINGLE)),
    ("gpus-in-turn", "one GPU", diagnosis({"unobserved_gpu_work": 5000})),
    ("gpus-in-turn", "a little", diagnosis({"other_gpu": 40})),
    ("garbage-collection", "none", diagnosis()),
    ("garbage-collection", "a healthy amount", diagnosis({"gc": 40})),
    ("garbage-collection", "the same, of the run", diagnosis(run=run(gc=collecting(30.0)))),
    ("garbage-collection", "steps are not known", diagnosis(run=run(gc=collecting(None)))),
    ("synchronous-checkpoint", "none", diagnosis()),
    ("synchronous-checkpoint", "rare, though the trace holds one",
     diagnosis({"checkpoint": 2500}, run=run(checkpoints=saving(3e6, 20.0)))),
    ("python-overhead", "a GPU, where launch-bound tells of it", diagnosis({"python": 3500})),
    ("python-overhead", "short gaps of a small model",
     diagnosis({"python": 4500}, device=CPU, python_gaps=gaps(0, 4500))),
    ("python-overhead", "none", diagnosis(device=CPU, python_gaps=gaps(0, 0))),
    ("cpu-contention", "not measured", diagnosis(device=CPU, run=run(cpu=machine(None)))),
    ("cpu-contention", "a trace file", diagnosis(device=CPU)),
    ("cpu-contention", "a quiet machine", diagnosis(device=CPU, run=run(cpu=machine(0.004)))),
    ("cpu-contention", "the GPU is busy all the time", diagnosis(run=run(cpu=machine(0.5)))),
    ("cpu-contention", "all of the step waits for data",
     diagnosis({"dataloader": 9990}, device=CPU, run=run(cpu=machine(0.5)))),
]  # fmt: skip


def ids(cases: Sequence[tuple[object, ...]]) -> list[str]:
    return [f"{case[0]}: {case[1]}" for case in cases]


@pytest.mark.parametrize(("code", "why", "case", "severity"), FIRES, ids=ids(FIRES))
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = {f.code: f for f in advise(case).findings}
    assert code in found, why
    finding = found[code]
    assert finding.severity == severity
    assert 0 < finding.cost_us <= case.steps.mean_us
    assert finding.gain_us.bound > 0
    assert finding.title[0].isupper()
    assert finding.remedy.text.endswith(".")
    assert finding.evidence


@pytest.mark.parametrize(("code", "why", "case"), SILENT, ids=ids(SILENT))
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


def test_every_rule_has_cases_of_both_kinds() -> None:
    """Here or in another test_<area>_rules.py of this folder."""
    assert _coded("FIRES") == _coded("SILENT") == set(codes())


def _coded(table: str) -> set[str]:
    files = sorted(Path(__file__).parent.glob("test_*rules.py"))
    modules = [import_module(f"tests.advice.{file.stem}") for file in files]
    return {case[0] for module in modules for case in getattr(module, table, ())}


def test_a_healthy_run_has_no_findings() -> None:
    assert advise(diagnosis({"kernel_gap": 150, "launch": 20})).findings == []


@pytest.mark.parametrize(
    ("parallelism", "setting"),
    [
        (["DDP"], "bucket_cap_mb"),
        (["FSDP1"], "forward_prefetch"),
        (["FSDP2"], "set_modules_to_forward_prefetch"),
        (["DeepSpeed"], "overlap_comm"),
        (["DDP", "Megatron-LM"], "--overlap-grad-reduce"),
        ([], "as soon as their data is ready"),
    ],
)
def test_communication_names_the_setting_of_the_framework(
    parallelism: list[str], setting: str
) -> None:
    case = diagnosis(communication=3000, collectives=all_reduces(3000),
                     framework={"parallelism": parallelism})  # fmt: skip
    remedy = advise(case).findings[0].remedy
    assert setting in f"{remedy.text} {remedy.snippet}"


@pytest.mark.parametrize(
    ("loader", "word"),
    [
        ("_SingleProcessDataLoaderIter", "num_workers=0"),
        ("_MultiProcessingDataLoaderIter", "more workers"),
        (None, "ahead in other processes"),
    ],
)
def test_loader_remedy_knows_the_loader(loader: str | None, word: str) -> None:
    case = diagnosis({"dataloader": 3000}, framework={"data_loader": loader})
    assert word in advise(case).findings[0].remedy.text


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("aten::item", ".item()"),
        ("aten::nonzero", "torch.where"),
        ("cudaDeviceSynchronize", "torch.cuda.synchronize()"),
        ("cudaStreamSynchronize", "the call that waits in the step"),
        ("CudnnConvolutionBackward", "the call that waits in CudnnConvolutionBackward"),
    ],
)
def test_sync_remedy_names_the_operator(name: str, word: str) -> None:
    case = diagnosis({"sync": 3000}, places=[place("sync", name, 3000)])
    assert word in advise(case).findings[0].remedy.text


def test_sync_remedy_names_the_line_where_the_call_alone_says_little() -> None:
    where = msgspec.structs.replace(
        place("sync", "cudaStreamSynchronize", 3000), line="train.py:5 in log"
    )
    (found,) = advise(diagnosis({"sync": 3000}, places=[where])).findings
    assert "the call that waits in train.py:5 in log" in found.remedy.text


def test_precision_remedy_suits_the_gpu() -> None:
    for capability, word in (("7.0", "GradScaler"), ("9.0", "bfloat16")):
        case = diagnosis(device={"compute_capability": capability},
                         kernel_summary=matrix(6000, 0.0))  # fmt: skip
        assert word in (advise(case).findings[0].remedy.snippet or "")


def test_python_between_operators_is_not_mended_by_compiling() -> None:
    remedy = advise(diagnosis({"python": 3000})).findings[0].remedy
    assert "Python" in remedy.text
    assert remedy.snippet is None


def test_what_counts_of_float32_kernels_is_said_first() -> None:
    """The terminal shows one line of evidence, under a cost that is half of the title's."""
    found = advise(diagnosis(kernel_summary=matrix(6000, 0.0))).findings[0]
    assert found.cost_us == 3000
    assert "6.00 ms" in found.title
    assert "half of that time is counted" in found.evidence[0].text


def test_one_long_gap_is_not_mended_by_cheaper_launches() -> None:
    assert "one wait of 6.00 ms in delta_r2" in _launch_remedy(_waiting(6000))
    assert "a few long waits of about 3.00 ms in delta_r2" in _launch_remedy(_waiting(3000))
    assert "CUDA graphs" in _launch_remedy(_waiting(12))  # one operator, hundreds of launches


def _waiting(gap_us: float) -> Place:
    return msgspec.structs.replace(place("dispatch", "delta_r2", 6000), gap_us=gap_us)


def _launch_remedy(where: Place) -> str:
    return advise(diagnosis({"dispatch": 7000}, places=[where])).findings[0].remedy.text


@pytest.mark.parametrize(("period", "words"), [(2, "2nd"), (3, "3rd"), (12, "12th"), (21, "21st")])
def test_periods_read_well(period: int, words: str) -> None:
    found = msgspec.structs.replace(PERIODIC, period=period)
    assert advise(diagnosis(outliers=found)).findings[0].title.startswith(f"Every {words} step")


def test_outliers_are_told_with_period_excess_and_cause() -> None:
    title = advise(diagnosis(outliers=PERIODIC)).findings[0].title
    assert title == "Every 8th step takes 80.0 ms longer (waiting for data), 12.0 % of all time"


def test_confidence_falls_with_missing_records_and_few_steps() -> None:
    idle = {"dataloader": 3000.0}
    assert advise(diagnosis(idle)).findings[0].confidence == "high"
    assert advise(diagnosis(idle, steps={"count": 1})).findings[0].confidence == "medium"
    damaged = diagnosis(idle, fidelity={"unknown_share": 0.3})
    assert advise(damaged).findings[0].confidence == "low"


@pytest.mark.parametrize("code", ["allocator-churn", "synchronous-checkpoint"])
def test_what_costs_nothing_is_not_told_even_when_all_is_asked_for(code: str) -> None:
    everything = Settings(least_share=0.0)
    free = diagnosis(run=run(checkpoints=saving(3e6, 0.0)))
    assert code not in [f.code for f in advise(free, settings=everything).findings]
    little = diagnosis({"allocator": 1, "checkpoint": 1})
    assert code in [f.code for f in advise(little, settings=everything).findings]
