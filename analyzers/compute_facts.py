"""Matrix work against the device's peak: FLOPs from recorded shapes, times from kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.inside import Spans, holder
from perfkit.analyzers.kernel_names import kind_of, precision, tensor_core_use
from perfkit.analyzers.names import used
from perfkit.analyzers.operator_work import Work, outputs_of, work_of
from perfkit.analyzers.peaks import peak_of
from perfkit.analyzers.tiles import tiles_of
from perfkit.model.compute_facts import (
    Bound,
    ComputeFacts,
    Format,
    MatrixClass,
    MatrixOperator,
    Peak,
)
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Bools, Device, Int64s, Kind

_MATRIX = (KernelKind.GEMM, KernelKind.CONVOLUTION, KernelKind.ATTENTION)
_PARENT, _OF_PARENT = "aten::cudnn_convolution_backward", "aten::cudnn_convolution_backward_weight"
_MOST_OPERATORS = 40
_LONGEST_NAME = 160


@dataclass(frozen=True)
class _Calls:
    """Matrix operators with kernels in counted steps; shape (calls,).

    `work` indexes a table of works; `total` is nanoseconds of kernels, `kernel` the name id of
    the longest of them.
    """

    name: Int64s
    work: Int64s
    total: Int64s
    kernel: Int64s


def compute_facts(facts: Facts, own_peaks: Mapping[str, Peak] | None = None) -> ComputeFacts | None:
    """None where no operator with kernels tells its shapes."""
    rows, text = _operators(facts)
    calls, works = _calls(facts, rows, text) if len(rows) else (None, [])
    if calls is None or not len(calls.work):
        return None
    device = _device(facts)
    peak = peak_of(device.name, own_peaks or {}) if device else None
    sms = device.sm_count if device else None
    table = [_operator(facts, calls, works, peak, sms, group) for group in _groups(calls)]
    table.sort(key=lambda operator: -operator.total_us)
    step_us = facts.per_step_us(facts.times.wall[facts.counted].sum())
    flops = sum(o.flops * o.count_per_step for o in table)
    return ComputeFacts(
        flops_per_step=flops,
        tflops=flops / (step_us * 1e6) if step_us else 0.0,
        told_share=_told_share(facts, table),
        peak=peak,
        mfu=_mfu(table, peak, step_us),
        classes=_classes(table, peak),
        operators=table[:_MOST_OPERATORS],
    )


def _device(facts: Facts) -> Device | None:
    devices = facts.trace.info.devices
    first = devices[0] if devices else None
    return next((d for d in devices if d.id == facts.work.device), first)


def _operators(facts: Facts) -> tuple[Int64s, Int64s]:
    """Trace rows of matrix operators, and the text of each.

    The weight gradients of old traces have the text of the operator around them.
    """
    trace, told = facts.trace, facts.trace.operands
    text_of = np.full(int(trace.row.max()) + 1 if len(trace) else 1, -1, dtype=np.int64)
    text_of[told.row[told.row < len(text_of)]] = told.text[told.row < len(text_of)]
    rows = np.flatnonzero((trace.kind == Kind.OPERATOR) & (text_of[trace.row] >= 0))
    text = text_of[trace.row[rows]]
    is_parent, is_weight = (trace.name[rows] == _id(facts, n) for n in (_PARENT, _OF_PARENT))
    parents, weights = rows[is_parent], np.flatnonzero(is_weight)
    around = holder(trace, parents, rows[weights])
    text[weights] = np.where(around >= 0, np.append(text[is_parent], -1)[around], -1)
    keep = ~is_parent & (text >= 0)
    return rows[keep], text[keep]


def _id(facts: Facts, name: str) -> int:
    return facts.trace.names.index(name) if name in facts.trace.names else -1


def _calls(facts: Facts, rows: Int64s, text: Int64s) -> tuple[_Calls, list[Work]]:
    """The calls whose work is known."""
    trace, work = facts.trace, facts.work
    at = Spans.of(trace, rows).launching(facts)
    mine = np.flatnonzero((at >= 0) & ~work.is_copy & facts.in_counted(work.start))
    dur, at = trace.dur[work.rows[mine]], at[mine]
    total = np.bincount(at, weights=dur, minlength=len(rows)).astype(np.int64)
    name = trace.name[work.rows[mine]]
    is_matrix = _is_matrix(facts)[name]  # an operator without such a kernel only casts
    kernel = np.full(len(rows), -1, dtype=np.int64)
    by_time = np.argsort(np.where(is_matrix, dur, -1), kind="stable")[int((~is_matrix).sum()) :]
    kernel[at[by_time]] = name[by_time]  # the longest is written last
    number, works = _works(facts, rows, text)
    known = (kernel >= 0) & (total > 0) & (number >= 0)
    return _Calls(
        trace.name[rows[known]].astype(np.int64), number[known], total[known], kernel[known]
    ), works


def _works(facts: Facts, rows: Int64s, text: Int64s) -> tuple[Int64s, list[Work]]:
    """Number of each operator's work, -1 where it is not known; each distinct text is read once."""
    names, told = facts.trace.names, facts.trace.operands
    outputs = outputs_of(_parent_texts(facts))
    keys, inverse = np.unique(np.stack((facts.trace.name[rows], text)), axis=1, return_inverse=True)
    found = [work_of(names[n], told.texts[t], outputs) for n, t in keys.T.tolist()]
    works = [work for work in found if work is not None]
    numbers = np.cumsum([work is not None for work in found]) - 1
    numbers[[work is None for work in found]] = -1
    return numbers[inverse.reshape(-1)], works


def _parent_texts(facts: Facts) -> list[str]:
    trace, told = facts.trace, facts.trace.operands
    if (parent := _id(facts, _PARENT)) < 0:
        return []
    is_parent = np.isin(told.row, trace.row[trace.name == parent])
    return [told.texts[i] for i in np.unique(told.text[is_parent]).tolist()]


def _groups(calls: _Calls) -> list[Int64s]:
    """Positions of the calls of each operator with the same shapes."""
    keys = np.stack((calls.name, calls.work))
    _, inverse = np.unique(keys, axis=1, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    cuts = np.flatnonzero(np.diff(inverse.reshape(-1)[order])) + 1
    return np.split(order, cuts)


def _operator(
    facts: Facts,
    calls: _Calls,
    works: Sequence[Work],
    peak: Peak | None,
    sms: int | None,
    group: Int64s,
) -> MatrixOperator:
    work = works[calls.work[group[0]]]
    total, names = calls.total[group], facts.trace.names
    kernel = names[_heaviest(calls.kernel[group], total)]
    cores, seconds = tensor_core_use(kernel), float(total.sum()) / 1e9
    form = _format(work.format, kernel, cores)
    ideal, bound = _ideal(work, form, peak)
    rate = work.flops * len(group) / seconds
    tiles = tiles_of(work, kernel, sms)
    return MatrixOperator(
        name=names[calls.name[group[0]]],
        kind=work.kind,
        shapes=work.shapes,
        format=form,
        count_per_step=len(group) / facts.mean_over,
        total_us=facts.per_step_us(total.sum()),
        flops=work.flops,
        bytes=work.bytes,
        **dict(zip(("batch", "m", "n", "k"), work.sizes or (None,) * 4, strict=True)),
        kernel=kernel[:_LONGEST_NAME],
        tensor_cores=cores,
        tflops=rate / 1e12,
        peak_share=_share(rate / 1e12, form, peak),
        bound=bound,
        ideal_us=ideal * len(group) / facts.mean_over if ideal is not None else None,
        tile=tiles.tile if tiles else None,
        tile_share=tiles.share if tiles else None,
    )


def _heaviest(names: Int64s, weights: Int64s) -> int:
    return int(np.argmax(np.bincount(names, weights=weights)))


def _format(form: Format | None, kernel: str, cores: bool | None) -> Format | None:
    """Of the arithmetic: float32 operands on tensor cores are multiplied in TF32."""
    if form != "fp32":
        return form
    is_tf32 = precision(kernel) == "tf32" or (cores and not re.search("_MI|mfma|xdl", kernel))
    return "tf32" if is_tf32 else "fp32"


def _ideal(work: Work, form: Format | None, peak: Peak | None) -> tuple[float | None, Bound | None]:
    """Microseconds of one call at peak, and what bounds it."""
    rate = peak.tflops.get(form) if peak and form else None
    if peak is None or rate is None or work.bytes is None:
        return None, None
    computing, moving = work.flops / (rate * 1e6), work.bytes / (peak.memory_gb_per_s * 1e3)
    return max(computing, moving), "compute" if computing >= moving else "memory"


def _share(tflops: float, form: Format | None, peak: Peak | None) -> float | None:
    rate = peak.tflops.get(form) if peak and form else None
    return tflops / rate if rate else None


def _told_share(facts: Facts, table: list[MatrixOperator]) -> float | None:
    """Of the time of all matrix kernels; more than that where operators launch others, too."""
    trace, work = facts.trace, facts.work
    is_matrix = _is_matrix(facts)[trace.name[work.rows]]
    mine = facts.in_counted(work.start) & ~work.is_copy & is_matrix
    whole = facts.per_step_us(trace.dur[work.rows[mine]].sum())
    return min(sum(o.total_us for o in table) / whole, 1.0) if whole else None


def _is_matrix(facts: Facts) -> Bools:
    """Whether each name is one of a matrix kernel; shape (names,)."""
    trace, work = facts.trace, facts.work
    found = np.zeros(len(trace.names), dtype=np.bool_)
    for i in used(trace, work.rows[~work.is_copy]):
        found[i] = kind_of(trace.names[i]) in _MATRIX
    return found


def _mfu(table: list[MatrixOperator], peak: Peak | None, step_us: float) -> float | None:
    times = [
        o.flops * o.count_per_step / (rate * 1e6)
        for o in table
        if peak and o.format and (rate := peak.tflops.get(o.format))
    ]
    return sum(times) / step_us if times and step_us else None


def _classes(table: list[MatrixOperator], peak: Peak | None) -> list[MatrixClass]:
    kinds = sorted({o.kind for o in table})
    return [_class([o for o in table if o.kind == kind], peak) for kind in kinds]


def _class(members: list[MatrixOperator], peak: Peak | None) -> MatrixClass:
    time = sum(o.total_us for o in members)
    flops = sum(o.flops * o.count_per_step for o in members)
    shares = [(o.peak_share, o.total_us) for o in members if o.peak_share is not None]
    told = [o for o in members if o.tensor_cores is not None]
    known, on_cores = sum(t for _, t in shares), sum(o.total_us for o in told if o.tensor_cores)
    return MatrixClass(
        kind=members[0].kind,
        total_us=time,
        flops_per_step=flops,
        tflops=flops / (time * 1e6),
        peak_share=sum(s * t for s, t in shares) / known if peak and known else None,
        tensor_core_share=on_cores / sum(o.total_us for o in told) if told else None,
    )
