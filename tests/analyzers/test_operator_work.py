"""FLOPs and bytes of operators against known numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.analyzers.operator_work import Work, outputs_of, work_of
from perfkit.analyzers.tiles import tiles_of

HALF = "c10::Half"


def text(dims: list[Any], values: list[str] | None = None, form: str = HALF) -> str:
    return json.dumps([dims, [form if d else "Scalar" for d in dims], values or []])


def found(name: str, dims: list[Any], values: list[str] | None = None) -> Work:
    work = work_of(name, text(dims, values), {})
    assert work is not None
    return work


IMAGE, FILTERS, OUT = [32, 3, 224, 224], [64, 3, 7, 7], [32, 64, 112, 112]
FIRST_LAYER = 2 * 32 * 112 * 112 * 64 * 3 * 7 * 7  # 118 million multiplications an image
QKV = [[2, 128, 8, 64]] * 3


@pytest.mark.parametrize(
    ("name", "dims", "values", "flops"),
    [
        ("aten::mm", [[128, 64], [64, 256]], None, 2 * 128 * 64 * 256),
        ("aten::addmm", [[256], [128, 64], [64, 256], [], []], None, 2 * 128 * 64 * 256),
        ("aten::bmm", [[4, 128, 64], [4, 64, 256]], None, 8 * 128 * 64 * 256),
        ("aten::baddbmm", [[4, 1, 1], [4, 8, 2], [4, 2, 8]], None, 8 * 8 * 2 * 8),
        ("aten::cudnn_convolution", [IMAGE, FILTERS, [], [], []],
         ["", "", "[3, 3]", "[2, 2]", "[1, 1]", "1"], FIRST_LAYER),
        ("aten::miopen_convolution", [IMAGE, FILTERS, [], [], [], []],
         ["", "", "", "[3, 3]", "[2, 2]", "[1, 1]", "1"], FIRST_LAYER),
        ("aten::convolution_backward", [OUT, IMAGE, FILTERS],
         ["", "", "", "[0]", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1",
          "[True, True, False]"], 2 * FIRST_LAYER),
        ("aten::convolution_backward", [OUT, IMAGE, FILTERS],
         ["", "", "", "[0]", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1",
          "[False, True, False]"], FIRST_LAYER),
        ("aten::_flash_attention_forward", QKV, [""] * 8 + ["False"],
         4 * 2 * 8 * 128 * 128 * 64),
        ("aten::_flash_attention_forward", QKV, [""] * 8 + ["True"],
         4 * 2 * 8 * 128 * 129 / 2 * 64),
        ("aten::_flash_attention_backward", [[2, 128, 8, 64], *QKV], [""] * 11 + ["False"],
         10 * 2 * 8 * 128 * 128 * 64),
    ],
)  # fmt: skip
def test_flops(name: str, dims: list[Any], values: list[str] | None, flops: float) -> None:
    assert found(name, dims, values).flops == pytest.approx(flops, rel=1e-12)


def test_bytes_are_of_all_operands_and_the_result() -> None:
    assert found("aten::mm", [[128, 64], [64, 256]]).bytes == 2 * (128 * 64 + 64 * 256 + 128 * 256)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aten::mm", text([[128, 64], [65, 256]])),
        ("aten::mm", text([[128, 64]])),
        ("aten::mm", text([[128, -1], [64, 256]])),
        ("aten::mm", "[[[1,2"),
        ("aten::mm", "[null,null,null]"),
        ("aten::cudnn_convolution", text([IMAGE, FILTERS])),
        ("aten::_flash_attention_forward", text([[100, 8, 64]] * 3)),
        ("aten::add", text([[1], [1]])),
    ],
)
def test_what_cannot_be_told_is_not_guessed(name: str, said: str) -> None:
    assert work_of(name, said, {}) is None


def test_strides_of_old_traces_come_from_the_backward_pass() -> None:
    outputs = outputs_of([text([IMAGE, OUT, FILTERS])])
    work = work_of("aten::cudnn_convolution", text([IMAGE, FILTERS]), outputs)
    assert work is not None
    assert work.flops == FIRST_LAYER
    contradicting = [text([IMAGE, OUT, FILTERS]), text([IMAGE, [32, 64, 110, 110], FILTERS])]
    assert outputs_of(contradicting) == {}


@pytest.mark.parametrize(
    ("sizes", "kernel", "share"),
    [
        ((1, 1408, 1280, 64), "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn", 0.509),
        ((1, 1536, 1152, 64), "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn", 1.0),
        ((1, 1536, 1152, 64), "ampere_fp16_s16816gemm_fp16_128x128_splitK_32x5_tn", None),
        ((1, 128, 128, 64), "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn", None),
        ((1, 1536, 1152, 64), "nvjet_hsh_128x128_64x4_1x2_h_bz_NNN", None),
    ],
)
def test_waves_of_tiles(sizes: tuple[int, int, int, int], kernel: str, share: float | None) -> None:
    """On 108 multiprocessors: 110 tiles take two waves, 108 take one."""
    tiles = tiles_of(Work("gemm", "", 1.0, "fp16", 1.0, sizes), kernel, 108)
    assert (tiles and round(tiles.share, 3)) == share
