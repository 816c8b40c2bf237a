"""Batch, tokens, phase, autograd and memory bounds of forward passes whose shapes were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.facts import facts_of
from perfkit.analyzers.pass_shapes import PassShapes, pass_shapes
from perfkit.analyzers.weight_reads import weight_reads
from perfkit.model.compute_facts import ComputeFacts, MatrixOperator, Peak
from perfkit.model.inference_facts import PassShape
from tests.analyzers.programs import Action, Event, recorded, trace_of

H100 = Peak(tflops={"bf16": 989.0}, memory_gb_per_s=3350.0, source="a data sheet")
FLASH = "aten::_flash_attention_forward"


def flash(batch: int, queries: int, keys: int, *, causal: bool = False) -> tuple[str, Any]:
    dims = [[batch, queries, 8, 64], [batch, keys, 8, 64], [batch, keys, 8, 64]]
    return FLASH, {"Input Dims": dims, "Input type": ["c10::BFloat16"] * 3,
                   "Concrete Inputs": [""] * 8 + [str(causal)]}  # fmt: skip


def product(m: int, sequence: int | None = None) -> tuple[str, Any]:
    said: dict[str, Any] = {"Input Dims": [[m, 4096], [4096, 4096]],
                            "Input type": ["c10::BFloat16"] * 2}  # fmt: skip
    return "aten::mm", said | ({} if sequence is None else {"Sequence number": sequence})


def shapes(operators: list[tuple[str, Any]], steps: int = 3) -> PassShapes:
    """Steps in which these operators each launch a kernel."""
    events: list[Event] = recorded([[Action("kernel", 5.0, 20.0)] * len(operators)] * steps)
    made = [e for e in events if e["cat"] == "cpu_op"]
    for i, event in enumerate(made):
        event["name"], args = operators[i % len(operators)]
        event["args"] = dict(args)
        if "Sequence number" in args:  # numbers go on from step to step
            event["args"]["Sequence number"] += 100 * (i // len(operators))
    return pass_shapes(facts_of(trace_of(events)))


@pytest.mark.parametrize(
    ("operators", "phase", "shape"),
    [
        ([flash(8, 1, 900)] * 4, "decode", PassShape(sequences=8, tokens=1, context=900)),
        ([flash(16, 559, 559, causal=True)] * 4, "prefill",
         PassShape(sequences=16, tokens=559, context=559)),
        ([flash(4, 197, 197)] * 4, None, PassShape(sequences=4, tokens=197, context=197)),
        ([flash(2, 4096, 77)] * 4, None, PassShape(sequences=2, tokens=4096, context=77)),
        ([flash(8, 1, 900)] * 2 + [flash(8, 64, 64, causal=True)] * 2, "mixed", None),
        ([flash(8, 1, 900)] * 3 + [flash(8, 64, 64, causal=True)], "decode", None),
        ([flash(8, 1, 1)] * 4, None, PassShape(sequences=8, tokens=1, context=1)),
        ([("aten::cudnn_convolution", {"Input Dims": [[4, 3, 224, 224], [64, 3, 7, 7]]})], None,
         PassShape(sequences=4)),
        ([product(8)], None, None),
    ],
)  # fmt: skip
def test_phase_and_batch(
    operators: list[tuple[str, Any]], phase: str | None, shape: PassShape | None
) -> None:
    made = shapes(operators)
    assert made.phase == phase
    if shape is not None or len(operators) == 1:
        assert made.shape == shape


def test_nothing_is_told_without_shapes() -> None:
    made = shapes([("aten::mm", {})])
    assert (made.shape, made.phase, made.autograd_nodes) == (None, None, None)


def test_autograd_is_not_known_where_no_operator_has_a_number() -> None:
    assert shapes([product(8)] * 3).autograd_nodes is None


def test_autograd_records_what_its_number_grows_by() -> None:
    """From 10 in the first of three steps to 230 in the last."""
    made = shapes([product(8, 10), product(8, 20), product(8, 30)])
    assert made.autograd_nodes == 220 / 3


def test_a_number_that_stands_still_records_nothing() -> None:
    assert shapes([product(8, 10)] * 4, steps=1).autograd_nodes == 0.0


def operator(m: int, count: float = 32.0, **more: Any) -> MatrixOperator:
    """A bf16 product with 4096 x 4096 weights."""
    usual: dict[str, Any] = {
        "name": "aten::mm", "kind": "gemm", "shapes": "", "format": "bf16", "count_per_step": count,
        "total_us": 20.0 * count, "flops": 2.0 * m * 4096 * 4096, "batch": 1, "m": m, "n": 4096,
        "k": 4096, "kernel": "nvjet", "tflops": 1.0,
    }  # fmt: skip
    return MatrixOperator(**(usual | more))


def compute(operators: list[MatrixOperator], **more: Any) -> ComputeFacts:
    return ComputeFacts(**{"flops_per_step": 1.0, "tflops": 1.0, "classes": [], "told_share": 0.9,
                           "peak": H100, "operators": operators, **more})  # fmt: skip


def test_a_decode_step_cannot_be_shorter_than_its_reads() -> None:
    cache = operator(1, name=FLASH, kind="attention", bytes=1e6)
    found = weight_reads(compute([operator(4), cache]), decodes=True)
    assert found is not None
    weights = 32 * 4096 * 4096 * 2
    assert (found.weight_bytes, found.cache_bytes, found.rows) == (weights, 32e6, 4)
    assert found.balanced_rows == round(989e12 * 2 / (2 * 3350e9))
    assert found.bound_us == pytest.approx((weights + 32e6) / 3350e9 * 1e6)
    computing_us = 2 * 4 * 4096 * 4096 * 32 / 989e12 * 1e6
    assert found.beyond_us == pytest.approx(weights / 3350e9 * 1e6 - computing_us)


def test_at_the_balance_computing_takes_as_long() -> None:
    found = weight_reads(compute([operator(295)]), decodes=True)
    assert found is not None
    assert found.beyond_us == pytest.approx(0.0, abs=1.0)
    more = weight_reads(compute([operator(2000)]), decodes=True)
    assert more is not None
    assert more.beyond_us == 0.0


def test_reading_never_takes_longer_than_the_kernels() -> None:
    """Weights that stay in the cache of the GPU are read faster than its memory allows."""
    found = weight_reads(compute([operator(4, total_us=32.0)]), decodes=True)
    assert found is not None
    assert found.beyond_us == 32.0


def test_rows_are_those_that_most_weights_are_read_for() -> None:
    head = operator(1, 1.0, n=100_000)
    found = weight_reads(compute([head, operator(888)]), decodes=False)
    assert found is not None
    assert found.rows == 888
    assert found.cache_bytes is None


def test_bounds_need_peaks_and_most_of_the_shapes() -> None:
    unknown = weight_reads(compute([operator(4)], peak=None), decodes=True)
    assert unknown is not None
    assert (unknown.bound_us, unknown.beyond_us, unknown.balanced_rows) == (None, None, None)
    assert weight_reads(compute([operator(4)], told_share=0.1), decodes=True) is None
    assert weight_reads(compute([]), decodes=True) is None
