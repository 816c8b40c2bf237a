"""Blocks to one Trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from perfkit.model.trace import (
    Allocations,
    Collectives,
    Damage,
    Flows,
    Lane,
    Operands,
    Trace,
    TraceInfo,
)
from perfkit.trace.columns import SPARSE, BlockColumns, Interner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.trace import Int32s, Int64s
    from perfkit.trace.columns import Columns

_THREADS = 2  # each holds a column twice


def join(blocks: Sequence[BlockColumns], info: TraceInfo) -> Trace:
    """One Trace of all blocks, of which one at least must be given; events are sorted by start."""
    names, lanes, texts = Interner(), Interner(), Interner()
    joiner = _Joiner(
        [np.array([names[name] for name in block.names], dtype=np.int32) for block in blocks],
        [np.array([lanes[lane] for lane in block.lanes], dtype=np.int32) for block in blocks],
        [np.array([texts[text] for text in block.texts], dtype=np.int32) for block in blocks],
        list(accumulate((block.rows for block in blocks[:-1]), initial=0)),
    )
    events = [block.events for block in blocks]
    order = np.argsort(np.concatenate([part["ts"] for part in events]), kind="stable")
    flows = joiner.columns([block.flows for block in blocks])
    collectives = joiner.columns([block.collectives for block in blocks])
    operands = joiner.columns([block.operands for block in blocks])
    allocations = joiner.columns([block.allocations for block in blocks])
    return Trace(
        info=info,
        names=tuple(cast("Iterable[str]", names)),
        lanes=tuple(cast("Iterable[Lane]", lanes)),
        flows=Flows(**flows),
        collectives=Collectives(**collectives),
        operands=Operands(texts=tuple(cast("Iterable[str]", texts)), **operands),
        allocations=Allocations(**allocations),
        **{key: _none(len(order)) for key in SPARSE} | joiner.columns(events, order),
    )


def _none(count: int) -> Int64s:
    """A column of an argument that no event has, which takes no memory."""
    return np.broadcast_to(np.int64(-1), (count,))


@dataclass
class _Joiner:
    """Joins columns of blocks, whose own ids and rows become those of the Trace."""

    name_ids: list[Int32s]
    lane_ids: list[Int32s]
    text_ids: list[Int32s]
    first_rows: list[int]

    def columns(self, parts: list[Columns], order: Int64s | None = None) -> dict[str, Any]:
        """All columns, each joined in a thread: numpy releases the interpreter lock."""
        keys = dict.fromkeys(key for part in parts for key in part)
        with ThreadPoolExecutor(_THREADS) as pool:
            columns = pool.map(lambda key: self._column(parts, key, order), keys)
            return dict(zip(keys, columns, strict=True))

    def _column(self, parts: list[Columns], key: str, order: Int64s | None) -> NDArray[Any]:
        found = [part[key] if key in part else _none(len(part["row"])) for part in parts]
        column = np.concatenate(self._global(key, found))
        return column if order is None else column[order]

    def _global(self, key: str, columns: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if key in ("name", "category", "dtype"):
            return [ids[c] for ids, c in zip(self.name_ids, columns, strict=True)]
        if key in ("lane", "text"):
            tables = self.lane_ids if key == "lane" else self.text_ids
            return [ids[c] for ids, c in zip(tables, columns, strict=True)]
        if key == "row":
            return [c + row for row, c in zip(self.first_rows, columns, strict=True)]
        return columns


def total_damage(blocks: Sequence[BlockColumns]) -> Damage:
    """The blocks' damage added up."""
    fields = zip(*(astuple(block.damage) for block in blocks), strict=True)
    return Damage(*(sum(values) for values in fields))
