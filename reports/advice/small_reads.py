"""Samples are small pieces at random places of large files, so nothing can be read ahead.

What it detects
    Waiting for data, where a read is below 64 KiB on average and a sample less than a sixteenth
    of its file (16 MiB at least), picked by its number; not where the client's own counters say
    that read-ahead joined the reads (NFS requests of 256 KiB and more, Lustre's misses below a
    fifth).

Why it costs
    Lustre, NFS and object stores move megabytes in the time of one round trip. Read-ahead begins
    after reads that follow one another; a shuffled index never gives it two, so each sample pays
    whole round trips for a few kilobytes, or fetches pages that nobody reads.

What to do
    Read blocks of some MiB from start to end, cut samples from them and shuffle in memory: order
    blocks by chance, keep a buffer of samples. For HDF5 use chunks of 1 MiB and a chunk cache that
    holds them. Where single reads must stay, ask for many at once and switch read-ahead off.

When not to
    Files that fit into memory are read once and stay: copy them to /dev/shm or a local disk.
    A local NVMe disk serves random reads of 64 KiB almost as fast as streams.

References
    https://doc.lustre.org/lustre_manual.xhtml (client read-ahead: after sequential reads only)
    https://github.com/hpc-io/drishti-io (small below 1 MiB; random above 20 % is high)
    https://man7.org/linux/man-pages/man2/posix_fadvise.2.html; XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.reports.advice._storage import (
    Input,
    bytes_per_item,
    has_small_reads,
    mean_read_bytes,
    place_fact,
    read_ahead_miss_share,
    storage_input,
    wait_facts,
    wire_read_bytes,
)
from perfkit.reports.format import share, size
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_SNIPPET = (
    "class Blocks(torch.utils.data.IterableDataset):\n"
    "    def __iter__(self):\n"
    "        for first in my_blocks(shuffled=True):           # of this rank and worker\n"
    "            block = self.file[first : first + 4096]      # one read of some MiB\n"
    "            yield from block[torch.randperm(len(block)).numpy()]"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """The wait for storage, where reads are small and random."""
    data = storage_input(diagnosis)
    if data is None or not has_small_reads(data):
        return None
    read = size(mean_read_bytes(data.loader))
    where = of_step(diagnosis, data.wait_us)
    return Advice(
        title=f"Reads of {read} at random places of {data.place.kind} take {where}",
        cause=Cause.DATALOADER,
        cost_us=data.wait_us,
        limits=LIMITS,
        evidence=[place_fact(data.place), *wait_facts(data), *_pattern(data)],
        remedy=Remedy(
            text=(
                "Read blocks of 1 MiB and more from start to end and shuffle samples in memory: "
                "the order of blocks by chance, and a buffer of some thousand samples."
                f"{_for_family(data.place.family)}"
            ),
            snippet=_SNIPPET,
            applies_to=data.place.kind,
        ),
        places=[],
    )


def _pattern(data: Input) -> list[Evidence]:
    found = []
    sample, wire = bytes_per_item(data.loader), wire_read_bytes(data.place)
    missed = read_ahead_miss_share(data.place)
    if sample is not None:
        found.append(fact(f"a sample reads {size(sample)}", sample, "B/sample"))
    if wire is not None:
        found.append(fact(f"a READ that reaches the server is {size(wire)}", wire, "B/READ"))
    if missed is not None:
        said = f"{share(missed)} of the pages asked for had not been read ahead"
        found.append(fact(said, missed, "share"))
    return found


def _for_family(family: str | None) -> str:
    if family == "lustre":
        return " More stripes do not help: a small read touches one OST anyway."
    if family == "nfs":
        return " rsize does not help: it is the most that a request may hold, not the least."
    if family == "gpfs":
        return " GPFS fetches whole blocks (mmlsfs FS -B), often 4 MiB: read along them."
    return ""
