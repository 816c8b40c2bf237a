"""A rank's records, from every `*.jsonl` of its folder, whatever state the run left them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import msgspec

from perfkit.model.capture import Record

R = TypeVar("R", bound=msgspec.Struct)
_LONGEST_LINE = 64 << 20  # a run writes lines of some kB: longer is no text


class _Typed(msgspec.Struct):
    type: str = ""


_RECORD: msgspec.json.Decoder[Any] = msgspec.json.Decoder(cast("Any", Record))
_TYPED = msgspec.json.Decoder(_Typed)
_KNOWN = frozenset(kind.__struct_config__.tag for kind in get_args(Record))


@dataclass
class Records:
    """Records by type, in the order of their files; `newer` and `broken` count what was skipped.

    A last line that a killed writer cut is left out without a word.
    """

    by_type: dict[type, list[Any]] = field(default_factory=dict)
    newer: int = 0
    broken: int = 0
    unreadable_files: list[str] = field(default_factory=list)

    def of(self, kind: type[R]) -> list[R]:
        """All records of this type."""
        return self.by_type.get(kind, [])

    def add(self, line: bytes) -> None:
        """Take one line; what cannot be read is counted."""
        try:
            record = _RECORD.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._skip(line)
        else:
            self.by_type.setdefault(type(record), []).append(record)

    def _skip(self, line: bytes) -> None:
        try:
            newer = _TYPED.decode(line).type not in _KNOWN
        except (msgspec.DecodeError, UnicodeDecodeError):
            newer = False
            if not line.endswith(b"\n"):
                return
        self.newer += newer
        self.broken += not newer


def read_records(folder: Path) -> Records:
    """Every record in the folder; a file that cannot be read is named and left out."""
    records = Records()
    for path in record_files(folder):
        try:
            for line in _lines(path):
                records.add(line)
        except OSError:
            records.unreadable_files.append(path.name)
    return records


def record_files(folder: Path) -> list[Path]:
    """The record files, by name; what starts with a dot is still being written."""
    found = (p for p in folder.glob("*.jsonl") if not p.name.startswith(".") and p.is_file())
    return sorted(found)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines that hold something; a crash may leave zeros at the end of a file."""
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            if line.strip(b"\0\r\n\t "):
                yield line.lstrip(b"\0")
