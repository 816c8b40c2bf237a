"""Which file system a path lies on, from /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")
_URL = re.compile(r"^([a-z][a-z0-9+.-]+)://([^/]*)", re.IGNORECASE)

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "r2"})
_FAMILIES = {
    "lustre": "lustre",
    "gpfs": "gpfs",
    "nfs": "nfs",
    "nfs4": "nfs",
    "beegfs": "beegfs",
    "ceph": "ceph",
    "fuse.ceph-fuse": "ceph",
    "fuse.daos": "daos",
    "wekafs": "weka",
    "tmpfs": "memory",
    "ramfs": "memory",
    "overlay": "overlay",
} | dict.fromkeys(("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"), "local")
_STORES_BY_FUSE = ("mountpoint-s3", "s3fs", "gcsfuse", "goofys", "geesefs", "juicefs", "blobfuse")


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo; `device` is its major:minor."""

    point: str
    kind: str
    source: str
    device: str = ""
    options: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """What decides which advice applies, whatever the driver calls itself."""
        return family(self.kind, self.source)


def family(kind: str, source: str = "") -> str:
    """Such as "lustre", "nfs", "object store", "local"; "other" where the kind says nothing."""
    if kind in OBJECT_STORES:
        return "object store"
    if kind.startswith("fuse") and any(s in (kind + " " + source) for s in _STORES_BY_FUSE):
        return "object store"
    return _FAMILIES.get(kind, "other")


def parse_mountinfo(text: str) -> list[Mount]:
    """Every line that has the documented shape, in order."""
    parsed = (_mount(line) for line in text.splitlines())
    return [mount for mount in parsed if mount]


def _mount(line: str) -> Mount | None:
    left, dash, right = line.partition(" - ")
    fields, (kind, source, *rest) = left.split(" "), [*right.split(" "), "", ""][:3]
    if not dash or len(fields) < 6:
        return None
    options = (*fields[5].split(","), *(o for part in rest for o in part.split(",") if o))
    return Mount(
        point=unescape(fields[4]),
        kind=kind,
        source=unescape(source),
        device=fields[2],
        options=tuple(dict.fromkeys(options)),
    )


def unescape(text: str) -> str:
    r"""Undo the kernel's octal escapes of bytes: \040 is a space."""
    raw = text.encode("utf-8", "surrogateescape")
    plain = _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), raw)
    return plain.decode("utf-8", "surrogateescape")


def mounts() -> list[Mount]:
    """This process's mounts; none where the kernel does not list them."""
    try:
        return parse_mountinfo(MOUNTINFO.read_text("utf-8", "surrogateescape"))
    except OSError:
        return []


def mount_of(path: str, table: Iterable[Mount], device: str | None = None) -> Mount | None:
    """The mount that holds an absolute, resolved path: the longest prefix, of equals the last.

    `device` is the path's major:minor. Where mounts of that device hold the path, only they
    count; btrfs and overlay report devices that no line has.
    """
    holding = [mount for mount in table if _holds(mount.point, path)]
    same = [mount for mount in holding if mount.device == device]
    best: Mount | None = None
    for mount in same or holding:
        if best is None or len(mount.point) >= len(best.point):
            best = mount
    return best


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point if point.endswith("/") else point + "/")


def device_of(path: str) -> str | None:
    """The path's st_dev as major:minor. On a dead server this blocks."""
    try:
        number = Path(path).stat().st_dev
    except OSError:
        return None
    return f"{os.major(number)}:{os.minor(number)}"


def url_mount(path: str) -> Mount | None:
    """The bucket of an object-store URL, or the host of another URL; None for a path."""
    found = _URL.match(path)
    if not found or found[1].lower() == "file":
        return None
    return Mount(point=found[0], kind=found[1].lower(), source=found[2])
