"""One DataLoader worker is slower than the others, or some have no work at all.

What it detects
    Waiting for data, where one worker's batches take longer than the others' by more than chance
    (four standard errors, at least eight batches each), or where workers of an iterable dataset
    made no batch, and where the steps would take batches faster than the slowest hands its own
    over. Charged is what an even share of the work would return.

Why it costs
    Batches are handed over in turn: every worker has every n-th one, so the slowest sets the
    pace of all. Shards that are fewer than ranks times workers leave workers with nothing, and
    the rest with everything.

What to do
    Deal the work by its size, not by its number: more and smaller shards, at least one for each
    worker of each rank and better several; lists sorted by length dealt in turn; one worker's
    folder or file no longer than the others'. `in_order=False` (torch 2.6) lets fast workers go on.

When not to
    A worker that shares its core with something else is slow on no data of its own: see
    cpu-contention. in_order=False changes the order of batches from run to run.

References
    https://docs.pytorch.org/docs/stable/data.html (batches in turn, in_order)
    https://nvidia.github.io/Megatron-Energon/basics_dataconcepts.html (many more shards than
    workers); https://webdataset.github.io/webdataset/multinode/ (shards dealt to workers)
    XProf calls 5 % of the step waiting for input moderate and 20 % high.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.model.worker_facts import WorkerFacts
from perfkit.reports.advice._loader import batches_per_step, main_loader
from perfkit.reports.format import plural, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_TORCH = "torch.utils.data.DataLoader"


def check(diagnosis: Diagnosis) -> Advice | None:
    """What even work would return, of the idle time the loader causes."""
    loader = main_loader(diagnosis)
    found = loader.workers if loader else None
    if loader is None or found is None or not loader.num_workers:
        return None
    if loader.kind == "iterable" and found.made < loader.num_workers:
        return _without_work(diagnosis, loader, found)
    return _slow(diagnosis, loader, found)


def _cost(diagnosis: Diagnosis, loader: LoaderFacts, now_us: float, even_us: float) -> float:
    """Where a batch comes every `now_us`, and would every `even_us`; the steps take no more."""
    use = loader.use_us or 0.0
    saved = max(now_us, use) - max(even_us, use)
    return min(saved * batches_per_step(diagnosis, loader), idle_us(diagnosis, Cause.DATALOADER))


def _without_work(diagnosis: Diagnosis, loader: LoaderFacts, found: WorkerFacts) -> Advice:
    """All batches come from `made` of the workers."""
    workers, make = loader.num_workers or 1, loader.make_us or 0.0
    cost = _cost(diagnosis, loader, make / max(found.made, 1), make / workers)
    idle = workers - found.made
    return Advice(
        title=f"{idle} of {plural(workers, 'worker')} have no data, which costs up to "
        f"{of_step(diagnosis, cost)}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[fact(f"{plural(found.made, 'worker')} made all batches", found.made, "workers")],
        remedy=Remedy(
            text=(
                f"Write more and smaller shards: each of the {workers} workers of each rank needs "
                f"one of its own, better several. Until then num_workers={found.made} is enough."
            ),
            snippet="webdataset.ShardWriter('train-%06d.tar', maxsize=smaller)",
            applies_to="IterableDataset, shards dealt to workers",
        ),
        places=[],
    )


def _slow(diagnosis: Diagnosis, loader: LoaderFacts, found: WorkerFacts) -> Advice | None:
    slow, others = found.slowest_make_us, found.others_make_us
    if found.slowest is None or slow is None or others is None:
        return None
    workers = loader.num_workers or 1
    even = (slow + (workers - 1) * others) / workers
    cost = _cost(diagnosis, loader, slow / workers, even / workers)
    return Advice(
        title=f"Worker {found.slowest} of the loader is slower than the others, which costs up to "
        f"{of_step(diagnosis, cost)}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"its batches take {time_us(slow)}, those of others {time_us(others)}", slow, "us")
        ],
        remedy=Remedy(
            text=(
                "Deal the work by its size: smaller shards, long and short samples mixed, no "
                "worker with a file of its own; where the order of batches does not matter, "
                "in_order=False lets the others go on meanwhile."
            ),
            snippet="DataLoader(dataset, ..., in_order=False)   # torch >= 2.6",
            applies_to=_TORCH,
        ),
        places=[],
    )
