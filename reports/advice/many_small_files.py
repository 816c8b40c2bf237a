"""Every sample is a small file of its own on storage that is reached over a network.

What it detects
    Waiting for data, on a remote file system or object store whose files are below 1 MiB on
    average, a sample reading about as much as one file holds; or shards so small that each is
    less than one request. Charged is the part of the wait in which making a batch did not compute.

Why it costs
    Opening a file takes several round trips to a metadata server before the first byte moves
    (look-up, open, attributes, close), and read-ahead has nothing to read ahead. A few hundred
    such trips a batch add up, and all ranks share the server.

What to do
    Pack the samples into shards that are read from start to end: WebDataset (tar files of 100 MB
    to 1 GB), MosaicML Streaming (MDS, 50 to 100 MB), at least as many shards as ranks times
    workers. Or copy the files once to a local disk of the node. Packing reads everything once.

When not to
    More Lustre stripes make it worse: each stripe of a small file is one more server to ask.
    Files that the page cache holds after the first pass need no packing. Shuffling in a shard
    format is by shards and a buffer, not over all samples.

References
    https://wiki.lustre.org/Lustre_Striping_Best_Practices (files below 1 MiB: one stripe)
    https://webdataset.github.io/webdataset/sharding/ and
    https://docs.mosaicml.com/projects/streaming/ (50 to 100 MB a shard); the bound of a small
    request, 1 MiB, and the thousand from which they count are Drishti's:
    https://github.com/hpc-io/drishti-io; XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._storage import (
    STORE,
    Input,
    folder_of,
    has_small_files,
    is_sharded,
    metadata_share,
    place_fact,
    reading_once_us,
    storage_input,
    wait_facts,
)
from perfkit.reports.format import share, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_SHARD = "100 MB to 1 GB"  # WebDataset
_WRITER = (
    "with webdataset.ShardWriter('train-%06d.tar', maxsize=5e8) as shards:\n"
    "    for number, (image, label) in enumerate(samples):   # bytes of a file, its class\n"
    "        shards.write({'__key__': f'{number:09d}', 'jpg': image, 'cls': label})"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """The wait for storage, where files are small."""
    data = storage_input(diagnosis)
    if data is None or not has_small_files(data):
        return None
    what = "shards" if is_sharded(data.place) else "a file for each sample"
    where = of_step(diagnosis, data.wait_us)
    return Advice(
        title=f"Reading {what} from {data.place.kind} holds the loader up for {where}",
        cause=Cause.DATALOADER,
        cost_us=data.wait_us,
        limits=LIMITS,
        evidence=[place_fact(data.place), *wait_facts(data), *_metadata(data)],
        remedy=_larger(data) if is_sharded(data.place) else _packed(data),
        places=[],
    )


def _metadata(data: Input) -> list[Evidence]:
    spent = metadata_share(data.place)
    if spent is None:
        return []
    said = f"{share(spent)} of this machine's time in requests there moves no data"
    return [fact(said, spent, "share")]


def _larger(data: Input) -> Remedy:
    return Remedy(
        text=(
            f"Write shards of {_SHARD}: below 8 MB a shard is less than one request, and its "
            "latency is paid for every few samples."
        ),
        snippet=(
            "webdataset.ShardWriter('train-%06d.tar', maxsize=5e8)\n"
            "streaming.MDSWriter(out=..., columns=..., size_limit='100mb')   # MosaicML"
        ),
        applies_to=data.place.kind,
    )


def _packed(data: Input) -> Remedy:
    place = data.place
    took = reading_once_us(data)
    cost = f" Reading all once takes about {time_us(took)} at today's pace." if took else ""
    return Remedy(
        text=(
            f"Pack the files of {folder_of(place)} into shards of {_SHARD}, as many as ranks times "
            f"workers or more, and stream them.{cost}{_for_family(place.family)}"
        ),
        snippet=_WRITER,
        applies_to=f"{place.kind}, WebDataset (or MosaicML Streaming, FFCV)",
    )


def _for_family(family: str | None) -> str:
    if family == "lustre":
        return (
            " Until then keep small files on one OST (lfs setstripe -c 1 on the folder; where the "
            "site has data on metadata servers: -E 1M -L mdt -E -1 -c 1)."
        )
    if family == STORE:
        return " Until then cache the objects on a local disk, and ask for many at once."
    return " Until then copy them to a local disk of the node at the start of the job."
