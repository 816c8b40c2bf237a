"""A path is matched with the mount that really holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.collectors import nfs
from perfkit.collectors.mounts import (
    family,
    mount_of,
    mounts,
    parse_mountinfo,
    unescape,
    url_mount,
)

MOUNTINFO = r"""
22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b
36 22 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 22 0:50 / /scratch rw,nosuid shared:5 master:2 - lustre 10.0.0.1@tcp:10.0.0.2@tcp:/scr rw,flock
41 22 0:51 / /scratch/home\040of\134all rw - nfs4 server:/home rw,vers=4.2,nconnect=4
42 22 0:52 / /data rw - xfs /dev/sdb1 rw
43 22 0:53 / /data rw - fuse.mountpoint-s3 mountpoint-s3 rw
44 22 0:54 / /gpfs rw - gpfs gpfs0 rw
half a line
45 22 0:55 / /no-dash rw xfs /dev/sdc rw
""".lstrip()
TABLE = parse_mountinfo(MOUNTINFO)


def test_a_line_is_read_as_documented() -> None:
    mount = TABLE[1]
    assert (mount.point, mount.kind, mount.source) == ("/mnt2", "ext3", "/dev/root")
    assert mount.device == "98:0"
    assert mount.options == ("rw", "noatime", "errors=continue")
    assert [m.point for m in TABLE][-1] == "/gpfs"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/scratch/run/shard-0.tar", "lustre"),
        ("/scratch", "lustre"),
        ("/scratchy/file", "overlay"),
        ("/scratch/home of\\all/x", "nfs4"),
        ("/data/x", "fuse.mountpoint-s3"),
        ("/elsewhere", "overlay"),
    ],
)
def test_the_longest_mount_point_wins_and_of_equals_the_last(path: str, kind: str) -> None:
    found = mount_of(path, TABLE)
    assert found is not None
    assert found.kind == kind


def test_the_device_decides_where_it_is_listed() -> None:
    under = mount_of("/data/x", TABLE, device="0:52")
    unlisted = mount_of("/data/x", TABLE, device="0:99")
    assert under is not None and unlisted is not None
    assert (under.kind, unlisted.kind) == ("xfs", "fuse.mountpoint-s3")


def test_nothing_holds_a_path_without_a_root_mount() -> None:
    assert mount_of("/x", TABLE[1:]) is None


def test_octal_escapes_are_bytes_of_utf8() -> None:
    assert unescape(r"/m\303\274ll\040x") == "/müll x"


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("lustre", "mgs@tcp:/fs", "lustre"),
        ("nfs4", "", "nfs"),
        ("gpfs", "", "gpfs"),
        ("beegfs", "beegfs_nodev", "beegfs"),
        ("ceph", "", "ceph"),
        ("fuse.ceph-fuse", "", "ceph"),
        ("wekafs", "", "weka"),
        ("fuse", "mountpoint-s3", "object store"),
        ("fuse.gcsfuse", "bucket", "object store"),
        ("fuse.sshfs", "host:", "other"),
        ("ext4", "", "local"),
        ("s3", "bucket", "object store"),
    ],
)
def test_families(kind: str, source: str, expected: str) -> None:
    assert family(kind, source) == expected


def test_urls_of_object_stores_are_mounts_of_their_own() -> None:
    found = url_mount("S3://bucket/shards/0.tar")
    assert found is not None
    assert (found.kind, found.source, found.family) == ("s3", "bucket", "object store")
    assert url_mount("/data/a://b") is None
    assert url_mount("file:///data") is None


def test_this_machine_has_a_root_mount() -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("no /proc here")
    found = mount_of("/", mounts())
    assert found is not None and found.point == "/"


MOUNTSTATS = """
device proc mounted on /proc with fstype proc
device server:/home mounted on /home\\040x with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2,rsize=1048576
\tage:\t1200
\tbytes:\t100 200 0 0 5000 6000 7 8
\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)
\txprt:\ttcp 0 0 2 0 3 100 100 0 100 0 2 0 0
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0
\t        READ: 30 33 1 5000 800000 40 900 960 0
\t     GETATTR: 192686 192688 0 22726724 21580832 2800 79242 83598
device other:/x mounted on /x with fstype nfs
\tbytes:\t1 1 1 1 1 1 1 1
""".lstrip()


def test_nfs_counts_are_those_of_the_mount() -> None:
    counters = nfs.parse_mountstats(MOUNTSTATS, "/home x")
    assert counters["READ.ops"] == 30
    assert counters["READ.retrans"] == 3
    assert (counters["READ.queue_ms"], counters["READ.rtt_ms"]) == (40, 900)
    assert counters["READ.execute_ms"] == 960
    assert counters["GETATTR.ops"] == 192686
    assert (counters["bytes.normal_read"], counters["bytes.server_read"]) == (100, 5000)
    assert nfs.parse_mountstats(MOUNTSTATS, "/x")["bytes.server_read"] == 1
    assert nfs.parse_mountstats(MOUNTSTATS, "/proc") == {}
