"""Reader of PyTorch Profiler (Kineto) JSON: a file in, a Trace out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.errors import PerfkitError
from perfkit.trace.columns import BlockColumns, columns_of
from perfkit.trace.document import header_and_blocks, info_of, metadata_of
from perfkit.trace.events import Block
from perfkit.trace.foreign import refuse_foreign, refuse_merged
from perfkit.trace.helpers import map_blocks
from perfkit.trace.join import join, total_damage
from perfkit.trace.mend import mended
from perfkit.trace.source import ByteSource

if TYPE_CHECKING:
    from perfkit.model.trace import Trace, TraceInfo
    from perfkit.trace.source import Progress


def read_kineto(path: str, progress: Progress | None = None) -> Trace:
    """Read a trace that torch.profiler exported, plain or gzip.

    Damage (truncation, broken events, impossible times) is mended or left out and counted in
    `info.damage`; PerfkitError is raised only when the file is no trace, holds no event, or is of
    another tool.
    """
    source = ByteSource(path, progress)
    header, stretches = header_and_blocks(source)
    blocks, tail = _until_end(map_blocks(stretches))
    truncated = source.cut_short or not _is_closed(header, tail)
    info = info_of(path, metadata_of(header, tail or b""))
    trace = mended(join(blocks, _with_damage(info, blocks, truncated)))
    if not len(trace):
        raise PerfkitError(
            f"{path} holds no profiler events: record at least one step and export again."
        )
    refuse_foreign(path, trace)
    refuse_merged(path, trace)
    return trace


def _until_end(results: Iterable[BlockColumns]) -> tuple[list[BlockColumns], bytes | None]:
    """The blocks up to the end of the list, and all text behind it; None if it never ends."""
    blocks: list[BlockColumns] = [columns_of(Block())]
    tail: bytes | None = None
    for block in results:
        if tail is None:
            blocks.append(block)
            tail = block.tail
        else:
            tail += block.text
    return blocks, tail


def _is_closed(header: bytes, tail: bytes | None) -> bool:
    """Whether the file ends as it should: a killed writer leaves the list or the root open."""
    return tail is not None and (header.startswith(b"[") or tail.rstrip().endswith(b"}"))


def _with_damage(info: TraceInfo, blocks: list[BlockColumns], truncated: bool) -> TraceInfo:
    return replace(info, damage=replace(total_damage(blocks), truncated=truncated))
