"""The storage client spends its time on names and attributes, not on data.

What it detects
    Waiting for data, where the client's counters of the file system (NFS mountstats; Lustre's
    llite statistics, where they are readable and count time) give at least half of their time to
    requests that move no data: look-up, open, close, attributes, listing. Where the files are
    small, many-small-files tells of it.

Why it costs
    Each is a round trip to a metadata server that all jobs share. Files that are opened again for
    every sample, globbing and `os.path.exists` in `__getitem__`, imports from network folders and
    attribute checks at each open make thousands of them a second.

What to do
    Open files once in a worker and keep them open; list folders once and save the list; ask for
    attributes never. On an NFS mount of data that do not change, longer attribute caching and
    `nocto` leave the checks out.

When not to
    The counters are of the whole machine: another job's storm looks the same. `nocto` and long
    attribute caching are for data that nobody changes while they are mounted.

References
    https://man7.org/linux/man-pages/man5/nfs.5.html (close-to-open, actimeo, nocto)
    https://doc.lustre.org/lustre_manual.xhtml (llite statistics)
    https://utcc.utoronto.ca/~cks/space/blog/linux/NFSMountstatsNFSOps (fields of mountstats);
    Drishti (https://github.com/hpc-io/drishti-io) has a rule for time in metadata as well.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import FileSystemFacts
from perfkit.reports.advice._storage import (
    has_small_files,
    metadata_share,
    metadata_times,
    place_fact,
    storage_input,
)
from perfkit.reports.format import count, share
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_MOST_OF_IT = 0.5
_MOST_KINDS = 3
_SNIPPET = (
    "def __getitem__(self, index):\n"
    "    if self.file is None:                 # once in each worker, not in __init__\n"
    "        self.file = h5py.File(self.path, 'r')\n"
    "    return self.file['images'][index]"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """The metadata's share of the wait for storage."""
    data = storage_input(diagnosis, "nfs", "lustre")
    spent = metadata_share(data.place) if data else None
    if data is None or spent is None or spent < _MOST_OF_IT or has_small_files(data):
        return None
    cost = data.wait_us * spent
    where = of_step(diagnosis, cost)
    return Advice(
        title=f"Names and attributes on {data.place.kind}, not data, take {where}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{share(spent)} of the time in requests moves no data", spent, "share"),
            *_kinds(data.place),
            place_fact(data.place),
        ],
        remedy=_remedy(data.place),
        places=[],
    )


def _kinds(place: FileSystemFacts) -> list[Evidence]:
    spent, counters = metadata_times(place), place.counters or {}
    most = sorted(spent.items(), key=lambda item: -item[1])[:_MOST_KINDS]
    total, found = sum(spent.values()), []
    for name, took in most:
        calls = counters.get(f"{name}.ops", counters.get(f"llite.{name}.samples", 0.0))
        said = f"{count(calls)} times {name} over the run, {share(took / total)} of that time"
        found.append(fact(said, calls, "calls"))
    return found


def _remedy(place: FileSystemFacts) -> Remedy:
    text = (
        "Open files once in each worker and keep them open, list folders once and save the list, "
        "and take existence and sizes from that list."
    )
    if place.family != "nfs":
        return Remedy(text=text, snippet=_SNIPPET, applies_to=place.kind)
    line = f"{place.source} {place.mount} nfs ro,nocto,actimeo=600"
    return Remedy(
        text=f"{text} Where nobody changes the data, mount them with nocto and actimeo=600.",
        snippet=f"{_SNIPPET}\n\n# /etc/fstab: {line}",
        applies_to=place.kind,
    )
