"""Windows that serve: told from those that train, their phases, latencies and token loops."""

from __future__ import annotations

import pytest

from perfkit.analyzers.diagnose import diagnose
from perfkit.analyzers.served import Served, served
from perfkit.model.inference_facts import InferenceFacts
from tests.analyzers.programs import Action, Event, host, recorded, trace_of

KERNEL = Action("kernel", host=5.0, gpu=20.0)
PAUSE = Action("python", host=400.0)


def facts(events: list[Event]) -> InferenceFacts:
    found = diagnose(trace_of(events)).inference
    assert found is not None
    return found


def engine_steps(names: list[str], lengths: list[int]) -> list[Event]:
    """A step of so many kernels under each of these ranges, without ProfilerStep marks."""
    events = recorded([[KERNEL] * n for n in lengths])
    renamed = {f"ProfilerStep#{i}": name for i, name in enumerate(names)}
    return [{**e, "name": renamed.get(e["name"], e["name"])} for e in events]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("execute_new_2_cached_30", Served(2, 30)),
        ("execute_context_1(888_788544)_generation_0(0)", Served(1, 0, 888, 0)),
        ("execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk55086sqsq32sqsk55086)",
         Served(0, 32, 0, 32, 55086)),
        ("step[DECODE bs=63]", Served(0, 63, 0, 63)),
        ("step[decode bs=2 g_sq=4 g_sqsq=8 g_sqsk=160 g_sk=80]", Served(0, 2, 0, 4, 80)),
        ("step[EXTEND bs=17 toks=8192]", Served(17, 0, 8192, 0)),
        ("step[MIXED bs=5 c=2 g=3 c_sq=700 c_sk=700 g_sq=3 g_sk=99]",
         Served(2, 3, 700, 3, 99)),
        ("step[MIXED bs=5]", Served(1, 4)),
        ("step[TARGET_VERIFY bs=8 c_sq=32 c_sk=900]", Served(0, 8, 0, 32, 900)),
        ("decode[bs=117/128 tok=117 d=117]", Served(0, 117, 0, 117)),
        ("prefill[bs=2 tok=14721 ctx=[7803, 6918]]", Served(2, 0, 14721, 0)),
        ("[Executor] _forward_step 71: 1 ctx reqs, 900 ctx tokens, 32 gen reqs",
         Served(1, 32, 900)),
        ("[Executor] _forward_step: 0 ctx reqs, 4 gen reqs", Served(0, 4)),
        ("step[DRAFT_EXTEND bs=8]", None),
        ("step[3]", None),
        ("execute_context_1(888)", None),
        ("ProfilerStep#3", None),
    ],
)  # fmt: skip
def test_names_of_an_engine(name: str, told: Served | None) -> None:
    assert served(name) == told


def test_phases_by_names() -> None:
    assert (Served(1, 0).phase, Served(0, 3).phase, Served(1, 3).phase) == (
        "prefill", "decode", "mixed",
    )  # fmt: skip


def test_steps_of_an_engine_are_windows_and_groups() -> None:
    names = ["execute_new_0_cached_9"] * 6
    names[2] = "execute_new_1_cached_8"
    events = engine_steps(names, [6, 6, 60, 6, 6, 6])
    found = diagnose(trace_of(events))
    assert (found.steps.marker, found.steps.count) == ("detected", 6)
    assert found.inference is not None
    assert found.inference.told_by == "names"
    mixed, decode = found.inference.served
    assert (mixed.phase, mixed.wall.count, mixed.prompts) == ("mixed", 1, 1.0)
    assert (decode.phase, decode.wall.count, decode.generations) == ("decode", 5, 9.0)
    assert mixed.wall.p50_us > 5 * decode.wall.p50_us
    assert mixed.prompt_tokens is None


def test_steps_of_sglang_need_no_repeating_kernels() -> None:
    names = [f"step[DECODE bs={8 - i}]" for i in range(6)]
    names[1] = "step[EXTEND bs=1 toks=512]"
    found = diagnose(trace_of(engine_steps(names, [6, 60, 8, 6, 7, 6])))
    assert (found.steps.marker, found.steps.count) == ("detected", 6)
    assert found.inference is not None
    assert found.inference.engine == "SGLang"
    prefill, decode = found.inference.served
    assert (prefill.phase, prefill.prompt_tokens, prefill.wall.count) == ("prefill", 512.0, 1)
    assert (decode.phase, decode.wall.count) == ("decode", 5)


def test_what_a_small_model_proposes_is_a_part_of_the_step_that_verifies_it() -> None:
    names = ["step[TARGET_VERIFY bs=4]", "step[DECODE bs=4]", "step[DECODE bs=4]"] * 4
    found = diagnose(trace_of(engine_steps(names, [20, 3, 3] * 4)))
    assert found.steps.count == 4
    assert found.inference is not None
    assert [group.generations for group in found.inference.served] == [4.0]


def test_latency_is_of_the_walls_of_steps() -> None:
    found = diagnose(trace_of(recorded([[KERNEL] * 3 + [PAUSE]] * 9 + [[KERNEL] * 3])))
    assert found.inference is not None
    steps = found.inference.steps
    assert steps is not None
    walls = sorted(row.wall_us for row in found.step_rows if row.counted)
    assert steps.count == len(walls)
    assert steps.max_us == walls[-1]
    assert walls[0] <= steps.p50_us <= steps.p90_us <= steps.p99_us <= steps.max_us
    assert steps.p50_us == pytest.approx(found.steps.p50_us)


@pytest.mark.parametrize("sampler", ["aten::multinomial", "aten::argmax"])
def test_a_token_loop_inside_of_a_step(sampler: str) -> None:
    events = recorded([[KERNEL] * 3] * 3)
    begins = [e["ts"] for e in events if e["name"].startswith("ProfilerStep")]
    tokens = [host(sampler, t + 5 * i, 1.0, "cpu_op") for t in begins for i in range(6)]
    inner = [host("aten::argmax", e["ts"] + 0.2, 0.5, "cpu_op") for e in tokens
             if sampler != "aten::argmax"]  # fmt: skip
    found = facts([*events, *tokens, *inner])
    assert (found.phase, found.told_by, found.tokens_per_step) == ("decode", "token loop", 6.0)
    assert found.tokens is not None
    assert found.tokens.count == 15
    assert found.tokens.p50_us == pytest.approx(5.0)


def test_one_argmax_a_step_is_no_loop() -> None:
    events = recorded([[KERNEL] * 3] * 3)
    begins = [e["ts"] for e in events if e["name"].startswith("ProfilerStep")]
    found = facts([*events, *(host("aten::argmax", t + 5, 1.0, "cpu_op") for t in begins)])
    assert (found.phase, found.tokens, found.tokens_per_step) == ("forward", None, None)


@pytest.mark.parametrize(
    ("kernels", "phase"),
    [
        (["void flashinfer::BatchDecodeWithPagedKVCacheKernel<2>()"], "decode"),
        (["vllm::paged_attention_v2_kernel<half>()"], "decode"),
        (["flashinfer::BatchPrefillWithRaggedKVCacheKernel<>()"], "prefill"),
        (["BatchPrefillWithPagedKVCache()", "BatchDecodeWithPagedKVCache()"], "mixed"),
        (["gemv2T_kernel_val<int, bf16>()"], "decode"),
        (["ampere_bf16_s16816gemm_bf16_128x64()", "gemv2T_kernel_val<int, bf16>()"], "forward"),
        (["void pytorch_flash::flash_fwd_kernel<>()"], "forward"),
    ],
)
def test_phases_by_kernels(kernels: list[str], phase: str) -> None:
    events = recorded([[KERNEL] * len(kernels)] * 3)
    made = [e for e in events if e["cat"] == "kernel"]
    for i, event in enumerate(made):
        event["name"] = kernels[i % len(kernels)]
        event["dur"] = 20.0 if "gemm" in event["name"] or len(kernels) == 1 else 5.0
    assert facts(events).phase == phase


@pytest.mark.parametrize(
    "name",
    ["vllm::unified_attention_with_output", "sgl_kernel::rmsnorm", "trtllm::attention_inplace"],
)
def test_the_engine_by_its_operators(name: str) -> None:
    events = recorded([[KERNEL] * 3] * 3)
    assert facts([*events, host(name, events[0]["ts"], 1.0, "cpu_op")]).engine is not None
    assert facts(events).engine is None


@pytest.mark.parametrize(
    "name",
    ["autograd::engine::evaluate_function: MmBackward0", "Optimizer.step#AdamW.step",
     "perfkit::backward", "CompiledFunctionBackward"],
)  # fmt: skip
def test_a_window_that_trains_is_none(name: str) -> None:
    events = recorded([[KERNEL] * 3] * 3)
    assert diagnose(trace_of(events)).inference is not None
    events.append(host(name, events[0]["ts"], 1.0, "user_annotation"))
    assert diagnose(trace_of(events)).inference is None


@pytest.mark.parametrize(
    "kernel",
    ["flash_bwd_dq_dk_dv_loop_kernel", "cutlass_wgrad_s16816", "multi_tensor_apply_kernel<Adam>"],
)
def test_kernels_of_a_whole_step_graph_tell_that_it_trains(kernel: str) -> None:
    events = recorded([[KERNEL] * 3] * 3)
    next(e for e in events[5:] if e["cat"] == "kernel")["name"] = kernel
    assert diagnose(trace_of(events)).inference is None


def test_share_of_graph_replay() -> None:
    events = recorded([[KERNEL] * 4] * 3)
    calls = [e for e in events if e["name"] == "cudaLaunchKernel"]
    for call in calls[::2]:
        call["name"] = "cudaGraphLaunch"
    assert facts(events).graph_share == pytest.approx(0.5)
