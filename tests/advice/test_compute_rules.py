"""Rules on kernels: when they speak, what they cost, and what fits the software at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.model.compute_facts import OptimizerFacts, WasteFacts
from perfkit.model.diagnosis import Diagnosis, Finding, Remedy
from perfkit.model.run_facts import MemoryFacts
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis, place
from tests.advice.kernel_facts import (
    attention,
    computing,
    optimizer,
    product,
    tiled,
    wasting,
    work,
)
from tests.advice.serving import inference
from tests.advice.step_programs import write
from tests.advice.test_predicted import predicting
from tests.traces import PUBLIC, needs_public

ADAM, SGD = {"optimizer": "AdamW"}, {"optimizer": "SGD"}
INFERENCE = {"inference": True}
MOMENTUM = ["add", "mul"]


def memory(allocated: int) -> MemoryFacts:
    return MemoryFacts(steps=500, peak_allocated_bytes=allocated, peak_reserved_bytes=allocated)


def of(waste: WasteFacts, **more: Any) -> Diagnosis:
    return diagnosis(waste=waste, **more)


# (code, why, diagnosis, severity)
FIRES = [
    ("layout-transposes", "a quarter", of(wasting(layout=work(2500))), "critical"),
    ("layout-transposes", "six percent of an AMD GPU's step",
     of(wasting(layout=work(600)), device={"name": "AMD Instinct MI300X"}), "warning"),
    ("unfused-attention", "a third", of(wasting(attention=attention(3300))), "critical"),
    ("unfused-attention", "one percent", of(wasting(attention=attention(100))), "info"),
    ("unfused-attention", "serving", of(wasting(attention=attention(900)), framework=INFERENCE),
     "warning"),
    ("activation-recompute", "a fifth is a price, not a fault",
     of(wasting(recompute=work(2000))), "info"),
    ("activation-recompute", "half of the memory is free",
     of(wasting(recompute=work(2000)), device={"memory_gb": 80.0}, memory=memory(40 * 10**9)),
     "info"),
    ("zeroed-gradients", "memsets and fills", of(wasting(zeroing=work(600))), "warning"),
    ("zeroed-gradients", "short fills, for whose launches the GPU waits",
     of(wasting(zeroing=work(20), zeroing_idle_us=600.0), idle={"dispatch": 900.0}), "warning"),
    ("unfused-conv-batchnorm", "served", of(wasting(inference_norm=work(2200)),
                                           framework=INFERENCE), "critical"),
    ("unfused-elementwise", "a fifth is a chance", of(wasting(chains=work(2000))), "info"),
    ("optimizer-not-fused", "AdamW by foreach",
     of(wasting(optimizer=optimizer(2000)), framework=ADAM), "info"),
    ("optimizer-not-fused", "SGD with momentum, one by one",
     of(wasting(optimizer=optimizer(2000, form="for-loop", operators=MOMENTUM)), framework=SGD),
     "info"),
    ("optimizer-not-fused", "it waits for launches, too, though less than it would save",
     of(wasting(optimizer=optimizer(2000, 300)), idle={"launch": 400}, framework=ADAM), "info"),
    ("misaligned-shapes", "a vocabulary of 50257",
     diagnosis(compute=computing(product(4000, 1000))), "critical"),
    ("misaligned-shapes", "off the tensor cores",
     diagnosis(compute=computing(product(900, 300, kernel="sgemm_128", tensor_cores=False))),
     "warning"),
    ("misaligned-shapes", "an inner size that is odd",
     diagnosis(compute=computing(product(900, 300, n=4096, k=1001))), "warning"),
    ("tile-quantization", "110 tiles on 108 multiprocessors",
     diagnosis(compute=computing(tiled(3000, 1300, 0.51))), "info"),
]  # fmt: skip

# (code, why, diagnosis)
SILENT = [
    ("layout-transposes", "channels_last: the first layer alone", of(wasting(layout=work(20)))),
    ("layout-transposes", "none", of(wasting())),
    ("layout-transposes", "operators were not recorded", diagnosis()),
    ("unfused-attention", "fused", of(wasting())),
    ("unfused-attention", "short sequences", of(wasting(attention=attention(30)))),
    ("activation-recompute", "memory is needed",
     of(wasting(recompute=work(2000)), device={"memory_gb": 80.0}, memory=memory(75 * 10**9))),
    ("activation-recompute", "no checkpoints", of(wasting())),
    ("zeroed-gradients", "set to None", of(wasting())),
    ("zeroed-gradients", "few", of(wasting(zeroing=work(20)))),
    ("unfused-conv-batchnorm", "folded", of(wasting(), framework=INFERENCE)),
    ("unfused-conv-batchnorm", "training", of(wasting(inference_norm=work(2200)))),
    ("unfused-elementwise", "compiled",
     of(wasting(chains=work(2000)), framework={"compiled": True})),
    ("unfused-elementwise", "little to join", of(wasting(chains=work(30)))),
    ("optimizer-not-fused", "fused",
     of(wasting(optimizer=optimizer(900, form="fused", operators=[])), framework=ADAM)),
    ("optimizer-not-fused", "SGD without momentum moves the same in each form",
     of(wasting(optimizer=optimizer(2000, operators=["add"])), framework=SGD)),
    ("optimizer-not-fused", "compiled: no operator of its arithmetic runs",
     of(wasting(optimizer=optimizer(900, form="for-loop", operators=[])), framework=ADAM)),
    ("optimizer-not-fused", "torch.optim has no fused form",
     of(wasting(optimizer=optimizer(2000)), framework={"optimizer": "NAdam"})),
    ("optimizer-not-fused", "launch-bound tells it with the same remedy",
     of(wasting(optimizer=optimizer(900, 4000)), idle={"launch": 4500}, framework=ADAM)),
    ("misaligned-shapes", "padded", diagnosis(compute=computing(product(4000, 1000, n=50304)))),
    ("misaligned-shapes", "the library copes: whole loads",
     diagnosis(compute=computing(product(4000, 1000, kernel="s16816gemm_tn_align8")))),
    ("misaligned-shapes", "four elements of TF32 are 16 bytes",
     diagnosis(compute=computing(product(4000, 1000, format="tf32", n=50258,
                                         kernel="cutlass_80_tensorop_s1688gemm_tn_align4")))),
    ("misaligned-shapes", "as fast as products get",
     diagnosis(compute=computing(product(1200, 1000)))),
    ("misaligned-shapes", "a peak that is not known",
     diagnosis(compute=computing(product(4000, None)))),
    ("misaligned-shapes", "float32 uses no tensor cores",
     diagnosis(compute=computing(product(4000, 1000, format="fp32", tensor_cores=False)))),
    ("misaligned-shapes", "too short to be mended",
     diagnosis(compute=computing(product(80, 2, count_per_step=16.0)))),
    ("misaligned-shapes", "AMD's kernels have other rules",
     diagnosis(device={"name": "AMD Instinct MI300X"}, compute=computing(product(4000, 1000)))),
    ("misaligned-shapes", "no shapes", diagnosis()),
    ("tile-quantization", "whole waves", diagnosis(compute=computing(tiled(3000, 2300, 0.97)))),
    ("tile-quantization", "limited by memory",
     diagnosis(compute=computing(tiled(3000, 1300, 0.51, bound="memory")))),
    ("tile-quantization", "no tile in the kernel's name",
     diagnosis(compute=computing(tiled(3000, 1300, None)))),
    ("tile-quantization", "faster than its waves would allow",
     diagnosis(compute=computing(tiled(3000, 2500, 0.51)))),
    ("tile-quantization", "no shapes", diagnosis()),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "case", "severity"), FIRES)
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = told(case, code)
    assert found.severity == severity, why
    assert 0 < found.cost_us <= case.breakdown_us.compute
    assert found.gain_us.bound == found.cost_us
    assert found.title[0].isupper()
    assert found.remedy.text.endswith(".")
    assert found.evidence


@pytest.mark.parametrize(("code", "why", "case"), SILENT)
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


def told(case: Diagnosis, code: str) -> Finding:
    return next(f for f in advise(case).findings if f.code == code)


def words(remedy: Remedy) -> str:
    return f"{remedy.text} {remedy.snippet}"


@pytest.mark.parametrize(
    ("case", "code", "us"),
    [
        (of(wasting(optimizer=optimizer(1800)), framework=ADAM), "optimizer-not-fused", 1100.0),
        (of(wasting(optimizer=optimizer(1600, operators=MOMENTUM)), framework=SGD),
         "optimizer-not-fused", 600.0),
        (diagnosis(compute=computing(product(4000, 1000))), "misaligned-shapes", 2750.0),
        (diagnosis(compute=computing(tiled(3000, 1300, 0.51))), "tile-quantization", 1375.0),
        (diagnosis(compute=computing(tiled(3000, 800, 0.51))), "tile-quantization", 1470.0),
        (of(wasting(layout=work(9500)), idle={"launch": 4000}), "layout-transposes", 6000.0),
    ],
)  # fmt: skip
def test_what_it_costs(case: Diagnosis, code: str, us: float) -> None:
    """7 of 18 and 5 of 8 tensors are left; products reach 80 %; streams overlap."""
    assert told(case, code).cost_us == pytest.approx(us)


def test_joining_kernels_is_said_to_save_no_more_than_their_time() -> None:
    """Replay of the fix counts launches too, of which launch-bound tells."""
    case = of(wasting(chains=work(500)), idle={"launch": 3000}, whatif=predicting("fusion"))
    assert told(case, "unfused-elementwise").gain_us.expected is None


@pytest.mark.parametrize("code", ["unfused-attention", "unfused-elementwise"])
@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"engine": "vLLM"}, "vllm serve"),
        ({"engine": "SGLang"}, "sglang.launch_server"),
        ({"engine": "Transformers"}, "model"),
        ({}, "torch"),
    ],
)
def test_engines_get_their_own_settings(code: str, facts: dict[str, Any], word: str) -> None:
    waste = wasting(attention=attention(2000), chains=work(900))
    remedy = told(of(waste, framework=INFERENCE, inference=inference(**facts)), code).remedy
    assert word in words(remedy)
    assert not re.search("dropout|training|loss|optimizer", words(remedy))


def test_attention_that_fell_back_is_asked_why() -> None:
    plain, fallen = (
        told(of(wasting(attention=attention(2000, in_sdpa=inside))), "unfused-attention").remedy
        for inside in (False, True)
    )
    assert "dropout_p" in words(plain)
    assert "sdpa_kernel" in words(fallen)


def test_layout_and_recomputation_know_the_software() -> None:
    amd = of(wasting(layout=work(900)), device={"name": "AMD Instinct MI300X"})
    assert "MIOPEN" in words(told(amd, "layout-transposes").remedy)
    assert "MIOPEN" not in words(told(of(wasting(layout=work(900))), "layout-transposes").remedy)
    megatron = of(wasting(recompute=work(900)), framework={"parallelism": ["Megatron-LM"]})
    assert "--recompute" in words(told(megatron, "activation-recompute").remedy)


def test_a_size_is_padded_to_what_tensor_cores_load() -> None:
    remedy = told(diagnosis(compute=computing(product(4000, 1000))), "misaligned-shapes").remedy
    assert "50257 to 50264, a multiple of 8" in remedy.text
    inner = computing(product(900, 300, n=4096, k=1001, format="fp8"))
    assert "1001 to 1008" in told(diagnosis(compute=inner), "misaligned-shapes").remedy.text


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({}, "whole waves (2,560 rows in place of 2,816 need 1 in place of 2), or let"),
        ({"m": 4864, "n": 1536}, "(4,608 rows in place of 4,864 need 2 in place of 3)"),
        ({"m": 2560, "n": 1280}, "whole waves, or let"),
        ({"tile": None}, "whole waves, or let"),
    ],
)
def test_the_rows_that_fill_whole_waves_are_named(sizes: dict[str, Any], words: str) -> None:
    case = diagnosis(device={"sm_count": 108}, compute=computing(tiled(3000, 1300, 0.51, **sizes)))
    assert words in told(case, "tile-quantization").remedy.text


def launching(found: OptimizerFacts, name: str, idle: dict[str, float]) -> Finding:
    case = of(wasting(optimizer=found), idle=idle, framework={"optimizer": name},
              whatif=predicting("cuda-graphs"), places=[])  # fmt: skip
    return told(case, "launch-bound")


def test_launches_of_the_optimizer_are_mended_there() -> None:
    many = optimizer(900, 3500, form="for-loop", kernels_per_step=1500.0)
    found = launching(many, "AdamW", {"launch": 2000, "python": 2000})
    assert "fused=True" in words(found.remedy)
    assert (found.cost_us, found.gain_us.bound, found.gain_us.expected) == (4000, 3500, None)
    assert "3.50 ms of it" in found.evidence[1].text
    assert "foreach=True" in words(launching(many, "NAdam", {"launch": 4000}).remedy)
    by_group = optimizer(900, 3500)
    assert "foreach=True" not in words(launching(by_group, "NAdam", {"launch": 4000}).remedy)


@pytest.mark.parametrize("found", [optimizer(900, 1500), optimizer(900, 3500, form="fused")])
def test_other_launches_keep_the_remedy_for_all_kernels(found: OptimizerFacts) -> None:
    told = launching(found, "AdamW", {"launch": 4000})
    assert "reduce-overhead" in words(told.remedy)
    assert told.gain_us.expected is not None


def test_only_what_has_a_fused_form_is_told_to_use_it() -> None:
    few = optimizer(900, 500)
    assert "AdamW(model.parameters(), ..., fused" in words(
        launching(few, "AdamW", {"launch": 4000}).remedy
    )
    assert "fused=True" not in words(launching(few, "Adagrad", {"launch": 4000}).remedy)


def test_launches_of_zero_grad_are_not_the_optimizers() -> None:
    where = [place("dispatch", f"Optimizer.zero_grad#{name}.zero_grad", 2500) for name in
             ("SGD", "FusedLAMB")] + [place("dispatch", "aten::mm", 100)]  # fmt: skip
    case = of(wasting(zeroing=work(50), zeroing_idle_us=2500.0, optimizer=optimizer(900, 800)),
              idle={"dispatch": 4000}, framework=SGD, places=where)  # fmt: skip
    zeroed, launches = told(case, "zeroed-gradients"), told(case, "launch-bound")
    assert (zeroed.cost_us, launches.cost_us) == (2550.0, 1500.0)
    assert zeroed.cause == "dispatch"
    assert "set_to_none=True" in words(zeroed.remedy)
    assert [found.name for found in launches.where] == ["aten::mm"]
    assert "2.50 ms of it in zero_grad" in launches.evidence[0].text
    assert launches.gain_us.bound == 800.0  # most of what is left is the optimizer's


def test_a_fused_optimizer_is_not_told_to_be_fused() -> None:
    found = launching(optimizer(900, 500, form="fused"), "AdamW", {"launch": 4000})
    assert "fused" not in words(found.remedy)


def test_python_in_the_optimizer_is_the_optimizers() -> None:
    many = optimizer(900, 3500, form="for-loop")
    assert "fused=True" in words(launching(many, "AdamW", {"python": 4000}).remedy)
    long = of(wasting(optimizer=many), idle={"launch": 4000}, framework=ADAM,
              places=[place("launch", "loop", 3900)])  # fmt: skip
    assert "loop" in told(long, "launch-bound").remedy.text


# What the analyzers must see of single steps, which labels/compute.toml has more of.
PAIR = """
aten::mm (4096x4096 4096x4096 bf16) => 600 ampere_bf16_s16816gemm_bf16_256x128_ldg8_stages_64x3_tn
aten::add => {first} void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add<float>>
aten::mul => {second} void at::native::vectorized_elementwise_kernel<4, MulFunctor<float>>
"""


@pytest.mark.parametrize(("first", "second"), [(30, 90), (90, 30)])
def test_of_two_kernels_the_shorter_one_can_be_saved(
    first: int, second: int, tmp_path: Path
) -> None:
    path = write({"step": PAIR.format(first=first, second=second)}, tmp_path)
    waste = perfkit.analyze(path).waste
    assert waste is not None
    assert waste.chains == work(30.0, 1.0)


def test_what_stays_in_the_cache_is_no_traffic(tmp_path: Path) -> None:
    path = write({"step": PAIR.format(first=4, second=90)}, tmp_path)
    waste = perfkit.analyze(path).waste
    assert waste is not None
    assert waste.chains is None


RESNET = "resnet50_v100/num_workers_0.pt.trace.json.gz"
MI300X = "mi300x/resnet_act_checkpoint.json.gz"
QWEN = "h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
SWEEP = "batch_sweep_a100/batch_256.pt.trace.json.gz"
BERT = "h100/gaunernst_bert-small-uncased__1016001.json.gz"
PLAIN_SGD = "hta/df_index_resolver/df_index_resolver.json.gz"
COMPILED = "edge/torch_compile_triton.json.gz"


@needs_public
@pytest.mark.parametrize(
    ("path", "spoken", "silent"),
    [
        (MI300X, {"layout-transposes", "activation-recompute"}, {"optimizer-not-fused"}),
        (QWEN, {"unfused-elementwise"}, {"unfused-attention", "tile-quantization"}),
        (SWEEP, {"unfused-attention"}, {"misaligned-shapes"}),
        (BERT, {"misaligned-shapes"}, {"unfused-attention"}),
        (PLAIN_SGD, {"zeroed-gradients"}, {"optimizer-not-fused"}),
        (RESNET, {"zeroed-gradients"}, {"layout-transposes", "unfused-conv-batchnorm"}),
        (COMPILED, set(), {"unfused-elementwise", "tile-quantization"}),
    ],
)
def test_public_traces(path: str, spoken: set[str], silent: set[str]) -> None:
    found = {f.code for f in perfkit.analyze(PUBLIC / path).findings}
    assert spoken <= found
    assert not silent & found
