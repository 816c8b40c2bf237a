"""Work of a step that has a cheaper form, found by the names of operators and kernels."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.inside import Spans, holder, host_idle_inside_us, launched_inside
from perfkit.analyzers.kernel_names import kind_of
from perfkit.analyzers.names import LONGEST, used
from perfkit.model.compute_facts import (
    AttentionFacts,
    Avoidable,
    OptimizerFacts,
    OptimizerForm,
    WasteFacts,
)
from perfkit.model.diagnosis import Framework
from perfkit.model.kernel import KernelKind
from perfkit.model.trace import Bools, Int64s, Kind

_LAYOUT = re.compile(r"nchwToNhwc|nhwcToNchw|batched_transpose_\d", re.IGNORECASE)
_ZERO_GRAD = re.compile(r"Optimizer\.zero_grad#")
_STEP = re.compile(r"Optimizer\.step#")
_OF_OPTIMIZER = re.compile(r"Optimizer\.(step|zero_grad)#")
# PyTorch's, Apex's and Transformer Engine's functors, DeepSpeed's LAMB.
_FUSED = re.compile(
    r"fused_?(adam|sgd|adagrad|lamb|lion)|lamb_cuda_kernel"
    r"|(adamw?|adagrad|novograd|sgd|lamb|lion)(stage\d)?_?functor",
    re.I,
)
_FOREACH = re.compile(r"multi_tensor_apply")
_EVALUATE = re.compile(r"^autograd::engine::evaluate_function")
# Layers as a user writes them: what differentiates them calls other operators.
_LAYER = re.compile(
    r"^aten::(conv[123]d|linear|batch_norm|layer_norm|scaled_dot_product_attention)$"
)
_CONVOLUTION = re.compile(r"^aten::conv[123]d$")
_BATCH_NORM = re.compile(r"^aten::batch_norm$")
# Statistics of the batch, as in train mode: such a normalization cannot be folded into weights.
_BATCH_STATISTICS = re.compile(r"bn_fw_tr|collect_statistics|BatchNormFwdTrain")
_NORM_OR_LAYER = re.compile(r"^aten::(conv[123]d|batch_norm|linear|add_?|cat|max_pool2d|relu_?)$")
_PRODUCT = re.compile(r"^aten::(bmm|baddbmm)$")
_SOFTMAX = re.compile(r"^aten::_softmax$")
_SOFTMAX_BACKWARD = re.compile(r"^aten::_softmax_backward_data$")
_LEAF = re.compile(r"^aten::(bmm|baddbmm|_softmax|mm|addmm|convolution)$")
_UPDATE = re.compile(r"^aten::(?:_foreach_)?(mul|add|addcmul|addcdiv|lerp|sqrt|div)_?$")
_SHORTEST_NS = 5_000  # what moves in less time stays in the cache: 10 MB at 2 TB/s
_MATH = re.compile(r"^aten::_scaled_dot_product_attention_math")


def waste_facts(facts: Facts, framework: Framework) -> WasteFacts | None:
    """None where the GPU did nothing, or operators are missing to tell."""
    found = _Waste(facts)
    if not len(facts.work) or not len(found.host):
        return None
    attention, of_attention = _attention(found)
    zero_grad = found.rows(_ZERO_GRAD)
    zeroing = found.of(launched_inside(facts, zero_grad))
    return WasteFacts(
        layout=found.of(found.kernels(lambda name: bool(_LAYOUT.search(name)))),
        zeroing=zeroing,
        zeroing_idle_us=host_idle_inside_us(facts, zero_grad) if zeroing else None,
        recompute=found.of(_recomputed(found)),
        chains=_chained(found, of_attention),
        inference_norm=_folded_norms(found) if framework.inference else None,
        optimizer=_optimizer(found),
        attention=attention,
    )


class _Waste:
    """Operators and GPU operations to choose from.

    `host` are rows of operators and ranges; `counted` tells which operations lie in counted steps.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        kind = facts.trace.kind
        self.host: Int64s = np.flatnonzero((kind == Kind.OPERATOR) | (kind == Kind.ANNOTATION))
        self._name = facts.trace.name[self.host]
        self._names = used(facts.trace, self.host)
        self.counted = facts.in_counted(facts.work.start)

    def rows(self, pattern: re.Pattern[str]) -> Int64s:
        """Rows of host events whose names match."""
        names = self.facts.trace.names
        found = [i for i in self._names if pattern.search(names[i][:LONGEST])]
        wanted = np.zeros(len(names), dtype=np.bool_)
        wanted[found] = True
        return self.host[wanted[self._name]] if found else self.host[:0]

    def kernels(self, is_wanted: Callable[[str], bool]) -> Bools:
        """Whether each GPU operation is a kernel with such a name; shape (operations,)."""
        trace, rows = self.facts.trace, self.facts.work.rows
        is_kernel = trace.kind[rows] == Kind.KERNEL
        wanted = np.zeros(len(trace.names), dtype=np.bool_)
        wanted[[i for i in used(trace, rows[is_kernel]) if is_wanted(trace.names[i])]] = True
        return np.asarray(is_kernel & wanted[trace.name[rows]])

    def us(self, mask: Bools) -> float:
        """Time of these operations in counted steps, per step."""
        rows = self.facts.work.rows[mask & self.counted]
        return self.facts.per_step_us(self.facts.trace.dur[rows].sum())

    def per_step(self, mask: Bools) -> float:
        """How many of these operations a counted step has."""
        return float((mask & self.counted).sum()) / self.facts.mean_over

    def of(self, mask: Bools) -> Avoidable | None:
        """These operations, None where counted steps have none."""
        count = self.per_step(mask)
        return Avoidable(count_per_step=count, total_us=self.us(mask)) if count else None


def _recomputed(found: _Waste) -> Bools:
    """Launched between the first and the last layer inside of an evaluated backward function."""
    facts, trace = found.facts, found.facts.trace
    functions, layers = found.rows(_EVALUATE), found.rows(_LAYER)
    at = holder(trace, functions, layers)
    layers, at = layers[at >= 0], at[at >= 0]
    start = np.full(len(functions), np.iinfo(np.int64).max)
    end = np.zeros(len(functions), dtype=np.int64)
    np.minimum.at(start, at, trace.ts[layers])
    np.maximum.at(end, at, trace.ts[layers] + trace.dur[layers])
    has = np.flatnonzero(end)
    has = has[np.argsort(start[has], kind="stable")]
    spans = Spans(trace.lane[functions[has]], start[has], end[has])
    launched = spans.launching(facts) >= 0
    return np.asarray(launched & ~facts.work.is_copy & ~facts.work.is_communication)


def _chained(found: _Waste, of_attention: Bools) -> Avoidable | None:
    """Element-wise kernels whose stream's operation before them is one, too.

    Joined, two of them no longer write what is between them and read it again. The first has read
    as much as it writes there, the second writes as much as it reads there, so that is at most the
    time of the shorter one. Kernels too short to reach the memory cost launches, not traffic; those
    of the optimizer and of attention are told of elsewhere.
    """
    facts, trace = found.facts, found.facts.trace
    rows = facts.work.rows
    is_simple = found.kernels(
        lambda name: kind_of(name) is KernelKind.ELEMENTWISE and not name.startswith("triton_")
    )
    is_simple &= ~launched_inside(facts, found.rows(_OF_OPTIMIZER)) & ~of_attention
    order = np.lexsort((facts.work.start, trace.lane[rows]))
    first, second = order[:-1], order[1:]
    is_pair = (
        is_simple[first] & is_simple[second] & (trace.lane[rows[first]] == trace.lane[rows[second]])
    )
    is_pair &= found.counted[second]
    shorter = np.minimum(trace.dur[rows[first]], trace.dur[rows[second]])[is_pair]
    shorter = shorter[shorter >= _SHORTEST_NS]
    if not len(shorter):
        return None
    return Avoidable(
        count_per_step=len(shorter) / facts.mean_over, total_us=facts.per_step_us(shorter.sum())
    )


def _folded_norms(found: _Waste) -> Avoidable | None:
    """Batch normalizations that weights could hold: none where the model is in train mode."""
    norms = _norms_behind_convolutions(found)
    of_batch = found.kernels(lambda name: bool(_BATCH_STATISTICS.search(name)))
    return None if (norms & of_batch).any() else found.of(norms)


def _norms_behind_convolutions(found: _Waste) -> Bools:
    """Launched by a batch normalization that comes right behind a convolution on its thread."""
    trace = found.facts.trace
    rows = found.rows(_NORM_OR_LAYER)
    rows = rows[np.lexsort((trace.ts[rows], trace.lane[rows]))]
    is_conv, is_norm = (np.isin(rows, found.rows(p)) for p in (_CONVOLUTION, _BATCH_NORM))
    same = trace.lane[rows[1:]] == trace.lane[rows[:-1]]
    behind = np.sort(rows[1:][is_norm[1:] & is_conv[:-1] & same])
    return launched_inside(found.facts, behind) & ~found.facts.work.is_copy


def _optimizer(found: _Waste) -> OptimizerFacts | None:
    facts, rows = found.facts, found.rows(_STEP)
    mine = launched_inside(facts, rows) & ~facts.work.is_copy & ~facts.work.is_communication
    if not found.per_step(mine):
        return None
    return OptimizerFacts(
        form=_form(found, mine),
        kernels_per_step=found.per_step(mine),
        total_us=found.us(mine),
        idle_us=host_idle_inside_us(facts, rows),
        operators=_updates(found, rows),
    )


def _updates(found: _Waste, steps: Int64s) -> list[str]:
    """Arithmetic that the optimizer asks for, such as "addcdiv", whether for one tensor or all."""
    trace, updates = found.facts.trace, found.rows(_UPDATE)
    inside = updates[holder(trace, steps, updates) >= 0]
    return sorted({_UPDATE.sub(r"\1", trace.names[i]) for i in used(trace, inside)})


def _form(found: _Waste, mine: Bools) -> OptimizerForm:
    """By what takes most of the optimizer's time; schedules and counters launch kernels, too."""
    fused, foreach = (
        found.us(mine & found.kernels(lambda name, p=p: bool(p.search(name))))  # type: ignore[misc]
        for p in (_FUSED, _FOREACH)
    )
    if fused > 0.5 * found.us(mine):
        return "fused"
    return "foreach" if foreach > 0.5 * found.us(mine) else "for-loop"


def _attention(found: _Waste) -> tuple[AttentionFacts | None, Bools]:
    """A softmax whose neighbours among products are batched ones, on both sides.

    With it which operations stand between the products; shape (operations,).
    """
    facts, trace = found.facts, found.facts.trace
    leaves = found.rows(_LEAF)
    leaves = leaves[np.lexsort((trace.ts[leaves], trace.lane[leaves]))]
    is_product, is_softmax = (np.isin(leaves, found.rows(p)) for p in (_PRODUCT, _SOFTMAX))
    lane = trace.lane[leaves]
    middle = 1 + np.flatnonzero(
        is_product[:-2] & is_softmax[1:-1] & is_product[2:] & (lane[:-2] == lane[2:])
    )
    if not len(middle):
        return None, np.zeros(len(facts.work), dtype=np.bool_)
    before, after = leaves[middle - 1], leaves[middle + 1]
    order = np.argsort(trace.ts[before], kind="stable")
    gap = Spans(trace.lane[before], trace.ts[before] + trace.dur[before], trace.ts[after])
    gap = Spans(gap.lane[order], gap.start[order], gap.end[order])
    kernels = ~facts.work.is_copy & ~facts.work.is_communication
    backward = launched_inside(facts, found.rows(_SOFTMAX_BACKWARD))
    between = kernels & ((gap.launching(facts) >= 0) | backward)
    products = kernels & launched_inside(facts, np.sort(np.concatenate((before, after))))
    count = float(facts.in_counted(trace.ts[before]).sum()) / facts.mean_over
    made = AttentionFacts(
        count_per_step=count,
        product_us=found.us(products),
        between_us=found.us(between),
        in_sdpa=bool(len(found.rows(_MATH))),
    )
    return made, np.asarray(between)
