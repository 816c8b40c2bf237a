"""Data on storage, and loaders that read it, for the rules' tests: as the commands there print."""

from __future__ import annotations

from typing import Any

from perfkit.collectors.lustre import parse_layout, parse_stats
from perfkit.collectors.nfs import parse_mountstats
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import FileSystemFacts, LoaderFacts
from perfkit.model.worker_facts import WorkerFacts
from tests.advice.builder import diagnosis
from tests.advice.runs import loader, run

KB, MB, GB = 10**3, 10**6, 10**9
MIB, GIB = 1 << 20, 1 << 30
WAIT_US = 4000.0

PLAIN = """{path}
lmm_stripe_count:  {count}
lmm_stripe_size:   {size}
lmm_pattern:       raid0
lmm_layout_gen:    0
lmm_stripe_offset: 1
\tobdidx\t\t objid\t\t objid\t\t group
\t     1\t        690551\t      0xa8977\t             0

"""
PFL = """{path}
  lcm_layout_gen:    3
  lcm_mirror_count:  1
  lcm_entry_count:   2
    lcme_id:             1
    lcme_flags:          init
    lcme_extent.e_start: 0
    lcme_extent.e_end:   1073741824
      lmm_stripe_count:  1
      lmm_stripe_size:   1048576
      lmm_pattern:       raid0
      lmm_stripe_offset: 0
      lmm_objects:
      -   0: { l_ost_idx:   0, l_fid: [0x100000000:0x2:0x0] }

    lcme_id:             2
    lcme_flags:          init
    lcme_extent.e_start: 1073741824
    lcme_extent.e_end:   EOF
      lmm_stripe_count:  LAST
      lmm_stripe_size:   1048576
      lmm_pattern:       raid0
      lmm_stripe_offset: 2
"""
STATS = """snapshot_time          1308343279.169704 secs.nsecs
read_bytes             {reads} samples [bytes] 1 4194304 {bytes}
read                   {reads} samples [usec] 1 9000 {read_us} 1
open                   {opens} samples [usec] 1 9000 {open_us} 1
close                  {opens} samples [usec] 1 200 {close_us} 1
"""
READ_AHEAD = """snapshot_time 1308343279.169704 secs.nsecs
hits                      {hits} samples [pages]
misses                    {misses} samples [pages]
"""
MOUNTSTATS = """device nas:/export mounted on /data with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tbytes:\t{bytes} 0 0 0 {bytes} 0 7 8
\tper-op statistics
\t        READ: {reads} {reads} 0 5000 {bytes} {queue} {rtt} {execute} 0
\t     GETATTR: {others} {others} 0 22726724 21580832 2800 {other_ms} {other_ms} 0
\t      LOOKUP: 10 10 0 2000 2000 0 5 5 0
"""


def plain(count: int, size: int = 4 * MIB) -> dict[str, Any]:
    """The layout of a plain file, as `lfs getstripe` prints it."""
    return parse_layout(PLAIN.format(path="/scratch/f", count=count, size=size), "/scratch/f")


def pfl(last: int) -> dict[str, Any]:
    """The layout of a composite file: one stripe up to 1 GiB, then so many."""
    return parse_layout(
        PFL.replace("LAST", str(last)).replace("{path}", "/scratch/f"), "/scratch/f"
    )


def llite(opens: int = 100, open_us: int = 5000, read_us: int = 900_000) -> dict[str, float]:
    """`llite.*.stats` of a client that counts time."""
    text = STATS.format(reads=1000, bytes=4 * GB, read_us=read_us, opens=opens, open_us=open_us,
                        close_us=open_us // 10)  # fmt: skip
    return parse_stats(text, "llite")


def read_ahead(hits: int, misses: int) -> dict[str, float]:
    """`llite.*.read_ahead_stats`."""
    return parse_stats(READ_AHEAD.format(hits=hits, misses=misses), "read_ahead")


def mountstats(**numbers: int) -> dict[str, float]:
    """/proc/self/mountstats of a mount that reads 1 MiB at a time, and asks little else."""
    usual = {"bytes": 1000 * MIB, "reads": 1000, "queue": 20, "rtt": 900, "execute": 950,
             "others": 50, "other_ms": 10}  # fmt: skip
    return parse_mountstats(MOUNTSTATS.format(**(usual | numbers)), "/data")


def place(family: str = "lustre", **facts: Any) -> FileSystemFacts:
    """A hundred files of 2 GB in one folder."""
    kinds = {"nfs": "nfs4", "object store": "fuse.mountpoint-s3"}
    sources = {"nfs": "nas:/export", "lustre": "mgs@tcp:/scratch"}
    usual: dict[str, Any] = {
        "role": "dataset", "path": "/data/train", "kind": kinds.get(family, family),
        "mount": "/data", "source": sources.get(family, family), "family": family, "files": 100,
        "bytes": 200 * GB, "largest_bytes": 2 * GB,
    }  # fmt: skip
    return FileSystemFacts(**(usual | facts))


def small_files(family: str = "lustre", **facts: Any) -> FileSystemFacts:
    """ImageNet as it comes: 110 kB a file."""
    usual: dict[str, Any] = {
        "files": 2000, "bytes": 220 * MB, "largest_bytes": 900 * KB, "partial": True,
        "file_types": {".jpeg": 2000},
    }  # fmt: skip
    return place(family, **(usual | facts))


def waiting(**facts: Any) -> LoaderFacts:
    """A loader that waits 90 % of its time for files, which it reads in megabytes."""
    usual: dict[str, Any] = {
        "kind": "map", "bound": "io", "cpu_share": 0.1, "batch_size": 64, "items": 64.0,
        "rchar_bytes": 64e6, "read_calls": 64.0, "start_method": "fork", "in_order": True,
        "reason": "making a batch is 10 % processor time, the rest waits for files",
    }  # fmt: skip
    return loader(**(usual | facts))


def of_small_files(**facts: Any) -> LoaderFacts:
    """The same, a file of 110 kB a sample."""
    return waiting(**({"rchar_bytes": 64 * 110e3, "read_calls": 256.0} | facts))


def of_pieces(**facts: Any) -> LoaderFacts:
    """The same, a piece of 16 kB a sample."""
    return waiting(**({"rchar_bytes": 64 * 16e3, "read_calls": 128.0} | facts))


def reads(
    *places: FileSystemFacts,
    of: LoaderFacts | None = None,
    wait_us: float = WAIT_US,
    **facts: Any,
) -> Diagnosis:
    """A run that waits 40 % of its step for data from there."""
    known = {"loaders": [of or waiting()], "file_systems": list(places)} | facts
    return diagnosis({"dataloader": wait_us}, run=run(**known))


def crew(**facts: Any) -> WorkerFacts:
    """Four workers that are alike."""
    return WorkerFacts(**({"made": 4, "cores_used": 1.0, "delay_share": 0.0} | facts))
