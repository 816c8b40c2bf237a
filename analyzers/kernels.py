"""Kernels by name and by class, means over the counted steps."""

from __future__ import annotations

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.kernel_names import kind_of, precision, tensor_core_use
from perfkit.analyzers.rows import numbered
from perfkit.model.diagnosis import Kernel, KernelClass, KernelSummary
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Int64s, Kind

_SHORT_NS = 10_000
_MOST_NAMES = 1000  # of one report; what is left out is the shortest, and its class still counts it
_LONGEST_NAME = 400


def kernel_tables(facts: Facts) -> tuple[list[Kernel], KernelSummary | None]:
    """The kernels by total time, and the summary; None without kernels in the counted steps."""
    rows = facts.work.rows[facts.in_counted(facts.work.start)]
    rows = rows[facts.trace.kind[rows] == Kind.KERNEL]
    if not len(rows):
        return [], None
    table = _by_name(facts, rows)
    return table[:_MOST_NAMES], _summary(facts, rows, table)


def _by_name(facts: Facts, rows: Int64s) -> list[Kernel]:
    names, inverse = numbered(facts.trace.name[rows])
    total = np.zeros(len(names), dtype=np.int64)
    np.add.at(total, inverse, facts.trace.dur[rows])
    count = np.bincount(inverse)
    whole = max(int(total.sum()), 1)
    return [
        Kernel(
            name=facts.trace.names[names[i]][:_LONGEST_NAME],
            kind=kind_of(facts.trace.names[names[i]]).value,
            launches_per_step=float(count[i]) / facts.mean_over,
            total_us=facts.per_step_us(total[i]),
            mean_us=float(total[i]) / 1000 / float(count[i]),
            share=float(total[i]) / whole,
        )
        for i in np.argsort(-total, kind="stable").tolist()
    ]


def _summary(facts: Facts, rows: Int64s, table: list[Kernel]) -> KernelSummary:
    dur = facts.trace.dur[rows]
    return KernelSummary(
        launches_per_step=len(rows) / facts.mean_over,
        median_us=float(np.median(dur)) / 1000,
        under_10us_share=float((dur < _SHORT_NS).mean()),
        classes=_classes(table),
    )


def _classes(table: list[Kernel]) -> list[KernelClass]:
    kinds = {kernel.kind for kernel in table}
    found = [_class(kind, [k for k in table if k.kind == kind]) for kind in kinds]
    return sorted(found, key=lambda entry: (-entry.total_us, entry.kind))


def _class(kind: str, members: list[Kernel]) -> KernelClass:
    return KernelClass(
        kind=kind,
        launches_per_step=sum(k.launches_per_step for k in members),
        total_us=sum(k.total_us for k in members),
        share=sum(k.share for k in members),
        tensor_core_share=_tensor_core_share(members),
    )


def _tensor_core_share(members: list[Kernel]) -> float | None:
    """Of the time whose kernels' names tell; None when that is less than half of all."""
    told = [(k.total_us, use) for k in members if (use := tensor_core_use(k.name)) is not None]
    whole = sum(time for time, _ in told)
    if not whole or whole < 0.5 * sum(k.total_us for k in members):
        return None
    return sum(time for time, use in told if use) / whole


_LOW = frozenset(("fp16", "bf16", "fp8", "int8", "fp4"))
_MATRIX = (KernelKind.GEMM, KernelKind.CONVOLUTION, KernelKind.ATTENTION)


def low_precision_share(table: list[Kernel]) -> float | None:
    """Share of matrix-kernel time in 16 bits or fewer, of the time whose kernels' names tell."""
    matrix = [k for k in table if k.kind in _MATRIX]
    told = [(k.total_us, form) for k in matrix if (form := precision(k.name)) is not None]
    whole = sum(time for time, _ in told)
    return sum(time for time, form in told if form in _LOW) / whole if whole > 0 else None
