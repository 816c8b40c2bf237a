"""What recorded shapes tell of a forward pass: batch, tokens, and whether autograd records it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.operator_work import Arguments, arguments_of
from perfkit.analyzers.rows import present
from perfkit.model.inference_facts import PassShape, Phase
from perfkit.model.trace import Int32s, Int64s, Trace

# Where the queries stand, whether heads precede tokens, and which value says that it is causal.
_ATTENTION = {
    "aten::_flash_attention_forward": (False, 8),
    "aten::_efficient_attention_forward": (False, 9),
    "aten::_scaled_dot_product_cudnn_attention": (True, 6),
}
_CONVOLUTIONS = ("aten::cudnn_convolution", "aten::miopen_convolution")
_CAUSAL = ("True", "1", "2")
_MOST_OF_IT = 0.5


@dataclass(frozen=True)
class PassShapes:
    """Matrix operators of the counted steps that tell their shapes.

    `said` has (operator, arguments, how often) of each distinct text; `sequence` is autograd's
    number at each operator, -1 without one, and `lane` its thread, both of shape (operators,).
    """

    said: list[tuple[str, Arguments, int]]
    sequence: Int64s
    lane: Int64s
    steps: int

    @property
    def shape(self) -> PassShape | None:
        """The commonest shape of attention, else the batch of convolutions; None without either."""
        found = self._attention
        if found:
            return found.most_common(1)[0][0][0]
        batches: Counter[int] = Counter()
        for name, said, times in self.said:
            if name in _CONVOLUTIONS and (batch := _batch(said)):
                batches[batch] += times
        return PassShape(sequences=batches.most_common(1)[0][0]) if batches else None

    @property
    def phase(self) -> Phase | None:
        """Decode where single tokens look at many, prefill where causal attention sees all at once.

        By most calls; both where neither is most. None for other attention and without any.
        """
        found = self._attention
        whole, decode = sum(found.values()), sum(n for (s, _), n in found.items() if _is_decode(s))
        prefill = sum(n for (s, causal), n in found.items() if causal and (s.tokens or 0) > 1)
        if not whole or decode + prefill <= _MOST_OF_IT * whole:
            return None
        if max(decode, prefill) <= _MOST_OF_IT * whole:
            return "mixed"
        return "decode" if decode > prefill else "prefill"

    @property
    def autograd_nodes(self) -> float | None:
        """Operators that autograd recorded per step, from the first to the last matrix operator.

        None where no operator has a number: autograd was off, or the writer leaves it out.
        """
        numbered = self.sequence >= 0
        lanes, sequence = self.lane[numbered], self.sequence[numbered]
        spans = [int(np.ptp(sequence[lanes == lane])) for lane in present(lanes)]
        return max(spans) / self.steps if spans else None

    @cached_property
    def _attention(self) -> Counter[tuple[PassShape, bool]]:
        """How often attention runs with each shape, and whether it is causal."""
        found: Counter[tuple[PassShape, bool]] = Counter()
        for name, said, times in self.said:
            if name in _ATTENTION and (one := _attention(said, *_ATTENTION[name])) is not None:
                found[one] += times
        return found


def pass_shapes(facts: Facts) -> PassShapes:
    """What the shapes of the counted steps say."""
    trace, told = facts.trace, facts.trace.operands
    at = np.full(int(max(trace.row.max(initial=0), told.row.max(initial=0))) + 1, -1, np.int64)
    at[trace.row] = np.arange(len(trace))
    row = at[told.row]
    keep = np.flatnonzero(row >= 0)
    keep = keep[facts.in_counted(trace.ts[row[keep]])]
    row = row[keep]
    said = _said(trace, trace.name[row], told.text[keep])
    return PassShapes(said, told.sequence[keep], trace.lane[row].astype(np.int64), facts.mean_over)


def _said(trace: Trace, names: Int32s, texts: Int32s) -> list[tuple[str, Arguments, int]]:
    pairs = np.stack((names, texts))
    keys, times = np.unique(pairs, axis=1, return_counts=True)
    found = (
        (trace.names[name], arguments_of(trace.operands.texts[text]), number)
        for (name, text), number in zip(keys.T.tolist(), times.tolist(), strict=True)
    )
    return [(name, said, number) for name, said, number in found if said is not None]


def _batch(said: Arguments) -> int | None:
    try:
        return said.shape(0)[0]
    except ValueError:
        return None


def _is_decode(shape: PassShape) -> bool:
    return shape.tokens == 1 < (shape.context or 0)


def _attention(said: Arguments, heads_first: bool, causal: int) -> tuple[PassShape, bool] | None:
    """None where sequences of several lengths are packed into one."""
    try:
        q, k = said.shape(0), said.shape(1)
    except ValueError:
        return None
    if not len(q) == len(k) == 4:
        return None
    at = 2 if heads_first else 1
    shape = PassShape(sequences=q[0], tokens=q[at], context=k[at])
    return shape, said.value(causal) in _CAUSAL
