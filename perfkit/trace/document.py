"""The text around and between events: header, blocks of whole events, tail, metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import msgspec

from perfkit.errors import PerfkitError
from perfkit.model.trace import Device, TraceInfo
from perfkit.trace.events import EVENT_BOUNDARY, UNREADABLE, clean
from perfkit.trace.stretch import Stretch

if TYPE_CHECKING:
    from perfkit.trace.source import ByteSource

BLOCK_BYTES = 2 << 20  # larger ones leave the processor's cache, smaller ones cost more calls
_LAST_BYTES = 64 << 10  # the end of the list is searched for here, so it stays small
_LARGEST_HEADER = 64 << 20
_LIST_START = re.compile(rb'"traceEvents"\s*:\s*\[')
_MEMORY_TIMELINE = re.compile(rb"\[\s*\[\s*-?\d+\s*,")
_LOG_LINES = re.compile(rb'"(?:INFO|WARNING|ERROR)"\s*:\s*\[.*?"\s*\]\s*,?', re.DOTALL)
_LARGEST_VALUE = 4096
_BLANK = b"\xef\xbb\xbf \t\r\n"  # with the byte order mark
_TRIES = 1000
_PHASE_FIRST = re.compile(rb'\{[^{}\[\]]*"ph"\s*:')
_MOST_BRACES = 20_000
_LONGEST_KEY = 1024


def header_and_blocks(source: ByteSource) -> tuple[bytes, Iterator[bytes | Stretch]]:
    """The text up to the list of events, and blocks of whole events, the last with the tail.

    Raises PerfkitError when there is no list of events.
    """
    stream = iter(source)
    header, rest, start = _header(source.path, stream)
    if not source.plain_size:
        return header, _blocks(rest, stream)
    stream.close()
    return header, _stretches(source, start)


def _header(path: str, stream: Iterator[bytes]) -> tuple[bytes, bytes, int]:
    """The text up to the list of events, what is read of the rest, and where that starts."""
    text, taken = b"", 0
    for chunk in stream:
        taken += len(chunk)
        text = text + chunk if text else chunk.lstrip(_BLANK)
        start = _list_start(text, len(text) - len(chunk) - _LONGEST_KEY)
        if start is not None:
            _refuse_memory_timeline(path, text)
            return text[:start], text[start:], taken - len(text) + start
        if len(text) > _LARGEST_HEADER:
            break
    if not text:
        raise PerfkitError(f"{path} is empty: pass a trace that torch.profiler has exported.")
    raise PerfkitError(
        f"{path} is no PyTorch Profiler trace (it has no traceEvents list): "
        "export one with torch.profiler's export_chrome_trace and pass that file."
    )


def _refuse_memory_timeline(path: str, text: bytes) -> None:
    if _MEMORY_TIMELINE.match(text):
        raise PerfkitError(
            f"{path} is no trace but lists of numbers, as torch.profiler's export_memory_timeline "
            "writes: export with export_chrome_trace and pass that file."
        )


def _list_start(text: bytes, searched: int) -> int | None:
    """Where events begin; a root that is a list of events counts."""
    if text.startswith(b"["):
        return 1
    found = _LIST_START.search(text, max(searched, 0))
    return found.end() if found else None


def _stretches(source: ByteSource, start: int) -> Iterator[bytes | Stretch]:
    """Blocks of a file of which any part can be read: of most only the end is, to find where."""
    enough = BLOCK_BYTES
    while start + enough < source.plain_size:
        stop = _end_of_block(source.path, start, start + enough)
        if stop > start:
            yield Stretch(source.path, start, stop)
            source.tell(stop)
        enough = BLOCK_BYTES if stop > start else 2 * enough
        start = stop
    text = Stretch(source.path, start, source.plain_size).text()
    yield from _cut(text, len(text) - _LAST_BYTES)
    source.tell(source.plain_size)


def _end_of_block(path: str, start: int, stop: int) -> int:
    """Where the last event of this stretch ends; its start where no event does."""
    for begin in (max(start, stop - 2 * _LAST_BYTES), start):
        text = Stretch(path, begin, stop).text()
        block, _ = _cut(text, len(text) - _LAST_BYTES)
        if block:
            return begin + len(block)
    return start


def _blocks(text: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    parts, size, enough = [text], len(text), BLOCK_BYTES
    for chunk in stream:
        parts.append(chunk)
        size += len(chunk)
        if size >= enough:
            block, text = _cut(b"".join(parts), size - _LAST_BYTES)
            if block:
                yield block
            parts, size = [text], len(text)
            # Where no event ends, twice as much is tried next, so that the work stays linear.
            enough = BLOCK_BYTES if block else 2 * size
    yield from _cut(b"".join(parts), size - _LAST_BYTES)


def _cut(text: bytes, at: int) -> tuple[bytes, bytes]:
    """Split before the last event that starts and ends before `at`; nothing first if none does."""
    last = later = None
    for boundary in islice(_boundaries(text, at), _TRIES):
        last = last or boundary
        if later and _starts_event(text, boundary.end(), later.start()):
            return text[: boundary.start()], text[boundary.start() :]
        later = boundary
    if last and len(text) > _LARGEST_HEADER:  # a file of broken events
        return text[: last.start()], text[last.start() :]
    return b"", text


def _starts_event(text: bytes, start: int, end: int) -> bool:
    """Whether an event starts here, and not an object in its arguments: only events have a phase.

    Writers put it before anything nested; where keys are sorted, brackets have to be closed.
    """
    if _PHASE_FIRST.match(text, start):
        return True
    pairs = ((b"{", b"}"), (b"[", b"]"))
    return text.find(b'"ph"', start, end) >= 0 and all(
        text.count(opening, start, end) == text.count(closing, start, end)
        for opening, closing in pairs
    )


def _boundaries(text: bytes, at: int) -> Iterator[re.Match[bytes]]:
    """Places before `at` that look like the end of an event, from the last one back."""
    for _ in range(_MOST_BRACES):
        at = text.rfind(b"}", 0, max(at, 0))
        if at < 0:
            return
        boundary = EVENT_BOUNDARY.match(text, at + 1)
        if boundary:
            yield boundary


def metadata_of(header: bytes, tail: bytes) -> dict[str, Any]:
    """Everything the document says beside its events; what cannot be read is left out."""
    if not header.strip().startswith(b"{"):
        return {}
    text = header + b"]" + (tail.strip() or b"}")
    for mend in (bytes, clean, _without_logs):
        try:
            value = msgspec.json.decode(mend(text))
        except UNREADABLE:
            continue
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return _pick_known(text)


def _without_logs(text: bytes) -> bytes:
    """Log lines are the part that old writers did not escape."""
    return _LOG_LINES.sub(b"", clean(text)).replace(b",}", b"}")


def _pick_known(text: bytes) -> dict[str, Any]:
    """The keys perfkit needs, from a document that is no JSON."""
    found: dict[str, Any] = {}
    for key in (b"baseTimeNanoseconds", b"distributedInfo", b"deviceProperties"):
        match = re.search(rb'"' + key + rb'"\s*:\s*(\d+|\{[^{}]*\}|\[[^\[\]]*\])', text)
        if match:
            try:
                found[key.decode()] = msgspec.json.decode(match[1])
            except UNREADABLE:
                continue
    return found


def info_of(path: str, metadata: dict[str, Any]) -> TraceInfo:
    """The metadata perfkit uses, and the rest as it is where it is short."""
    distributed = metadata.get("distributedInfo")
    distributed = distributed if isinstance(distributed, dict) else {}
    properties = metadata.get("deviceProperties")
    return TraceInfo(
        source=path,
        base_ns=_integer(metadata.get("baseTimeNanoseconds")) or 0,
        rank=_integer(distributed.get("rank")),
        world_size=_integer(distributed.get("world_size")),
        backend=_text(distributed.get("backend")),
        devices=tuple(_devices(properties if isinstance(properties, list) else [])),
        has_no_device=properties == [],
        metadata={k: v for k, v in metadata.items() if k not in _READ and _is_short(v)},
    )


_READ = frozenset(("traceEvents", "baseTimeNanoseconds", "deviceProperties", "schemaVersion"))


def _devices(properties: list[Any]) -> Iterator[Device]:
    for position, entry in enumerate(properties):
        if isinstance(entry, dict):
            yield Device(
                id=_integer(entry.get("id"), position) or 0,
                name=_text(entry.get("name")) or "",
                memory_bytes=_integer(entry.get("totalGlobalMem")),
                compute_major=_integer(entry.get("computeMajor")),
                compute_minor=_integer(entry.get("computeMinor")),
                sm_count=_integer(entry.get("numSms")),
            )


def _integer(value: object, absent: int | None = None) -> int | None:
    return value if isinstance(value, int) and abs(value) < 1 << 63 else absent


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_short(value: object) -> bool:
    return len(msgspec.json.encode(value)) <= _LARGEST_VALUE
