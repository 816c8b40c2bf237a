"""One block of `traceEvents` as typed records, whatever a writer or a crash did to its text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

_INT64 = 1 << 63


class Args(msgspec.Struct, gc=False):
    """The arguments perfkit reads; -1 or "" where the event has none."""

    correlation: int = -1
    external_id: int = msgspec.field(name="External id", default=-1)
    device: int | str = -1  # text on ROCm, as the next two
    stream: int | str = -1
    bytes: int | str = -1
    graph: int = msgspec.field(name="graph id", default=-1)
    wait_stream: int = msgspec.field(name="wait_on_stream", default=-1)
    wait_corr: int = msgspec.field(name="wait_on_cuda_event_record_corr_id", default=-1)
    collective: str = msgspec.field(name="Collective name", default="")
    in_elements: int = msgspec.field(name="In msg nelems", default=-1)
    out_elements: int = msgspec.field(name="Out msg nelems", default=-1)
    dtype: str = ""
    group_size: int = msgspec.field(name="Group size", default=-1)
    dims: msgspec.Raw = msgspec.field(name="Input Dims", default=msgspec.Raw(b""))
    dims_2021: msgspec.Raw = msgspec.field(name="Input dims", default=msgspec.Raw(b""))
    types: msgspec.Raw = msgspec.field(name="Input type", default=msgspec.Raw(b""))
    sequence: int = msgspec.field(name="Sequence number", default=-1)
    concrete: msgspec.Raw = msgspec.field(name="Concrete Inputs", default=msgspec.Raw(b""))
    allocated: int | str = msgspec.field(name="Total Allocated", default=-1)
    reserved: int | str = msgspec.field(name="Total Reserved", default=-1)
    size: int | str = msgspec.field(name="Bytes", default=-1)  # negative: given back
    memory_device: int | str = msgspec.field(name="Device Id", default=-1)
    memory_kind: int | str = msgspec.field(name="Device Type", default=-1)


class Event(msgspec.Struct, gc=False):
    """An element of `traceEvents`; `ts` stays text, since a double cannot hold it exactly."""

    ph: str
    cat: str = ""
    name: str = ""
    pid: int | str = ""
    tid: int | str = ""
    ts: msgspec.Raw = msgspec.Raw(b"")
    dur: float = math.nan
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
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Broken syntax, broken UTF-8, and nesting without end.
UNREADABLE = (ValueError, RecursionError)

EVENT_BOUNDARY = re.compile(
    rb'(?<=\})\s*,\s*(?=\{\s*"(?:ph|name|cat|pid|tid|ts|dur|args|id|bp|s)")'
)
_OBJECT_BOUNDARY = re.compile(rb"(?<=\})\s*,\s*(?=\{)")
# Possessive, or a run of blanks would cost its square.
_LIST_END = re.compile(rb'(?:(?<=\})|\A)\s*+(?:,\s*+)?\](?=\s*(?:,\s*"|\}\s*\Z|\Z))')
_CONTROL = bytes(32 if byte < 32 or byte == 127 else byte for byte in range(256))
# Writers print inf, nan and N/A bare, and `-1.-500` for a negative time; Python lists with NaN.
_NOT_JSON = re.compile(
    rb'(?<=":)\s*+(?:(?i:-?(?:inf(?:inity)?|nan|n/a))|-?\d+\.-\d+'
    rb"|\[[\[\]\s\d.,eE+-]*(?:NaN|Infinity)[\[\]\s\d.,eE+NaInfity-]*\])(?=\s*[,}])"
)
_SURROGATE = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_STRING_VALUE = re.compile(
    rb'("[^"\\\n]{1,80}"\s*:\s*")(.*?)'
    rb'("\s*(?:\}(?=\s*(?:[,}\]]|\Z))|,\s*"[^"\\\n]{1,80}"\s*:))',
    re.DOTALL,
)
_BARE_QUOTE = re.compile(rb'(?<!\\)"')
_ESCAPE = re.compile(rb'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\')
_LONGEST_REPAIR = 64 << 10


def decode_events(text: bytes) -> list[Event]:
    """Sound events, separated by commas; raises one of UNREADABLE where they are not."""
    return _decode(b"[" + text + b"]")


def read_block(text: bytes) -> Block:
    """The events of `text`, which is whole events separated by commas, or the end of the list."""
    text = text.strip().strip(b",")
    block = Block()
    if not text:
        return block
    try:
        block.events = _decode(b"[" + text + b"]")
    except UNREADABLE:
        _read_damaged(text, block)
    return block


def _read_damaged(text: bytes, block: Block) -> None:
    cleaned = clean(text)
    replaced = sum(1 for _ in _NOT_JSON.finditer(text))
    try:
        block.events = _decode(b"[" + cleaned + b"]")
        block.repaired = max(replaced, 1)
    except UNREADABLE:
        block.repaired = replaced
        _Pieces(block).read(EVENT_BOUNDARY.split(cleaned))


def clean(text: bytes) -> bytes:
    """`text` with control characters, broken Unicode and values that are not JSON replaced."""
    valid = text.translate(_CONTROL).decode("utf-8", "replace").encode()
    whole = _SURROGATE.sub(lambda m: m[1] or rb"\ufffd", valid)
    return _NOT_JSON.sub(b" null", whole)


@dataclass
class _Pieces:
    """The pieces of a damaged block; `open` is an event that what looked like a boundary cut."""

    block: Block
    open: bytes = b""

    def read(self, pieces: Sequence[bytes]) -> None:
        """Decode what can be decoded, and count the rest."""
        self._read(pieces)
        self._give_up()

    def _read(self, pieces: Sequence[bytes]) -> None:
        """Decode by halves, so that one bad event costs only itself."""
        if self.block.tail is not None:
            self.block.tail += b"," + b",".join(pieces)
        elif len(pieces) == 1:
            self._read_piece(pieces[0])
        elif self._take(_decode, b",".join(pieces)):
            self._give_up()
        else:
            half = len(pieces) // 2
            self._read(pieces[:half])
            self._read(pieces[half:])

    def _read_piece(self, piece: bytes) -> None:
        if self._understood(piece):
            self._give_up()
            return
        self.open = self.open + b"," + piece if self.open else piece
        if self.open.count(b"[") > self.open.count(b"]") and len(self.open) <= _LONGEST_REPAIR:
            return  # perhaps its other half follows
        if len(self.open) > len(piece) and self._understood(self.open):
            self.open = b""
        self._give_up()

    def _give_up(self) -> None:
        """What is open stays so: one event is lost, or those beside whole ones."""
        if self.open:
            parts = _OBJECT_BOUNDARY.split(self.open)
            lost = sum(not self._understood(part) for part in parts) if len(parts) > 1 else 1
            self.block.unreadable += lost if lost < len(parts) else 1
            self.open = b""

    def _understood(self, piece: bytes) -> bool:
        return self._take(_decode, piece) or self._ends_list(piece) or self._mended(piece)

    def _mended(self, piece: bytes) -> bool:
        mended = any(self._take(how, piece) for how in _REPAIRS)
        self.block.repaired += mended
        return mended

    def _take(self, how: Callable[[bytes], list[Event]], piece: bytes) -> bool:
        try:
            self.block.events += how(b"[" + piece + b"]")
        except UNREADABLE:
            return False
        return True

    def _ends_list(self, piece: bytes) -> bool:
        """Whether the piece is the list's last event and the text behind the list."""
        for end in _LIST_END.finditer(piece):
            event = piece[: end.start()]
            if not event.strip() or self._take(_decode, event) or self._mended(event):
                self.block.tail = piece[end.end() :]
                return True
        return False


def _decode_quotes(text: bytes) -> list[Event]:
    """Old writers did not escape quotes and backslashes inside names."""
    return _decode(_escaped(text))


def _decode_loose(text: bytes) -> list[Event]:
    """Events whose fields have unexpected types, e.g. numbers as text, between other things."""
    events = [_loose(element) for element in _decode_elements(_escaped(text))]
    if not any(events):
        raise ValueError("no event")
    return [event for event in events if event]


_FIELDS = [(info.name, info.encode_name, info.type) for info in msgspec.structs.fields(Args)]
_REPAIRS = (_decode_quotes, _decode_loose)


def _escaped(text: bytes) -> bytes:
    if len(text) > _LONGEST_REPAIR:
        return text
    text = _ESCAPE.sub(lambda m: m[1] or b"/", text)
    return _STRING_VALUE.sub(lambda m: m[1] + _BARE_QUOTE.sub(rb"\\u0022", m[2]) + m[3], text)


def _loose(element: msgspec.Raw) -> Event | None:
    try:
        fields = _decode_fields(element)
    except UNREADABLE:
        return None
    phase = _text(fields.get("ph"))
    if not phase:
        return None
    event = Event(ph=phase, cat=_text(fields.get("cat")), name=_text(fields.get("name")))
    for key in ("pid", "tid", "id"):
        value = _value(fields.get(key))
        setattr(event, key, value if type(value) is int else _text(fields.get(key)))
    event.ts = fields.get("ts", msgspec.Raw(b""))
    event.dur = _duration(_value(fields.get("dur")))
    event.args = _loose_args(fields.get("args"))
    return event


def _loose_args(text: msgspec.Raw | None) -> Args | None:
    try:
        values = _decode_fields(text or b"null")
    except UNREADABLE:
        return None
    args = Args()
    for name, key, type_ in _FIELDS:
        value = _value(values.get(key))
        if type_ is msgspec.Raw:
            setattr(args, name, values.get(key, msgspec.Raw(b"")))
        elif type_ is not str:
            setattr(args, name, to_int(value))
        elif isinstance(value, str):
            setattr(args, name, value)
    return args


def _duration(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def _text(text: msgspec.Raw | None) -> str:
    value = _value(text)
    return "" if value is None else str(value)


def _value(text: msgspec.Raw | None) -> object:
    try:
        return msgspec.json.decode(text) if text is not None else None
    except UNREADABLE:
        return None


def to_int(value: object) -> int:
    """A number in any clothing as an int64; -1 when it is none."""
    try:
        number = value if isinstance(value, int) else int(float(str(value)))
    except (ValueError, OverflowError):
        return -1
    return number if -_INT64 <= number < _INT64 else -1
