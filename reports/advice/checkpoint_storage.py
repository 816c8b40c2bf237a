"""The storage a checkpoint goes to is laid out or mounted so that one server takes it all.

What it detects
    Checkpoints that hold the training up and are written (1) as one file of 1 GiB or more on one
    Lustre OST, or (2) to an NFS mount with `sync` or a wsize below 1 MiB. That they are written
    while training waits is what synchronous-checkpoint tells of; this is why writing is slow.

Why it costs
    One OST takes what one server writes, however wide the file system is. A synchronous mount
    waits for the server's disk after each request, and a small wsize makes many of them.

What to do
    Stripe the checkpoint folder over 4 OSTs for one writer (the remedy has the line; it holds for
    new files only). On NFS mount without `sync`, with wsize=1048576. Or write to a local disk and
    copy from there beside the training.

When not to
    Where every rank writes a file of its own (torch.distributed.checkpoint), one stripe each is
    right: the files spread. Where serializing is the limit (one core, 1 to 2 GB/s for torch.save),
    the storage changes little: the gain here is a bound. Site policy comes first.

References
    https://wiki.lustre.org/Lustre_Striping_Best_Practices (above 1 GiB and one client: 4 to 8)
    https://man7.org/linux/man-pages/man5/nfs.5.html (sync, wsize)
    https://www.usenix.org/conference/fast21/presentation/mohan (CheckFreq: 3.5 % of the run);
    20 % as for input: XProf.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import CheckpointFacts, FileSystemFacts
from perfkit.model.striping import stripe_count_at
from perfkit.reports.advice._storage import GIB, MIB, folder_of
from perfkit.reports.format import size
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.035, critical_share=0.20)  # CheckFreq; XProf
_STRIPES = 4  # Lustre wiki, one client
_BY_RANK = "checkpoint.save"
"""torch.distributed.checkpoint: each rank writes its own files."""
Found = tuple[float, str, Remedy] | None


def check(diagnosis: Diagnosis) -> Advice | None:
    """The time checkpoints hold a step that other storage could return."""
    run = diagnosis.run
    written = run.checkpoints if run else None
    if run is None or written is None or written.blocking_us_per_step is None:
        return None
    places = [p for p in run.file_systems if p.role == "checkpoint"]
    found = next((f for p in places if (f := _fault(p, written))), None)
    if found is None:
        return None
    part, said, remedy = found
    cost = part * min(written.blocking_us_per_step, diagnosis.steps.mean_us)
    return Advice(
        title=f"{said}: other storage may return {of_step(diagnosis, cost)}",
        cause=Cause.CHECKPOINT,
        cost_us=cost,
        limits=LIMITS,
        evidence=[_rate(written)],
        remedy=remedy,
        places=[],
    )


def _fault(place: FileSystemFacts, written: CheckpointFacts) -> Found:
    if place.family == "lustre":
        return _one_ost(place, written)
    return _mounted(place) if place.family == "nfs" else None


def _one_ost(place: FileSystemFacts, written: CheckpointFacts) -> Found:
    length, layout = written.bytes_mean or 0.0, place.layout or {}
    by_rank = any(_BY_RANK in call for call in written.calls)
    if by_rank or length < GIB or stripe_count_at(layout, int(length)) != 1:
        return None
    return (
        1 - 1 / _STRIPES,
        f"Checkpoints of {size(length)} go to one OST",
        Remedy(
            text=(
                f"Stripe the folder over {_STRIPES} OSTs, for checkpoints to come; it costs "
                "nothing. The site's policy comes first."
            ),
            snippet=f"lfs setstripe -c {_STRIPES} -S 4M {folder_of(place)}",
            applies_to="Lustre",
        ),
    )


def _mounted(place: FileSystemFacts) -> Found:
    wsize = next((o[6:] for o in place.options if o.startswith("wsize=")), "")
    small = wsize.isdigit() and int(wsize) < MIB
    if "sync" not in place.options and not small:
        return None
    option = "sync" if "sync" in place.options else f"wsize={wsize}"
    return (
        1.0 if option == "sync" else 1 - int(wsize) / MIB,
        f"Checkpoints go to an NFS mount with {option}",
        Remedy(
            text=f"Mount {place.source} anew without it; or write to a local disk and copy later.",
            snippet=f"{place.source} {place.mount} nfs rw,async,wsize=1048576,nconnect=8 0 0",
            applies_to="Linux NFS client",
        ),
    )


def _rate(written: CheckpointFacts) -> Evidence:
    rate = f" at {size(written.bytes_per_s)}/s" if written.bytes_per_s else ""
    said = f"{written.count} checkpoints of {size(written.bytes_mean)} each were written{rate}"
    return fact(said, written.bytes_per_s, "B/s")
