"""Advice for windows that serve: what must and must not be said, and never what trains."""

from __future__ import annotations

import re
from typing import Any

import pytest

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.settings import Settings
from perfkit.reports.advice import advise
from tests.advice.builder import all_reduces, copies, diagnosis, matrix, place
from tests.advice.runs import gaps
from tests.advice.serving import inference, reads, served

LAUNCH = {"launch": 1500.0, "dispatch": 1500.0, "python": 500.0}
SLOW_PROMPTS = [served("mixed", 26_000.0, 3), served("decode", 3000.0, 7)]


def serving(idle: dict[str, float] | None = None, *, of: dict[str, Any] | None = None,
            framework: dict[str, Any] | None = None, **more: Any) -> Diagnosis:  # fmt: skip
    """A 10 ms step of a window in which nothing trains."""
    return diagnosis(idle, framework={"inference": True, **(framework or {})},
                     inference=inference(**(of or {})), **more)  # fmt: skip


FIRES = [
    ("prefill-stalls-decode", "prompts make steps eight times as long",
     serving(of={"served": SLOW_PROMPTS}), "info"),
    ("weights-read-for-few-rows", "decode of one sequence", serving(of={"reads": reads(1, 4700.0)}),
     "info"),
    ("weights-read-for-few-rows", "a small batch of images",
     serving(of={"phase": "forward", "reads": reads(32, 900.0)}), "info"),
    ("autograd-in-inference", "no inference mode", serving(of={"autograd_nodes": 842.0}), "info"),
]  # fmt: skip

SILENT = [
    ("prefill-stalls-decode", "chunks keep steps short",
     serving(of={"served": [served("mixed", 20_000.0, 4), served("decode", 5000.0, 6)]})),
    ("prefill-stalls-decode", "too few steps to tell",
     serving(of={"served": [served("mixed", 40_000.0, 2), served("decode", 3000.0, 8)]})),
    ("prefill-stalls-decode", "prompts are read elsewhere",
     serving(of={"served": [served("decode", 6000.0)]})),
    ("prefill-stalls-decode", "no engine tells", serving()),
    ("prefill-stalls-decode", "training", diagnosis()),
    ("weights-read-for-few-rows", "prefill", serving(of={"reads": reads(8944, 0.0)})),
    ("weights-read-for-few-rows", "near balance", serving(of={"reads": reads(200, 1500.0)})),
    ("weights-read-for-few-rows", "peaks are not known",
     serving(of={"reads": reads(1, None, balanced_rows=None, bound_us=None)})),
    ("weights-read-for-few-rows", "little of the step", serving(of={"reads": reads(1, 30.0)})),
    ("weights-read-for-few-rows", "no shapes", serving()),
    ("weights-read-for-few-rows", "training", diagnosis()),
    ("autograd-in-inference", "inference mode", serving(of={"autograd_nodes": 0.0})),
    ("autograd-in-inference", "shapes were not recorded", serving()),
    ("autograd-in-inference", "training", diagnosis()),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "case", "severity"), FIRES)
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = {f.code: f for f in advise(case).findings}
    assert code in found, why
    assert found[code].severity == severity
    is_hazard = code == "autograd-in-inference"  # of memory: the trace has no time for it
    assert (0 if is_hazard else 1) <= found[code].cost_us <= case.steps.mean_us * (not is_hazard)
    assert found[code].evidence
    assert found[code].remedy.text.endswith(".")


@pytest.mark.parametrize(("code", "why", "case"), SILENT)
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"engine": "vLLM"}, "--enforce-eager"),
        ({"engine": "SGLang"}, "--cuda-graph-max-bs"),
        ({"engine": "TensorRT-LLM"}, "cuda_graph_config"),
        ({"engine": "Transformers"}, "static"),
        ({"phase": "decode"}, "static"),
        ({"phase": "forward"}, "reduce-overhead"),
        ({"engine": "vLLM", "graph_share": 0.9}, "--async-scheduling"),
        ({"graph_share": 0.9}, "between the replays"),
    ],
)
def test_a_host_that_is_too_slow_gets_the_setting_of_its_engine(
    facts: dict[str, Any], word: str
) -> None:
    remedy = advise(serving(LAUNCH, of=facts)).findings[0].remedy
    assert word in f"{remedy.text} {remedy.snippet}"


TRAINS = re.compile(
    r"optimi[sz]er|backward|gradscaler|gradient|\bloss\b|num_workers|dataloader|\bddp\b|training",
    re.IGNORECASE,
)
SERVES = re.compile(r"vllm|sglang|generate\(|inference|requests?\b|kv cache", re.IGNORECASE)
EVERYTHING: dict[str, Any] = {
    "communication": 1500.0, "collectives": all_reduces(1500), "copy": 500.0,
    "copies": copies("pageable", 500.0), "kernel_summary": matrix(6000, 0.0),
    "python_gaps": gaps(500, 900),
}  # fmt: skip
IDLE = LAUNCH | {"sync": 900.0, "allocator": 300.0, "gc": 200.0}


def told(case: Diagnosis) -> str:
    """Every remedy, with those whose finding is too small to be told otherwise."""
    found = advise(case, settings=Settings(least_share=0.0)).findings
    assert len(found) > 5
    return "\n".join(f"{f.code}: {f.remedy.text} {f.remedy.snippet}" for f in found)


@pytest.mark.parametrize("sync", ["aten::item", "cudaStreamSynchronize"])
@pytest.mark.parametrize("engine", ["vLLM", "Transformers", None])
def test_serving_gets_no_advice_on_training(engine: str | None, sync: str) -> None:
    where = [place(Cause.SYNC.value, sync, 900.0)]
    of = {"engine": engine, "served": SLOW_PROMPTS, "reads": reads(1, 900.0), "autograd_nodes": 9.0}
    case = serving(IDLE, of=of, places=where, **EVERYTHING)
    assert not TRAINS.findall(told(case))


@pytest.mark.parametrize("parallelism", [[], ["DDP"]])
def test_training_gets_no_advice_on_serving(parallelism: list[str]) -> None:
    case = diagnosis(IDLE | {"dataloader": 300.0}, framework={"parallelism": parallelism},
                     **EVERYTHING)  # fmt: skip
    assert not SERVES.findall(told(case))


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"engine": "vLLM"}, "--max-num-seqs"),
        ({"engine": "SGLang"}, "--max-running-requests"),
        ({"phase": "decode"}, "continuous batching"),
        ({"phase": "forward"}, "dynamic batching"),
    ],
)
def test_few_rows_get_the_batching_that_suits(facts: dict[str, Any], word: str) -> None:
    (found,) = advise(serving(of={"reads": reads(1, 4700.0), **facts})).findings
    assert word in f"{found.remedy.text} {found.remedy.snippet}"
    assert "at least 4.78 ms at the peak bandwidth" in found.evidence[0].text
    assert "295 rows" in found.evidence[1].text


def test_a_loader_that_holds_up_batch_inference_is_told() -> None:
    case = serving({"dataloader": 3000.0}, of={"phase": "forward"})
    assert advise(case).findings[0].code == "dataloader-starvation"
