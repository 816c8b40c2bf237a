"""Lustre stripes do not suit the files: large ones on one server, or small ones on many.

What it detects
    Waiting for data on Lustre where (1) a file of 1 GiB or more lies on one OST while more
    workers read than there are files; (2) files below 100 MiB are spread over more than four
    OSTs; or (3) stripes of several OSTs are shorter than 512 KiB. Of a composite (PFL) file the
    part at its end counts. Charged is at most what the other layout can return.

Why it costs
    A file on one OST is served at that server's pace, however many read it. A small file on many
    asks each of them for its size. Short stripes turn one read into several requests.

What to do
    `lfs setstripe` on the folder for new files, `lfs migrate` for those that exist: it rewrites
    them, so it needs time and free space, and must not run while they are written.

When not to
    The site's policy comes first: OLCF asks users not to stripe, NERSC caps the count, FSx and
    others set progressive layouts (there -c on a folder undoes them; files imported from S3 are
    striped by their size). Many shards spread over the OSTs by themselves: one stripe is right.

References
    https://wiki.lustre.org/Lustre_Striping_Best_Practices (above 1 GiB: 4 to 8 stripes for one
    client, 8 and more for many; small files: 1)
    https://doc.lustre.org/lustre_manual.xhtml#managingstripingfreespace (as few as meet the
    needs; stripes of at least 512 KiB, 1 to 4 MiB for streams)
    https://docs.aws.amazon.com/fsx/latest/LustreGuide/performance.html (a round trip to each OST,
    below 100 MiB one; progressive layouts); XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import FileSystemFacts
from perfkit.reports.advice._storage import (
    Input,
    folder_of,
    place_fact,
    storage_input,
    wait_facts,
)
from perfkit.reports.advice._striping import LayoutFault, layout_fault, osts_of
from perfkit.reports.format import plural, size
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_STRIPE = "4M"  # Lustre's own default


def check(diagnosis: Diagnosis) -> Advice | None:
    """The wait for storage that another layout could return."""
    data = storage_input(diagnosis, "lustre")
    world = diagnosis.run.world_size if diagnosis.run else None
    wrong = layout_fault(data, world or 1) if data else None
    if data is None or wrong is None:
        return None
    cost = data.wait_us * wrong.part
    return Advice(
        title=f"{wrong.said} on Lustre: another layout may return {of_step(diagnosis, cost)}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[place_fact(data.place), *_readers(data, world or 1), *wait_facts(data)],
        remedy=_remedy(data.place, wrong),
        places=[],
    )


def _readers(data: Input, ranks: int) -> list[Evidence]:
    layout = data.place.layout or {}
    kind = "a progressive layout (PFL)" if layout.get("components") else "a plain layout"
    workers = plural(max(data.loader.num_workers or 1, 1), "worker")
    osts = osts_of(data.place)
    there = f"; {osts} OSTs are there" if osts else ""
    return [fact(f"{kind}, read by {plural(ranks, 'rank')} with {workers} each{there}")]


def _remedy(place: FileSystemFacts, wrong: LayoutFault) -> Remedy:
    folder, plain = folder_of(place), f"-c {wrong.count} -S {_STRIPE}"
    composite = bool((place.layout or {}).get("components")) and wrong.count != 1
    wanted = f"-E 1G -c 1 -E -1 {plain}" if composite else plain
    stripes = plural(wrong.count, "stripe") if wrong.count > 0 else f"stripes of {_STRIPE}"
    bytes_, more = size(place.bytes), "at least " if place.partial else ""
    return Remedy(
        text=(
            f"Give the folder {stripes} for new files, and rewrite those "
            f"that exist: that moves {more}{bytes_} and needs as much free space as one file "
            "takes. Ask for your site's policy first (pools, caps, defaults)."
        ),
        snippet=(
            f"lfs setstripe {wanted} {folder}        # new files only\n"
            f"lfs find {folder} --type f {wrong.select} --print0 |\n"
            f"    xargs -0 -n 1 lfs migrate --non-block {wanted}   # rewrites them"
        ),
        applies_to="Lustre",
    )
