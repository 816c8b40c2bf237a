"""Layouts as lfs prints them and as the kernel stores them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from perfkit.collectors import lustre
from perfkit.collectors.lustre import parse_layout, parse_stats, parse_xattr
from perfkit.model.striping import stripe_count_at

MIB = 1 << 20

PLAIN = """/mnt/lustre/file1
lmm_stripe_count:  2
lmm_stripe_size:   4194304
lmm_pattern:       {pattern}
lmm_layout_gen:    0
lmm_stripe_offset: 1
lmm_pool:          flash
\tobdidx\t\t objid\t\t objid\t\t group
\t     1\t        690550\t      0xa8976\t             0
\t     5\t        690551\t      0xa8977\t             0 *

"""

COMPOSITE = """/mnt/testfs/create_comp
  lcm_layout_gen:    3
  lcm_mirror_count:  1
  lcm_entry_count:   3
    lcme_id:             1
    lcme_mirror_id:      0
    lcme_flags:          init,prefer
    lcme_extent.e_start: 0
    lcme_extent.e_end:   4194304
      lmm_stripe_count:  1
      lmm_stripe_size:   1048576
      lmm_pattern:       raid0
      lmm_layout_gen:    0
      lmm_stripe_offset: 0
      lmm_objects:
      -   0: { l_ost_idx:   0, l_fid: [0x100000000:0x2:0x0] }

    lcme_id:             2
    lcme_flags:          0
    lcme_extent.e_start: 4194304
    lcme_extent.e_end:   67108864
      lmm_stripe_count:  4
      lmm_stripe_size:   1048576
      lmm_pattern:       raid0
      lmm_stripe_offset: -1
    lcme_id:             3
    lcme_flags:          0
    lcme_extent.e_start: 67108864
    lcme_extent.e_end:   EOF
      lmm_stripe_count:  -1
      lmm_stripe_size:   4194304
"""

YAML = """  lcm_layout_gen:    3
  lcm_mirror_count:  1
  lcm_entry_count:   2
  components:
  - lcme_id:             1
    lcme_mirror_id:      0
    lcme_flags:          init
    lcme_extent.e_start: 0
    lcme_extent.e_end:   1048576
    sub_layout:
      lmm_stripe_count:  0
      lmm_stripe_size:   1048576
      lmm_pattern:       mdt
      lmm_layout_gen:    0
      lmm_mdt_index:     3
  - lcme_id:             2
    lcme_flags:          init
    lcme_extent.e_start: 1048576
    lcme_extent.e_end:   EOF
    sub_layout:
      lmm_stripe_count:  2
      lmm_stripe_size:   1048576
      lmm_pattern:       raid0,overstriped
      lmm_stripe_offset: 4
      lmm_objects:
      - l_ost_idx: 4
        l_fid:     0x100000000:0x2:0x0
      - l_ost_idx: 7
        l_fid:     0x100000000:0x3:0x0
"""


@pytest.mark.parametrize("pattern", ["raid0", "1"])
def test_a_plain_file(pattern: str) -> None:
    assert parse_layout(PLAIN.format(pattern=pattern), "/mnt/lustre/file1") == {
        "stripe_count": 2,
        "stripe_size": 4 * MIB,
        "pattern": "raid0",
        "stripe_offset": 1,
        "pool": "flash",
        "osts": [1, 5],
    }


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("stripe_count:  1 stripe_size:   4194304 pattern:       raid0 stripe_offset: -1", 4 * MIB),
        ("(Default) stripe_count: 1 stripe_size: 1M stripe_offset: -1", MIB),
    ],
)
def test_a_directory_default(line: str, size: int) -> None:
    found = parse_layout(f"/mnt/testfs/dir\n{line}\n", "/mnt/testfs/dir")
    assert (found["stripe_count"], found["stripe_size"], found["stripe_offset"]) == (1, size, -1)


def test_a_composite_file() -> None:
    found = parse_layout(COMPOSITE, "/mnt/testfs/create_comp")
    first, second, last = found["components"]
    assert found["mirror_count"] == 1
    assert (first["start"], first["end"], first["flags"]) == (0, 4 * MIB, ["init", "prefer"])
    assert first["osts"] == [0]
    assert (second["stripe_count"], second["flags"]) == (4, [])
    assert "osts" not in second
    assert (last["end"], last["stripe_count"]) == (None, -1)


def test_a_composite_directory_default() -> None:
    text = """/mnt/dir
  lcm_layout_gen:    0
  lcm_entry_count:   1
    lcme_id:             N/A
    lcme_flags:          0
    lcme_extent.e_start: 0
    lcme_extent.e_end:   EOF
      stripe_count:  5       stripe_size:   1048576       stripe_offset: -1
"""
    part = {"flags": [], "start": 0, "end": None, "stripe_count": 5, "stripe_size": MIB}
    assert parse_layout(text, "/mnt/dir")["components"] == [part | {"stripe_offset": -1}]


def test_yaml() -> None:
    metadata, data = parse_layout(YAML)["components"]
    assert (metadata["pattern"], metadata["mdt_index"]) == ("mdt", 3)
    assert (data["pattern"], data["osts"]) == ("raid0,overstriped", [4, 7])


def test_a_path_that_looks_like_a_layout_is_not_read() -> None:
    path = "/mnt/stripe_count: 99/f"
    assert parse_layout(f"{path}\nlmm_stripe_count:  1\n", path) == {"stripe_count": 1}


@pytest.mark.parametrize("text", ["", "error: getstripe failed", "/mnt/x has no stripe info\n"])
def test_what_is_no_layout_is_none(text: str) -> None:
    assert parse_layout(text, "/mnt/x") == {}


@pytest.mark.parametrize(("size", "count"), [(0, 1), (4 * MIB, 1), (4 * MIB + 1, 4), (1 << 40, -1)])
def test_the_stripes_of_a_files_end(size: int, count: int) -> None:
    assert stripe_count_at(parse_layout(COMPOSITE), size) == count


def v1(pattern: int, size: int, count: int, osts: list[int], pool: bytes | None = None) -> bytes:
    magic = 0x0BD10BD0 if pool is None else 0x0BD30BD0
    head = struct.pack("<II", magic, pattern) + b"\x07" * 16 + struct.pack("<IHH", size, count, 0)
    objects = b"".join(b"\x01" * 16 + struct.pack("<II", 0, ost) for ost in osts)
    return head + (pool.ljust(16, b"\0") if pool is not None else b"") + objects


def composite(parts: list[tuple[int, int, int, bytes]]) -> bytes:
    at = 32 + 48 * len(parts)
    entries, blobs = b"", b""
    for number, (flags, start, end, blob) in enumerate(parts, 1):
        entries += struct.pack("<IIQQ", number, flags, start, end)
        entries += struct.pack("<IIIQ4x", at + len(blobs), len(blob), 0, 0)
        blobs += blob
    head = struct.pack("<IIIHHH", 0x0BD60BD0, at + len(blobs), 3, 0, len(parts), 1) + b"\0" * 14
    return head + entries + blobs


def test_the_attribute_of_a_plain_file() -> None:
    assert parse_xattr(v1(1, MIB, 2, [3, 9])) == {
        "stripe_count": 2,
        "stripe_size": MIB,
        "pattern": "raid0",
        "osts": [3, 9],
    }
    assert parse_xattr(v1(1, MIB, 0xFFFF, [])) == {
        "stripe_count": -1,
        "stripe_size": MIB,
        "pattern": "raid0",
    }


def test_the_attribute_with_a_pool() -> None:
    found = parse_xattr(v1(0x80000001, MIB, 1, [3], pool=b"flash"))
    assert found is not None
    assert (found["pool"], found["osts"], found["pattern"]) == ("flash", [3], "raid0,released")


def test_the_attribute_of_a_composite_file() -> None:
    blob = composite(
        [
            (0x10, 0, MIB, v1(0x100, MIB, 0, [])),
            (0, MIB, 2**64 - 1, v1(1, 4 * MIB, 8, [], pool=b"")),
        ]
    )
    found = parse_xattr(blob)
    assert found is not None
    first, second = found["components"]
    assert found["mirror_count"] == 2
    assert (first["pattern"], first["flags"], first["end"]) == ("mdt", ["init"], MIB)
    assert (second["stripe_count"], second["end"], second["flags"]) == (8, None, [])


@pytest.mark.parametrize("size", [0, 3, 20, 40, 90])
def test_a_damaged_attribute_is_no_layout(size: int) -> None:
    blob = composite([(0x10, 0, MIB, v1(1, MIB, 1, [0]))])
    assert parse_xattr(blob[:size]) is None
    assert parse_xattr(b"\xff" * size) is None


def fake_lfs(folder: Path, script: str) -> None:
    lfs = folder / "lfs"
    lfs.write_text(f"#!/bin/sh\n{script}\n")
    lfs.chmod(0o755)


def test_lfs_is_asked_about_a_directory_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_lfs(tmp_path, 'echo "$3"; [ "$1 $2" = "getstripe -d" ] && echo "stripe_count: 7"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert lustre.layout(str(tmp_path)) == {"stripe_count": 7}


@pytest.mark.parametrize("script", ["exit 2", "exec sleep 30"])
def test_an_lfs_that_fails_or_hangs_tells_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_lfs(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(lustre, "LFS_TIMEOUT_S", 0.2)
    assert lustre.layout(str(tmp_path)) is None


def volume(folder: Path, name: str, osts: str) -> None:
    (folder / name).mkdir()
    (folder / name / "activeobd").write_text(osts)


def test_osts_are_those_of_the_file_system(tmp_path: Path) -> None:
    volume(tmp_path, "home-clilov-ffff01", "4\n")
    volume(tmp_path, "scr-clilov-ffff02", "96\n")
    volume(tmp_path, "odd-clilov-ffff03", "none")
    assert lustre.active_osts("10.0.0.1@tcp:/scr/sub", tmp_path) == 96
    assert lustre.active_osts("mgs:/odd", tmp_path) is None
    assert lustre.active_osts("mgs:/other", tmp_path) is None
    assert lustre.active_osts("mgs:/scr", tmp_path / "absent") is None


def test_a_description_has_the_osts_where_both_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lustre, "layout", lambda path: {"stripe_count": 2} if path == "f" else None)
    monkeypatch.setattr(lustre, "active_osts", lambda source: 8 if source == "mgs:/s" else None)
    assert lustre.described("f", "mgs:/s") == {"stripe_count": 2, "active_osts": 8}
    assert lustre.described("f", "mgs:/x") == {"stripe_count": 2}
    assert lustre.described("g", "mgs:/s") is None


STATS = """snapshot_time          1308343279.169704 secs.usecs
read_bytes             36502963 samples [bytes] 1 26843582 55488794
open                   3304805 samples [regs]
getattr                12 samples [usec] 1 9 40 200
"""


def test_client_counters_of_every_form() -> None:
    assert parse_stats(STATS, "llite") == {
        "llite.read_bytes.samples": 36502963,
        "llite.read_bytes.sum": 55488794,
        "llite.open.samples": 3304805,
        "llite.getattr.samples": 12,
        "llite.getattr.sum": 40,
    }


def test_client_counters_are_those_of_the_file_system(tmp_path: Path) -> None:
    for name in ("scr-ffff01", "home-ffff02"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stats").write_text(STATS)
    (tmp_path / "scr-ffff01" / "read_ahead_stats").write_text("hits    5 samples [pages]\n")
    found = lustre.client_counters("10.0.0.1@tcp:/scr/sub", [tmp_path / "absent", tmp_path])
    assert found["read_ahead.hits.samples"] == 5
    assert found["llite.open.samples"] == 3304805
    assert lustre.client_counters("mgs:/none", [tmp_path]) == {}
