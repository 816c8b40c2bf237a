"""The host stands still until a collective is over, and the GPU pays for it afterwards.

What it detects
    Idle GPU time after calls that held the host while the GPU did nothing but communicate. The
    rest of the time behind synchronizing calls is the finding host-sync-in-step.

Why it costs
    A collective ends when the last rank has come. A host that waits for it launches nothing
    meanwhile, so this rank starts late, and the others then wait for it.

What to do
    `work.wait()` orders streams and returns at once; what blocks is reading the result
    (`.item()`, `.tolist()`, `.cpu()`), `barrier()`, `torch.cuda.synchronize()`, and the variable
    TORCH_NCCL_BLOCKING_WAIT. Reduce metrics rarely and read them a step later; exchange sizes
    ahead of need, a batch earlier.

When not to
    A wait that the next computation needs (sizes of an uneven all-to-all) cannot go, only move.
    If another rank is late, find out what that rank waits for first.

References
    https://docs.pytorch.org/docs/stable/distributed.html (synchronous and asynchronous
    collective operations)
    https://docs.pytorch.org/docs/stable/torch_nccl_environment_variables.html
    https://docs.pytorch.org/torchrec/ (TrainPipelineSparseDist)
"""

from __future__ import annotations

import re

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Place, Remedy
from perfkit.reports.advice._communication import collective_wait_us
from perfkit.reports.advice.host_sync_in_step import of_operator
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step, place_facts, places_of

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for other waits of the host
_MOST_OF_ALL = 0.9
_SPARSE = re.compile(r"KJT|sparse_data_dist|Embedding", re.IGNORECASE)
_REMEDY = Remedy(
    text=(
        "Do not read a collective's result in the step that starts it: reduce metrics every N "
        "steps, read them a step later, and take barrier() and torch.cuda.synchronize() out of "
        "the loop; TORCH_NCCL_BLOCKING_WAIT must not be set."
    ),
    snippet=(
        "work = dist.all_reduce(metric, async_op=True)  # metric stays on the GPU\n"
        "...                                            # the next step\n"
        "work.wait(); value = metric.item()             # ready by now"
    ),
    applies_to="torch.distributed",
)
_PIPELINE = Remedy(
    text=(
        "The sizes of an exchange of sparse features are read before their values are sent: do "
        "that for the next batch while this one computes."
    ),
    snippet="pipeline = TrainPipelineSparseDist(model, optimizer, device)  # torchrec",
    applies_to="TorchRec",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time charged to waits for collectives."""
    waits = diagnosis.collective_facts.waits if diagnosis.collective_facts else None
    if waits is None:
        return None
    cost, synced = collective_wait_us(diagnosis), idle_us(diagnosis, Cause.SYNC)
    places = places_of(diagnosis, Cause.SYNC)
    return Advice(
        title=(
            f"The GPU idles {of_step(diagnosis, cost)} because the host had waited for collectives"
        ),
        cause=Cause.SYNC,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"{', '.join(waits.names)}: {count(waits.count_per_step)} waits per step hold the "
                 f"host {time_us(waits.held_us)} while the GPU only communicates",
                 waits.held_us, "us/step"),
            *place_facts(places),
        ],
        remedy=_remedy(places),
        places=places,
        fix="sync" if cost > _MOST_OF_ALL * synced else None,
    )  # fmt: skip


def _remedy(places: list[Place]) -> Remedy:
    """For the costliest place where it is known: what waits there, waits for the collective too."""
    if any(_SPARSE.search(place.name) for place in places):
        return _PIPELINE
    own = of_operator(places[0].name) if places else None
    if own is None:
        return _REMEDY
    return Remedy(
        text=f"{own} What it waits for here is a collective: compare the ranks' times in it, too.",
        applies_to="PyTorch",
    )
