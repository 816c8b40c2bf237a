"""Lustre: how a file is striped, and what the client counted.

A layout is a dict of `stripe_count`, `stripe_size` (bytes), `pattern`, `stripe_offset`, `pool` and
`osts`, as far as known; that of a composite (PFL) file has `components`, a list of the same with
`start`, `end` (bytes, None: the end of the file) and `flags`. `stripe_count` -1 is "all OSTs", of
which there are `active_osts`.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Layout = dict[str, Any]

LFS_TIMEOUT_S = 5.0
VOLUMES = Path("/sys/fs/lustre/lov")
STATS_FOLDERS = (Path("/proc/fs/lustre/llite"), Path("/sys/kernel/debug/lustre/llite"))
_STATS_FILES = (("stats", "llite"), ("read_ahead_stats", "read_ahead"))

_PAIR = re.compile(
    r"\b(lcm_\w+|lcme_[\w.]+|l_ost_idx|lmm_\w+|stripe_count|stripe_size|pattern|stripe_offset|pool)"
    r":[ \t]+([^\s{}]+)"
)
_OBJECT = re.compile(r"^\s*(\d+)\s+\d+\s+0x[0-9a-f]+\s+\S+\s*\*?$", re.MULTILINE | re.IGNORECASE)
_COUNTER = re.compile(
    r"^(\S+)\s+(\d+) samples \[[^\]]+\](?: (-?\d+) (-?\d+) (-?\d+)(?: \d+)?)?\s*$", re.MULTILINE
)
_SUFFIX = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZES = {"stripe_size", "extension_size", "start", "end"}
_NUMBERS = {"stripe_count", "stripe_offset", "mirror_count", "mdt_index"}
_KEPT = _SIZES | _NUMBERS | {"pattern", "pool"}
_RENAMED = {"lcme_extent.e_start": "start", "lcme_extent.e_end": "end"}

_V1, _V3, _COMPOSITE = 0x0BD10BD0, 0x0BD30BD0, 0x0BD60BD0
_PLAIN = struct.Struct("<II16xIHH")
_OST = struct.Struct("<16xII")
_COMPOSITE_HEAD = struct.Struct("<IIIHHH14x")
_ENTRY = struct.Struct("<IIQQII16x")
_POOL_BYTES = 16
_EOF = 2**64 - 1
_ALL_OSTS = 0xFFE0  # to 0xFFFF: -32 to -1, that many times all of them
_PATTERNS = ((0x1, "raid0"), (0x100, "mdt"), (0x200, "overstriped"), (0x80000000, "released"))
_FLAGS = ("stale", "prefrd", "prefwr", "offline", "init", "nosync", "extension", "parity")


def layout(path: str) -> Layout | None:
    """How a file is striped, or what a directory gives its new files; None where not told.

    Asks `lfs`, else reads the attribute lustre.lov. On a dead server this blocks.
    """
    text = _ask_lfs(path)
    if text:
        return parse_layout(text, path) or None
    try:
        return parse_xattr(os.getxattr(path, "lustre.lov"))
    except (OSError, AttributeError):  # another file system; macOS has no getxattr
        return None


def described(path: str, source: str) -> Layout | None:
    """The layout, with the number of OSTs there are where the client tells it."""
    found, osts = layout(path), active_osts(source)
    return found if found is None or osts is None else {**found, "active_osts": osts}


def active_osts(source: str, volumes: Path = VOLUMES) -> int | None:
    """How many OSTs serve a file system, from sysfs; `source` is its mount's."""
    for text in _texts(volumes, f"{_file_system(source)}-clilov-*/activeobd"):
        if text.strip().isdigit():
            return int(text)
    return None


def _file_system(source: str) -> str:
    """Its name: of mgs@tcp:/scratch/sub it is scratch."""
    return source.rpartition(":/")[2].split("/")[0]


def _ask_lfs(path: str) -> str | None:
    lfs = shutil.which("lfs")
    if lfs is None:
        return None
    command = [lfs, "getstripe", *(["-d"] if Path(path).is_dir() else []), path]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=LFS_TIMEOUT_S, check=False, env=_plain_locale()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _plain_locale() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def parse_layout(text: str, path: str = "") -> Layout:
    """What `lfs getstripe` printed for one path: plain, of a directory, composite, or YAML.

    Empty where nothing is recognised.
    """
    text = text.removeprefix(path)
    whole: Layout = {}
    part = whole
    for key, value in _PAIR.findall(text):
        if key == "lcme_id":
            part = {}
            whole.setdefault("components", []).append(part)
        _put(part, key, value.rstrip(","))
    if found := _OBJECT.findall(text):
        whole.setdefault("osts", [int(index) for index in found])
    return whole


def _put(part: Layout, key: str, value: str) -> None:
    if key == "l_ost_idx":
        part.setdefault("osts", []).append(int(value))
    elif key == "lcme_flags":
        part["flags"] = [] if value == "0" else value.split(",")
    else:
        name = _RENAMED.get(key) or key.removeprefix("lmm_").removeprefix("lcm_")
        if name in _KEPT:
            part[name] = _value(name, value)


def _value(name: str, text: str) -> int | str | None:
    try:
        if name in _SIZES:
            return None if text.upper() == "EOF" else _bytes(text)
        if name == "pattern":
            return _pattern(int(text, 16)) if text[0].isdigit() else text
        return int(text) if name in _NUMBERS else text
    except ValueError:
        return text


def _bytes(text: str) -> int:
    scale = _SUFFIX.get(text[-1:].upper(), 1)
    return int(text.rstrip("KMGTkmgt")) * scale


def _pattern(bits: int) -> str:
    return ",".join(name for bit, name in _PATTERNS if bits & bit) or hex(bits)


def parse_xattr(blob: bytes) -> Layout | None:
    """The binary attribute lustre.lov: struct lov_mds_md_v1, _v3 or lov_comp_md_v1."""
    try:
        magic = int.from_bytes(blob[:4], "little")
        if magic in {_V1, _V3}:
            return _plain(blob)
        return _composite(blob) if magic == _COMPOSITE else None
    except struct.error:
        return None


def _composite(blob: bytes) -> Layout:
    _, _, _, _, entries, mirrors = _COMPOSITE_HEAD.unpack_from(blob)
    parts = []
    for index in range(entries):
        head = _COMPOSITE_HEAD.size + index * _ENTRY.size
        _, flags, start, end, offset, size = _ENTRY.unpack_from(blob, head)
        names = [name for bit, name in enumerate(_FLAGS) if flags & 1 << bit]
        extent: Layout = {"start": start, "end": None if end == _EOF else end, "flags": names}
        parts.append(extent | _plain(blob[offset : offset + size]))
    return {"mirror_count": mirrors + 1, "components": parts}


def _plain(blob: bytes) -> Layout:
    magic, pattern, size, count, _ = _PLAIN.unpack_from(blob)
    at, count = _PLAIN.size, count - 0x10000 if count >= _ALL_OSTS else count
    known: Layout = {"stripe_count": count, "stripe_size": size, "pattern": _pattern(pattern)}
    if magic == _V3:
        known["pool"] = blob[at : at + _POOL_BYTES].split(b"\0")[0].decode("ascii", "replace")
        at += _POOL_BYTES
    objects = range(at, len(blob) - _OST.size + 1, _OST.size)
    if osts := [_OST.unpack_from(blob, place)[1] for place in objects]:
        known["osts"] = osts
    return known


def client_counters(source: str, folders: Iterable[Path] = STATS_FOLDERS) -> dict[str, float]:
    """What this client counted on a file system since it was mounted, all processes together.

    `source` is the mount's, such as mgs@tcp:/fsname. Empty where only root may read it. The
    counts are `<name>.samples`; `<name>.sum` is in the counter's unit (bytes, microseconds).
    """
    name = _file_system(source)
    total: dict[str, float] = {}
    for folder in folders:
        for file, prefix in _STATS_FILES:
            for text in _texts(folder, f"{name}-*/{file}"):
                for key, value in parse_stats(text, prefix).items():
                    total[key] = total.get(key, 0.0) + value
        if total:
            break
    return total


def _texts(folder: Path, pattern: str) -> list[str]:
    try:
        return [path.read_text("utf-8", "replace") for path in folder.glob(pattern)]
    except OSError:
        return []


def parse_stats(text: str, prefix: str) -> dict[str, float]:
    """`llite.*.stats` or `read_ahead_stats`."""
    counters: dict[str, float] = {}
    for name, samples, _low, _high, total in _COUNTER.findall(text):
        counters[f"{prefix}.{name}.samples"] = float(samples)
        if total:
            counters[f"{prefix}.{name}.sum"] = float(total)
    return counters
