"""Blocks to one Trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from perfkit.model.trace import EVENT_COLUMNS, Collectives, Damage, Flows, Lane, Trace, TraceInfo
from perfkit.trace.columns import BlockColumns, Interner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.trace.columns import Columns


def join(blocks: Sequence[BlockColumns], info: TraceInfo) -> Trace:
    """One Trace of all blocks, of which one at least must be given; events are sorted by start."""
    names, lanes = Interner(), Interner()
    events: list[Columns] = []
    flows: list[Columns] = []
    collectives: list[Columns] = []
    first_row = 0
    for block in blocks:
        name_id = np.array([names[n] for n in block.names], dtype=np.int32)
        lane_id = np.array([lanes[lane] for lane in block.lanes], dtype=np.int32)
        for part, parts in ((block.events, events), (block.flows, flows),
                            (block.collectives, collectives)):  # fmt: skip
            parts.append(_global(part, name_id, lane_id, first_row))
        first_row += block.rows
    columns = _concatenated(events)
    order = np.argsort(columns["ts"], kind="stable")
    return Trace(
        info=info,
        names=tuple(cast("Iterable[str]", names)),
        lanes=tuple(cast("Iterable[Lane]", lanes)),
        flows=Flows(**_concatenated(flows)),
        collectives=Collectives(**_concatenated(collectives)),
        **{name: columns.pop(name)[order] for name in EVENT_COLUMNS},
    )


def _global(
    part: Columns, name_id: NDArray[np.int32], lane_id: NDArray[np.int32], first_row: int
) -> Columns:
    tables = {"name": name_id, "category": name_id, "dtype": name_id, "lane": lane_id}
    moved = {k: tables[k][v] if k in tables else v for k, v in part.items()}
    if "row" in moved:
        moved["row"] = moved["row"] + first_row
    return moved


def _concatenated(parts: list[Columns]) -> dict[str, Any]:
    """Joined columns; empties `parts` one column at a time, which halves the peak memory."""
    return {key: np.concatenate([part.pop(key) for part in parts]) for key in list(parts[0])}


def total_damage(blocks: Sequence[BlockColumns]) -> Damage:
    """The blocks' damage added up."""
    fields = zip(*(astuple(block.damage) for block in blocks), strict=True)
    return Damage(*(sum(values) for values in fields))
