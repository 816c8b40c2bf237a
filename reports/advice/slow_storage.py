"""The network file system delivers less than the loader asks for, in large files and reads.

What it detects
    Waiting for data on a remote file system where making a batch mostly waits for reads, and
    nothing more specific explains it: files and reads are large, metadata and layout are fine.
    Charged is the part of the wait in which making a batch did not compute.

Why it costs
    All nodes share the servers and the network, and each pass over the data pays again. GPFS does
    not even use the page cache: what its page pool (1 GiB at first) does not hold is fetched again.

What to do
    Copy the data to a local NVMe disk of each node at the start of the job, if they fit; or let
    the format cache them there (MosaicML Streaming `local=`, WebDataset `cache_dir=`). The remedy
    gives the line, how long it takes and after how many steps it has paid. More workers overlap
    more waits. On GPFS ask for a larger page pool.

When not to
    For one pass over the data copying reads as much as training would. Local disks are often
    wiped with the job, and memory-backed ones (/dev/shm, some /tmp) count as the job's memory.

References
    https://www.ibm.com/docs/en/storage-scale/6.0.1?topic=considerations-cache-usage (page pool)
    https://docs.mosaicml.com/projects/streaming/ (caching) and
    https://webdataset.github.io/webdataset/ (cache_dir); XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

import math

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice import metadata_storm, nfs_mount
from perfkit.reports.advice._storage import (
    REMOTE,
    STORE,
    Input,
    bytes_per_s,
    folder_of,
    has_small_files,
    has_small_reads,
    place_fact,
    reading_once_us,
    storage_input,
    wait_facts,
)
from perfkit.reports.advice._striping import layout_fault
from perfkit.reports.format import count, plural, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis


def check(diagnosis: Diagnosis) -> Advice | None:
    """The wait for storage that no other rule on storage explains."""
    data = storage_input(diagnosis, *(REMOTE - {STORE}))
    if data is None or not data.place.bytes or _explained(diagnosis, data):
        return None
    kind = data.place.kind
    return Advice(
        title=f"Reads from {kind} come too slowly, for {of_step(diagnosis, data.wait_us)}",
        cause=Cause.DATALOADER,
        cost_us=data.wait_us,
        limits=LIMITS,
        evidence=[*_rates(data), place_fact(data.place), *wait_facts(data)],
        remedy=_remedy(data),
        places=[],
    )


def _explained(diagnosis: Diagnosis, data: Input) -> bool:
    ranks = (diagnosis.run.world_size if diagnosis.run else None) or 1
    return (
        has_small_files(data)
        or has_small_reads(data)
        or layout_fault(data, ranks) is not None
        or metadata_storm.check(diagnosis) is not None
        or nfs_mount.check(diagnosis) is not None
    )


def _rates(data: Input) -> list[Evidence]:
    rate, loader = bytes_per_s(data.loader), data.loader
    if rate is None or loader.rchar_bytes is None or not loader.use_us:
        return []
    wanted = loader.rchar_bytes / loader.use_us * 1e6
    workers = plural(max(loader.num_workers or 1, 1), "worker")
    said = f"{workers} read {size(rate)}/s together; the steps could use {size(wanted)}/s"
    return [fact(said, rate, "B/s")]


def _remedy(data: Input) -> Remedy:
    place, took = data.place, reading_once_us(data)
    whole = f"at least {size(place.bytes)}" if place.partial else size(place.bytes)
    pays = ""
    if took and data.wait_us:
        steps = count(math.ceil(took / data.wait_us))
        pays = f", takes about {time_us(took)} at today's pace and pays after {steps} steps"
    pool = (
        " Or have the administrator raise the page pool (mmchconfig pagepool=16G -i)."
        if place.family == "gpfs"
        else ""
    )
    return Remedy(
        text=f"Copy the data to a local disk of each node first: that is {whole}{pays}.{pool}",
        snippet=(
            "srun --ntasks-per-node=1 \\\n"
            f'    rsync -a {folder_of(place)}/ "$TMPDIR/data/"    # then train from there'
        ),
        applies_to=f"{place.kind}, nodes with local disks (Slurm)",
    )
