"""The GPU waits for the next batch.

What it detects
    Idle GPU time whose next operation could not be launched because the launching thread was
    inside the DataLoader's `__next__`. A slow loader that prefetching hides costs nothing and
    is not named. The records of a run add what holds the loader up: processor time, files,
    collation, workers that start anew, or a cache that was cold.

Why it costs
    While the training process waits for data it launches nothing, and the GPU runs dry.

What to do
    With num_workers=0 fetching, decoding and collating run in the training process itself: give
    them worker processes. With workers, they are too slow in sum: more of them (up to the cores
    the job has), cheaper transforms, faster storage, or a larger prefetch_factor when only some
    batches are slow.

When not to
    The first batch of an epoch includes starting the workers; persistent_workers=True keeps
    them. More workers than cores make it worse. A loader limited by storage does not gain from
    workers alone.

References
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (num_workers, pin_memory);
    XProf calls 5 % of the step waiting for input moderately and 20 % highly input-bound.
"""

from __future__ import annotations

import math

import msgspec

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.reports.advice._decoding import cost_of_a_sample, decoding_hint
from perfkit.reports.advice._loader import (
    bound_text,
    hands_over,
    loader_facts,
    loader_remedy,
    main_loader,
    wait_fact,
)
from perfkit.reports.advice._serving import serves
from perfkit.reports.advice._threads import one_thread_hint
from perfkit.reports.format import time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_HANDED_OVER = Limits(warning_share=LIMITS.critical_share, critical_share=math.inf)
"""Where batches stand ready: taking one over costs a small step much, and no worker helps."""


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time the GPU waited for batches."""
    cost = idle_us(diagnosis, Cause.DATALOADER)
    if not cost and serves(diagnosis):
        return None
    places, loader = places_of(diagnosis, Cause.DATALOADER), main_loader(diagnosis)
    return Advice(
        title=_title(diagnosis, loader, of_step(diagnosis, cost)),
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=_HANDED_OVER if hands_over(loader) else LIMITS,
        evidence=[
            *(loader_facts(loader) if loader else []),
            *cost_of_a_sample(loader),
            *place_facts(places),
            *_spread(diagnosis),
            *wait_fact(diagnosis),
        ],
        remedy=_remedy(diagnosis, loader),
        places=places,
        fix="dataloader",
    )


def _title(diagnosis: Diagnosis, loader: LoaderFacts | None, cost: str) -> str:
    device = "GPU" if diagnosis.device.kind == "gpu" else "training process"
    bound = bound_text(loader) if loader else None
    what = f"the loader is {bound}" if bound else None
    return f"The {device} waits {cost} for the next batch" + (f": {what}" if what else "")


def _spread(diagnosis: Diagnosis) -> list[Evidence]:
    waits = [r.idle_us.get(Cause.DATALOADER.value, 0.0) for r in diagnosis.step_rows if r.counted]
    if len(waits) < 2:
        return []
    low, high = time_us(min(waits)), time_us(max(waits))
    return [
        fact(f"the wait is {low} in the fastest and {high} in the slowest of {len(waits)} steps")
    ]


def _remedy(diagnosis: Diagnosis, facts: LoaderFacts | None) -> Remedy:
    measured = loader_remedy(facts, diagnosis.device.kind == "gpu") if facts else None
    if measured is None:
        return _by_name(diagnosis.framework.data_loader)
    hint = decoding_hint(diagnosis, facts) + (one_thread_hint(diagnosis, facts) if facts else "")
    return msgspec.structs.replace(measured, text=measured.text + hint)


def _by_name(loader: str | None) -> Remedy:
    if loader and "SingleProcess" in loader:
        return Remedy(
            text="Batches are made in the training process (num_workers=0): let workers make them.",
            snippet=(
                "DataLoader(dataset, batch_size=..., num_workers=8, pin_memory=True,\n"
                "           persistent_workers=True, prefetch_factor=4)"
            ),
            applies_to="torch.utils.data.DataLoader",
        )
    if loader and "MultiProcessing" in loader:
        return Remedy(
            text=(
                "The next batch comes late from the workers: give the loader more workers (up to "
                "the job's cores), or make __getitem__ and collate_fn cheaper; a run recorded with "
                "perfkit tells which."
            ),
            snippet="DataLoader(dataset, ..., num_workers=2 * now, prefetch_factor=4)",
            applies_to="torch.utils.data.DataLoader",
        )
    return Remedy(text="Prepare batches ahead in other processes, so that the next one is ready.")
