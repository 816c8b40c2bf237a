"""FLOPs and bytes of one matrix operator from the shapes of its arguments.

The formulas are those of torch.utils.flop_counter; causal attention counts half, as its kernels
skip what is masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from perfkit.model.compute_facts import Format, MatrixKind

_FORMATS: tuple[tuple[str, Format], ...] = (
    ("Half", "fp16"), ("BFloat16", "bf16"), ("Float8", "fp8"), ("float", "fp32"), ("Float", "fp32"),
    ("double", "fp64"), ("Double", "fp64"), ("signed char", "int8"),
)  # fmt: skip
_BYTES: dict[Format, int] = {"fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}
_BACKWARD = 2.5  # of attention: five products where the forward pass has two

Dims = list[int]


@dataclass(frozen=True)
class Work:
    """One call: `sizes` are batch, m, n, k of a GEMM; `bytes` are read and written at least."""

    kind: MatrixKind
    shapes: str
    flops: float
    format: Format | None
    bytes: float | None
    sizes: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Arguments:
    """What an operator says of its arguments, one entry each; values are text."""

    dims: list[Any]
    types: list[str]
    values: list[str]

    def shape(self, i: int) -> Dims:
        """Dimensions of a tensor; ValueError where argument `i` is none."""
        dims = self.dims[i] if i < len(self.dims) else []
        if not dims or not all(type(size) is int and size > 0 for size in dims):
            raise ValueError("no tensor")
        return list(dims)

    def format(self, i: int) -> Format | None:
        """The number format of argument `i`."""
        name = self.types[i].removeprefix("c10::") if i < len(self.types) else ""
        return next((form for start, form in _FORMATS if name.startswith(start)), None)

    def value(self, i: int) -> str:
        """The text of a value, "" where it was not recorded."""
        return self.values[i] if i < len(self.values) else ""

    def lists(self) -> list[list[int]]:
        """All values that are lists of numbers, in order."""
        texts = (value.strip("[]").split(",") for value in self.values if value.startswith("["))
        return [[int(x) for x in text] for text in texts if all(_is_int(x) for x in text)]


def _is_int(text: str) -> bool:
    return text.strip().lstrip("-").isdigit()


def arguments_of(text: str) -> Arguments | None:
    """What the text of an `Operands` says; None where it cannot be read."""
    try:
        dims, types, values = msgspec.json.decode(text)
        return Arguments(list(dims), [str(t) for t in types], [str(v) for v in values])
    except (ValueError, TypeError):
        return None


def work_of(name: str, text: str, outputs: dict[tuple[Any, Any], Dims]) -> Work | None:
    """What the operator computes; None where its shapes do not tell.

    `outputs` gives the output of convolutions of old traces by input and weight, see `outputs_of`.
    """
    arguments = arguments_of(text)
    if arguments is None or name not in _OPERATORS:
        return None
    try:
        return _OPERATORS[name](arguments, outputs)
    except (ValueError, IndexError):
        return None


def outputs_of(texts: Sequence[str]) -> dict[tuple[Any, Any], Dims]:
    """Outputs of convolutions by input and weight, from calls of `cudnn_convolution_backward`.

    Profilers before torch 1.13 do not record strides; what two calls contradict is left out.
    """
    found: dict[tuple[Any, Any], set[tuple[int, ...]]] = {}
    for arguments in map(arguments_of, texts):
        try:
            x, out, w = (arguments.shape(i) for i in range(3)) if arguments else ([], [], [])
        except ValueError:
            continue
        found.setdefault((tuple(x), tuple(w)), set()).add(tuple(out))
    return {key: list(*outs) for key, outs in found.items() if len(outs) == 1}


def _gemm(first: int) -> Callable[[Arguments, Any], Work]:
    def work(said: Arguments, _: Any) -> Work:
        a, b = said.shape(first), said.shape(first + 1)
        if len(a) != len(b) or len(a) not in (2, 3) or a[-1] != b[-2] or a[:-2] != b[:-2]:
            raise ValueError("no product")
        batch, (m, k), n = math.prod(a[:-2]), a[-2:], b[-1]
        moved = batch * (m * k + k * n + m * n)
        return _work(said, first, "gemm", (a, b), 2.0 * batch * m * n * k, moved, (batch, m, n, k))

    return work


def _forward(said: Arguments, outputs: dict[tuple[Any, Any], Dims]) -> Work:
    x, w = said.shape(0), said.shape(1)
    out = _output(x, w, said.lists()) or outputs.get((tuple(x), tuple(w)))
    if out is None or len(out) != len(x):
        raise ValueError("stride not known")
    return _convolution(said, x, w, out, out[2:])


def _output(x: Dims, w: Dims, lists: list[list[int]]) -> Dims | None:
    """The output's dimensions; the first three lists are padding, stride, dilation."""
    if len(lists) < 3 or any(len(values) != len(x) - 2 for values in lists[:3]):
        return None
    sizes = zip(x[2:], w[2:], *lists[:3], strict=True)
    space = [(i + 2 * pad - dil * (kern - 1) - 1) // step + 1 for i, kern, pad, step, dil in sizes]
    return [x[0], w[0], *space]


def _convolution(said: Arguments, x: Dims, w: Dims, out: Dims, space: Dims, parts: int = 1) -> Work:
    flops = 2.0 * parts * x[0] * math.prod(space) * math.prod(w)
    moved = parts * sum(math.prod(dims) for dims in (x, w, out))
    return _work(said, 0, "convolution", (x, w), flops, moved)


def _backward(said: Arguments, _: Any) -> Work:
    """convolution_backward: one convolution for each gradient that its mask asks for."""
    out, x, w = (said.shape(i) for i in range(3))
    parts = said.value(10).strip("[]").split(", ")[:2].count("True")
    if not parts:
        raise ValueError("mask not known")
    space = x[2:] if said.value(7) == "True" else out[2:]  # transposed
    return _convolution(said, x, w, out, space, parts)


def _backward_input(said: Arguments, _: Any) -> Work:
    out, w = said.shape(1), said.shape(2)
    moved = math.prod(out) * 2 + math.prod(w)
    flops = 2.0 * out[0] * math.prod(out[2:]) * math.prod(w)
    return _work(said, 1, "convolution", (out, w), flops, moved)


def _backward_weight(said: Arguments, _: Any) -> Work:
    """With the arguments of the cudnn_convolution_backward around it: its own lack the weight."""
    x, out, w = (said.shape(i) for i in range(3))
    return _convolution(said, x, w, out, out[2:])


def _attention(first: int, causal: int, *, heads_first: bool, backward: bool = False) -> Any:
    def work(said: Arguments, _: Any) -> Work:
        q, k, v = (said.shape(first + i) for i in range(3))
        if not len(q) == len(k) == len(v) == 4:
            raise ValueError("sequences of several lengths")
        heads, queries, keys = q[1 if heads_first else 2], *_lengths(q, k, heads_first)
        flops = 2.0 * q[0] * heads * queries * keys * (q[3] + v[3])
        if said.value(causal) in ("True", "1", "2") and queries == keys:
            flops *= (queries + 1) / (2 * queries)
        moved = 2 * math.prod(q) + math.prod(k) + math.prod(v)
        times = (_BACKWARD, 2) if backward else (1, 1)
        return _work(said, first, "attention", (q, k), flops * times[0], moved * times[1])

    return work


def _lengths(q: Dims, k: Dims, heads_first: bool) -> tuple[int, int]:
    at = 2 if heads_first else 1
    return q[at], k[at]


def _work(
    said: Arguments,
    first: int,
    kind: MatrixKind,
    shapes: Sequence[Dims],
    flops: float,
    moved: float,
    sizes: tuple[int, int, int, int] | None = None,
) -> Work:
    form = said.format(first)
    shown = " · ".join("x".join(map(str, dims)) for dims in shapes)
    return Work(kind, shown, flops, form, moved * _BYTES[form] if form else None, sizes)


_OPERATORS: dict[str, Callable[[Arguments, Any], Work]] = {
    "aten::mm": _gemm(0),
    "aten::bmm": _gemm(0),
    "aten::_scaled_mm": _gemm(0),
    "aten::addmm": _gemm(1),
    "aten::baddbmm": _gemm(1),
    "aten::_addmm_activation": _gemm(1),
    "aten::cudnn_convolution": _forward,
    "aten::miopen_convolution": _forward,
    "aten::convolution_backward": _backward,
    "aten::cudnn_convolution_backward_input": _backward_input,
    "aten::cudnn_convolution_backward_weight": _backward_weight,
    "aten::_flash_attention_forward": _attention(0, 8, heads_first=False),
    "aten::_flash_attention_backward": _attention(1, 11, heads_first=False, backward=True),
    "aten::_efficient_attention_forward": _attention(0, 9, heads_first=False),
    "aten::_efficient_attention_backward": _attention(1, 14, heads_first=False, backward=True),
    "aten::_scaled_dot_product_cudnn_attention": _attention(0, 6, heads_first=True),
    "aten::_scaled_dot_product_cudnn_attention_backward":
        _attention(1, 14, heads_first=True, backward=True),
}  # fmt: skip
