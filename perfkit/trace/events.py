"""One block of `traceEvents` as typed records, whatever a writer or a crash did to its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

_INT64 = 1 << 63


class Args(msgspec.Struct, gc=False):
    """The arguments perfkit reads; -1 or "" where the event has none."""

    correlation: int = -1
    external_id: int = msgspec.field(name="External id", default=-1)
    device: int = -1
    stream: int = -1
    bytes: int | str = -1  # text on ROCm
    graph: int = msgspec.field(name="graph id", default=-1)
    wait_stream: int = msgspec.field(name="wait_on_stream", default=-1)
    wait_corr: int = msgspec.field(name="wait_on_cuda_event_record_corr_id", default=-1)
    collective: str = msgspec.field(name="Collective name", default="")
    in_elements: int = msgspec.field(name="In msg nelems", default=-1)
    out_elements: int = msgspec.field(name="Out msg nelems", default=-1)
    dtype: str = ""
    group_size: int = msgspec.field(name="Group size", default=-1)


class Event(msgspec.Struct, gc=False):
    """An element of `traceEvents`; times stay text, since a double cannot hold them exactly."""

    ph: str
    cat: str = ""
    name: str = ""
    pid: int | str = ""
    tid: int | str = ""
    ts: msgspec.Raw = msgspec.Raw(b"")
    dur: msgspec.Raw = msgspec.Raw(b"")
    id: int | str = -1
    args: Args | None = None


@dataclass
class Block:
    """The events of one block; `tail` is the text after the list when the block closes it."""

    events: list[Event] = field(default_factory=list)
    tail: bytes | None = None
    repaired: int = 0
    unreadable: int = 0


_decode = msgspec.json.Decoder(list[Event]).decode
_decode_one = msgspec.json.Decoder(Event).decode

EVENT_BOUNDARY = re.compile(
    rb'(?<=\})\s*,\s*(?=\{\s*"(?:ph|name|cat|pid|tid|ts|dur|args|id|bp|s)")'
)
_LIST_END = re.compile(rb'(?:(?<=\})|\A)\s*,?\s*\](?=\s*(?:,\s*"|\}\s*\Z|\Z))')
_CONTROL = bytes(32 if byte < 32 or byte == 127 else byte for byte in range(256))
# Writers print inf, nan and N/A bare, and `-1.-500` for a negative time.
_NOT_JSON = re.compile(rb"(?<=:)\s*(?:-?(?:inf(?:inity)?|nan|n/a)\b|-?\d+\.-\d+)", re.IGNORECASE)
_STRING_VALUE = re.compile(
    rb'("[^"\\\n]{1,80}"\s*:\s*")(.*?)("\s*(?:\}|,\s*"[^"\\\n]{1,80}"\s*:))', re.DOTALL
)
_BARE_QUOTE = re.compile(rb'(?<!\\)"')
_LONGEST_REPAIR = 1 << 20


def read_block(text: bytes) -> Block:
    """The events of `text`, which is whole events separated by commas, or the end of the list."""
    text = text.strip().strip(b",")
    block = Block()
    if not text:
        return block
    try:
        block.events = _decode(b"[" + text + b"]")
    except msgspec.MsgspecError:
        _read_damaged(text, block)
    return block


def _read_damaged(text: bytes, block: Block) -> None:
    cleaned = clean(text)
    try:
        block.events = _decode(b"[" + cleaned + b"]")
        block.repaired = 1 + sum(1 for _ in _NOT_JSON.finditer(text))
    except msgspec.MsgspecError:
        _read_pieces(EVENT_BOUNDARY.split(cleaned), block)


def clean(text: bytes) -> bytes:
    """`text` with control characters, broken UTF-8 and values that are not JSON replaced."""
    valid = text.translate(_CONTROL).decode("utf-8", "replace").encode()
    return _NOT_JSON.sub(b" null", valid)


def _read_pieces(pieces: Sequence[bytes], block: Block) -> None:
    """Decode by halves, so that one bad event costs only itself."""
    if block.tail is not None:
        block.tail += b",".join(pieces)
        return
    if len(pieces) == 1:
        _read_piece(pieces[0], block)
        return
    try:
        block.events += _decode(b"[" + b",".join(pieces) + b"]")
    except msgspec.MsgspecError:
        half = len(pieces) // 2
        _read_pieces(pieces[:half], block)
        _read_pieces(pieces[half:], block)


def _read_piece(piece: bytes, block: Block) -> None:
    if _take(_decode_one, piece, block) or _ends_list(piece, block):
        return
    mended = any(_take(how, piece, block) for how in (_decode_quotes, _decode_loose))
    block.repaired += mended
    block.unreadable += not mended


def _take(how: Callable[[bytes], Event], piece: bytes, block: Block) -> bool:
    try:
        block.events.append(how(piece))
    except (msgspec.MsgspecError, ValueError):
        return False
    return True


def _ends_list(piece: bytes, block: Block) -> bool:
    """Whether the piece is the list's last event and the text behind the list."""
    for end in _LIST_END.finditer(piece):
        event = piece[: end.start()]
        if not event.strip() or any(_take(how, event, block) for how in _ALL_WAYS):
            block.tail = piece[end.end() :]
            return True
    return False


def _decode_quotes(piece: bytes) -> Event:
    """Old writers did not escape quotes inside names."""
    return _decode_one(_escape_quotes(piece))


def _decode_loose(piece: bytes) -> Event:
    """An event whose fields have unexpected types, e.g. numbers as text."""
    value = msgspec.json.decode(_escape_quotes(piece))
    if not isinstance(value, dict) or "ph" not in value:
        raise ValueError("no event")
    return _loose(value)


_ALL_WAYS = (_decode_one, _decode_quotes, _decode_loose)


def _escape_quotes(piece: bytes) -> bytes:
    if len(piece) > _LONGEST_REPAIR:
        return piece
    return _STRING_VALUE.sub(lambda m: m[1] + _BARE_QUOTE.sub(rb"\\u0022", m[2]) + m[3], piece)


def _loose(value: dict[str, object]) -> Event:
    event = Event(ph=str(value["ph"]))
    for key in ("cat", "name"):
        setattr(event, key, str(value.get(key, "")))
    for key in ("pid", "tid", "id"):
        found = value.get(key)
        setattr(event, key, found if isinstance(found, int) else str(found))
    event.ts, event.dur = (msgspec.Raw(msgspec.json.encode(value.get(k))) for k in ("ts", "dur"))
    args = value.get("args")
    event.args = _loose_args(args) if isinstance(args, dict) else None
    return event


def _loose_args(values: dict[str, object]) -> Args:
    args = Args()
    for info in msgspec.structs.fields(Args):
        value = values.get(info.encode_name)
        if info.type is str and isinstance(value, str):
            setattr(args, info.name, value)
        elif info.type is not str and value is not None:
            setattr(args, info.name, to_int(value))
    return args


def to_int(value: object) -> int:
    """A number in any clothing as an int64; -1 when it is none."""
    try:
        number = int(float(str(value)))
    except (ValueError, OverflowError):
        return -1
    return number if -_INT64 <= number < _INT64 else -1
