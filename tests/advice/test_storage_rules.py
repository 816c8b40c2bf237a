"""Rules on storage: which fault of file systems they name, with which command, and its cost."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.model.capture import FileSystem
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import CheckpointFacts
from perfkit.model.settings import Settings
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis, found_of
from tests.advice.runs import run
from tests.advice.stores import (
    GB,
    GIB,
    KB,
    MB,
    MIB,
    WAIT_US,
    crew,
    llite,
    mountstats,
    of_pieces,
    of_small_files,
    pfl,
    place,
    plain,
    read_ahead,
    reads,
    small_files,
    waiting,
)

STORAGE = (
    "many-small-files", "small-reads", "metadata-storm", "nfs-mount", "lustre-striping",
    "slow-storage", "object-store-requests",
)  # fmt: skip
TARS: dict[str, Any] = {"file_types": {".tar": 200}}
ONE: dict[str, Any] = {
    "files": 1,
    "bytes": 300 * GB,
    "largest_bytes": 300 * GB,
    "path": "/data/train.h5",
}
CUT: dict[str, Any] = {"options": ["rw", "vers=4.2", "rsize=65536", "wsize=65536"],
       "counters": mountstats(bytes=64 * KB * 1000)}  # fmt: skip
QUEUED: dict[str, Any] = {
    "options": ["rw", "rsize=1048576"],
    "counters": mountstats(queue=4000, execute=5000),
}
NOAC: dict[str, Any] = {"options": ["rw", "noac", "rsize=1048576"],
        "counters": mountstats(others=90_000, other_ms=3000, execute=4000)}  # fmt: skip
STORM = mountstats(others=90_000, other_ms=9000)
IN_LUSTRE: dict[str, Any] = {"counters": llite(opens=90_000, open_us=9_000_000)}


def written(gigabytes: float = 20.0, **facts: Any) -> CheckpointFacts:
    usual: dict[str, Any] = {
        "count": 4, "mean_us": 20e6, "blocking_mean_us": 20e6, "blocking_us_per_step": 2000.0,
        "bytes_mean": gigabytes * 1e9, "bytes_per_s": gigabytes / 20 * 1e9, "calls": ["torch.save"],
    }  # fmt: skip
    return CheckpointFacts(**(usual | facts))


def saves(checkpoints: CheckpointFacts | None, family: str, **facts: Any) -> Diagnosis:
    there = place(family, role="checkpoint", path="/data/ckpt", **facts)
    return diagnosis(run=run(checkpoints=checkpoints, file_systems=[there]))


# (code, why, diagnosis, severity)
FIRES = [
    ("many-small-files", "on Lustre", reads(small_files(), of=of_small_files()), "critical"),
    ("many-small-files", "on NFS", reads(small_files("nfs"), of=of_small_files()), "critical"),
    ("many-small-files", "on GPFS, all of them seen",
     reads(small_files("gpfs", partial=False), of=of_small_files()), "critical"),
    ("many-small-files", "reading is not counted",
     reads(small_files(), of=waiting(rchar_bytes=None, read_calls=None)), "critical"),
    ("many-small-files", "in a bucket, over a socket",
     reads(small_files("object store"),
           of=waiting(bound="waiting", rchar_bytes=None, read_calls=None)), "critical"),
    ("many-small-files", "shards of 2 MB",
     reads(place(files=200, bytes=400 * MB, largest_bytes=2 * MB, **TARS),
           of=waiting(kind="iterable")), "critical"),
    ("many-small-files", "a tenth of the step",
     reads(small_files(), of=of_small_files(), wait_us=1000.0), "warning"),
    ("small-reads", "one file of HDF5 on Lustre", reads(place(**ONE), of=of_pieces()), "critical"),
    ("small-reads", "the wire shows them", reads(place("nfs", counters=mountstats(
        bytes=32 * KB * 1000)), of=of_pieces()), "critical"),
    ("small-reads", "Lustre's read-ahead misses", reads(place(counters=read_ahead(60, 40)),
                                                       of=of_pieces()), "critical"),
    ("metadata-storm", "NFS", reads(place("nfs", counters=STORM)), "critical"),
    ("metadata-storm", "Lustre", reads(place(**IN_LUSTRE)), "critical"),
    ("nfs-mount", "rsize", reads(place("nfs", **CUT)), "critical"),
    ("nfs-mount", "one connection", reads(place("nfs", **QUEUED)), "critical"),
    ("nfs-mount", "noac", reads(place("nfs", **NOAC)), "warning"),
    ("lustre-striping", "one file on one OST", reads(place(layout=plain(1), **ONE)), "critical"),
    ("lustre-striping", "its last part has one stripe", reads(place(layout=pfl(1), **ONE)),
     "critical"),
    ("lustre-striping", "small files on all OSTs",
     reads(small_files(layout=plain(-1)), of=of_small_files()), "critical"),
    ("lustre-striping", "files of 20 MB on 16",
     reads(place(bytes=2 * GB, largest_bytes=20 * MB, layout=plain(16))), "critical"),
    ("lustre-striping", "short stripes", reads(place(layout=plain(8, 64 * 1024))), "critical"),
    ("slow-storage", "Lustre that is well laid out", reads(place(layout=plain(1))), "critical"),
    ("slow-storage", "GPFS", reads(place("gpfs")), "critical"),
    ("slow-storage", "NFS that is well mounted", reads(place(
        "nfs", counters=mountstats(), options=["nconnect=8", "rsize=1048576"])), "critical"),
    ("object-store-requests", "by URL", reads(
        place("object store", kind="s3", path="s3://bucket", mount="s3://bucket", files=None,
              bytes=None, largest_bytes=None),
        of=waiting(bound="waiting", rchar_bytes=None, read_calls=None)), "critical"),
    ("object-store-requests", "by FUSE", reads(place("object store")), "critical"),
    ("checkpoint-storage", "one OST", saves(written(), "lustre", layout=plain(1)), "warning"),
    ("checkpoint-storage", "one OST at its end", saves(written(), "lustre", layout=pfl(1)),
     "warning"),
    ("checkpoint-storage", "a synchronous mount",
     saves(written(), "nfs", options=["rw", "sync", "wsize=1048576"]), "critical"),
    ("checkpoint-storage", "short writes", saves(written(), "nfs", options=["wsize=65536"]),
     "warning"),
]  # fmt: skip

HIDDEN: dict[str, Any] = {"bound": None, "wait_share": 0.0}
# (code, why, diagnosis)
SILENT = [
    *((code, "a trace file", diagnosis({"dataloader": WAIT_US})) for code in STORAGE),
    *((code, "no loader was seen", diagnosis({"dataloader": WAIT_US}, run=run(file_systems=[
        small_files(), place("nfs", **CUT), place("object store"), place(layout=plain(1), **ONE)])))
      for code in STORAGE),
    *((code, "the processor is the limit", reads(there, of=of))
      for code, there, of in (
          ("many-small-files", small_files(), of_small_files(bound="cpu", cpu_share=0.97)),
          ("small-reads", place(**ONE), of_pieces(bound="cpu", cpu_share=0.97)),
          ("metadata-storm", place("nfs", counters=STORM), waiting(bound="cpu")),
          ("nfs-mount", place("nfs", **CUT), waiting(bound="cpu")),
          ("lustre-striping", place(layout=plain(1), **ONE), waiting(bound="cpu")),
          ("slow-storage", place("gpfs"), waiting(bound="collate")),
          ("object-store-requests", place("object store"), waiting(bound="cpu")))),
    *((code, "hidden by prefetching", reads(there, of=of, wait_us=0.0))
      for code, there, of in (
          ("many-small-files", small_files(), of_small_files(**HIDDEN)),
          ("small-reads", place(**ONE), of_pieces(**HIDDEN)),
          ("lustre-striping", place(layout=plain(1), **ONE), waiting(**HIDDEN)),
          ("slow-storage", place("gpfs"), waiting(**HIDDEN)))),
    *((code, "on a local disk", reads(small_files("local", layout=plain(-1)), of=of_small_files()))
      for code in STORAGE),
    ("many-small-files", "few of them",
     reads(small_files(files=200, bytes=22 * MB, partial=False), of=of_small_files())),
    ("many-small-files", "large files", reads(place())),
    ("many-small-files", "shards of 64 MB", reads(place(
        files=300, bytes=20 * GB, largest_bytes=67 * MB, **TARS))),
    ("many-small-files", "samples that need little of each file",
     reads(small_files(), of=waiting(rchar_bytes=64 * 4e3, read_calls=64.0))),
    ("many-small-files", "nothing is known of the files", reads(place(files=None, bytes=None))),
    ("small-reads", "large ones", reads(place(**ONE))),
    ("small-reads", "of small files", reads(small_files(), of=of_small_files())),
    ("small-reads", "one after the other",
     reads(place(**ONE), of=of_pieces(kind="iterable"))),
    ("small-reads", "joined by read-ahead", reads(place("nfs", counters=mountstats()),
                                                 of=of_pieces())),
    ("small-reads", "read ahead of them", reads(place(counters=read_ahead(95, 5)),
                                               of=of_pieces())),
    ("metadata-storm", "mostly data", reads(place("nfs", counters=mountstats()))),
    ("metadata-storm", "Lustre, mostly data", reads(place(counters=llite()))),
    ("metadata-storm", "an old client that counts no time",
     reads(place(counters={"llite.open.samples": 3304805.0, "llite.read_bytes.sum": 5e9}))),
    ("metadata-storm", "small files, which many-small-files tells of",
     reads(small_files("nfs", counters=STORM), of=of_small_files())),
    ("metadata-storm", "nothing was counted", reads(place("nfs"))),
    ("nfs-mount", "all as it should be", reads(place(
        "nfs", counters=mountstats(), options=["nconnect=8", "rsize=1048576"]))),
    ("nfs-mount", "rsize is small, reads are smaller", reads(place(
        "nfs", options=["rsize=65536"], counters=mountstats(bytes=16 * KB * 1000)))),
    ("nfs-mount", "queues, with connections enough", reads(place(
        "nfs", options=["nconnect=16"], counters=mountstats(queue=4000, execute=5000)))),
    ("nfs-mount", "the server is slow", reads(place(
        "nfs", options=[], counters=mountstats(rtt=9000, execute=9050)))),
    ("nfs-mount", "nothing was counted", reads(place("nfs", options=["rsize=65536"]))),
    ("lustre-striping", "many shards spread by themselves", reads(place(layout=plain(1)))),
    ("lustre-striping", "wide already", reads(place(layout=plain(8), **ONE))),
    ("lustre-striping", "its last part is wide", reads(place(layout=pfl(5), **ONE))),
    ("lustre-striping", "small files on one OST",
     reads(small_files(layout=plain(1)), of=of_small_files())),
    ("lustre-striping", "small files that end in the first part",
     reads(small_files(layout=pfl(-1)), of=of_small_files())),
    ("lustre-striping", "all of four OSTs for small files",
     reads(small_files(layout={**plain(-1), "active_osts": 4}), of=of_small_files())),
    ("lustre-striping", "there is one OST only",
     reads(place(layout={**plain(1), "active_osts": 1}, **ONE))),
    ("lustre-striping", "the layout is not known", reads(place(**ONE))),
    ("lustre-striping", "GPFS has no stripes", reads(place("gpfs", **ONE))),
    ("slow-storage", "small files", reads(small_files(), of=of_small_files())),
    ("slow-storage", "small reads", reads(place(**ONE), of=of_pieces())),
    ("slow-storage", "stripes", reads(place(layout=plain(1), **ONE))),
    ("slow-storage", "a storm", reads(place("nfs", counters=STORM))),
    ("slow-storage", "a mount", reads(place("nfs", **CUT))),
    ("slow-storage", "a bucket", reads(place("object store"))),
    ("object-store-requests", "small objects", reads(small_files("object store"),
                                                    of=of_small_files())),
    ("checkpoint-storage", "none were written", saves(None, "lustre", layout=plain(1))),
    ("checkpoint-storage", "striped", saves(written(), "lustre", layout=plain(4))),
    ("checkpoint-storage", "its end is striped", saves(written(), "lustre", layout=pfl(4))),
    ("checkpoint-storage", "small ones", saves(written(0.2), "lustre", layout=plain(1))),
    ("checkpoint-storage", "each rank writes its own", saves(written(
        calls=["torch.distributed.checkpoint.save"]), "lustre", layout=plain(1))),
    ("checkpoint-storage", "in the background", saves(written(blocking_us_per_step=10.0), "lustre",
                                                      layout=plain(1))),
    ("checkpoint-storage", "a good mount", saves(written(), "nfs", options=["wsize=1048576"])),
    ("checkpoint-storage", "a local disk", saves(written(), "local")),
    ("checkpoint-storage", "a trace file", diagnosis({"checkpoint": 2000})),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "case", "severity"), FIRES)
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = found_of(case, code)
    assert found.severity == severity, why
    told = max(case.idle_us["dataloader"], 2000.0)
    assert 0 < found.cost_us <= told
    assert found.remedy.text.endswith(".")
    assert found.remedy.snippet
    assert found.evidence
    said = " ".join([found.title, found.remedy.text, *(fact.text for fact in found.evidence)])
    assert "None" not in said
    assert " - " not in said


@pytest.mark.parametrize(("code", "why", "case"), SILENT)
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


def told(case: Diagnosis, code: str) -> str:
    found = found_of(case, code)
    return f"{found.title} | {found.remedy.text} | {found.remedy.snippet}"


def test_only_what_waits_for_storage_is_charged() -> None:
    part = crew(delay_share=0.2)
    found = found_of(reads(place("gpfs"), of=waiting(cpu_share=0.3, workers=part)), "slow-storage")
    assert found.cost_us == pytest.approx(0.5 * WAIT_US)


def test_hidden_faults_are_told_to_those_who_ask() -> None:
    case = reads(small_files(), of=of_small_files(**HIDDEN), wait_us=0.0)
    codes = [f.code for f in advise(case, settings=Settings(least_share=0.0)).findings]
    assert "many-small-files" in codes


def test_small_files_are_never_striped_wider() -> None:
    text = told(reads(small_files(layout=plain(-1)), of=of_small_files()), "lustre-striping")
    assert "lfs setstripe -c 1 -S 4M /data/train" in text
    assert "lfs migrate --non-block -c 1 -S 4M" in text
    both = told(reads(small_files(layout=plain(1)), of=of_small_files()), "many-small-files")
    assert "lfs setstripe -c 1 on the folder" in both


LINES = [
    ("one node", {"world_size": 8}, plain(1), "lfs setstripe -c 4 -S 4M /data"),
    ("many nodes", {"world_size": 64}, plain(1), "lfs setstripe -c 8 -S 4M /data"),
    ("few OSTs", {"world_size": 64}, {**plain(1), "active_osts": 6}, "lfs setstripe -c 6 -S 4M"),
    ("progressive", {"world_size": 64}, pfl(1), "lfs setstripe -E 1G -c 1 -E -1 -c 8 -S 4M /data"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "facts", "layout", "line"), LINES)
def test_the_line_suits_readers_servers_and_layout(
    why: str, facts: dict[str, Any], layout: dict[str, Any], line: str
) -> None:
    text = told(reads(place(layout=layout, **ONE), **facts), "lustre-striping")
    assert line in text, why
    assert "moves 300.0 GB" in text
    assert "site's policy" in text
    assert "lfs find /data --type f --size +1G --stripe-count 1 --print0" in text


def test_striping_returns_at_most_what_more_servers_can() -> None:
    found = found_of(reads(place(layout=plain(1), **ONE), world_size=64), "lustre-striping")
    assert found.cost_us == pytest.approx(0.9 * WAIT_US * 7 / 8)


def test_a_folder_with_a_space_can_be_pasted() -> None:
    case = reads(place(layout=plain(1), **{**ONE, "path": "/data/my set/train.h5"}))
    assert "setstripe -c 4 -S 4M '/data/my set'" in told(case, "lustre-striping")


def test_copying_says_what_it_takes_and_when_it_has_paid() -> None:
    # 64 MB in 80 ms by 4 workers: 3.2 GB/s, so 200 GB take 62.5 s; 3.6 ms a step come back
    text = told(reads(place("gpfs")), "slow-storage")
    assert "200.0 GB, takes about 62.5 s at today's pace and pays after 17,362 steps" in text
    assert "pagepool" in text
    assert 'rsync -a /data/train/ "$TMPDIR/data/"' in text


def test_packing_says_what_it_takes() -> None:
    whole = small_files(partial=False, files=100_000, bytes=11 * GB)
    # 7.04 MB in 80 ms by 4 workers: 352 MB/s
    assert "once takes about 31.2 s" in told(reads(whole, of=of_small_files()), "many-small-files")
    assert "once takes" not in told(reads(small_files(), of=of_small_files()), "many-small-files")


def test_the_mount_is_told_its_worst_option_first_and_all_of_them() -> None:
    numbers = mountstats(bytes=64 * KB * 1000, queue=3000, execute=5000)
    case = reads(place("nfs", options=["rsize=65536"], counters=numbers))
    found = found_of(case, "nfs-mount")
    assert "lacks rsize=1048576" in found.title
    assert found.cost_us == pytest.approx(0.9 * WAIT_US * (1 - 65536 / MIB))
    assert "nconnect=8, rsize=1048576" in found.remedy.text
    assert "nas:/export /data nfs ro,nconnect=8,rsize=1048576" in (found.remedy.snippet or "")
    assert found.audience == "infrastructure"


def test_the_storms_share_is_charged_and_its_kinds_are_named() -> None:
    found = found_of(reads(place("nfs", counters=STORM)), "metadata-storm")
    assert found.cost_us == pytest.approx(0.9 * WAIT_US * 9005 / 9955)
    said = " ".join(fact.text for fact in found.evidence)
    assert "90,000 times GETATTR over the run" in said
    assert "nocto,actimeo=600" in (found.remedy.snippet or "")


def test_a_bucket_gets_the_client_of_its_kind() -> None:
    bucket: dict[str, Any] = {"mount": "s3://bucket", "files": None, "bytes": None}
    of = waiting(bound="waiting", workers_needed=24, cores=8)
    s3 = told(reads(place("object store", kind="s3", **bucket), of=of), "object-store-requests")
    gs = told(reads(place("object store", kind="gs", **bucket), of=of), "object-store-requests")
    fuse = told(reads(place("object store"), of=of), "object-store-requests")
    assert "S3ClientConfig" in s3
    assert "num_workers=24" in s3
    assert "ThreadPoolExecutor" in gs
    assert "mount-s3 BUCKET /data" in fuse


def test_checkpoints_get_their_line() -> None:
    assert "lfs setstripe -c 4 -S 4M /data/ckpt" in told(
        saves(written(), "lustre", layout=plain(1)), "checkpoint-storage")  # fmt: skip
    cost = found_of(saves(written(), "lustre", layout=plain(1)), "checkpoint-storage").cost_us
    assert cost == pytest.approx(1500)


def test_the_largest_place_is_the_one_that_is_told_of() -> None:
    opened = place("nfs", path="/data/one.py", files=None, bytes=None)
    assert "nfs4" not in told(reads(opened, small_files(), of=of_small_files()), "many-small-files")


def test_what_the_collector_writes_is_what_rules_read() -> None:
    fields = set(FileSystem.__struct_fields__)
    assert {"layout", "counters", "largest_bytes", "file_types"} <= fields
    assert place(layout=plain(2)).layout == {
        "stripe_count": 2,
        "stripe_size": 4 * MIB,
        "pattern": "raid0",
        "stripe_offset": 1,
        "osts": [1],
    }
    assert pfl(3)["components"][0]["end"] == GIB
