"""The training waits for the batch in turn while other batches stand ready.

What it detects
    Waits for data in which batches stood ready as one was asked for, and others than the one that
    came were left over: the batch in turn was late. It can only be where the longest batch takes
    more time than the queue lasts. Charged is the share of such waits, less what taking over a
    batch takes, of the idle time that the loader causes. Where one worker is slower than the rest,
    worker-imbalance tells of it.

Why it costs
    A DataLoader gives batches in the order of their indices. One slow sample (a long video, a
    large image, a file on a busy server) holds back everything that the other workers have done.

What to do
    `in_order=False` gives batches as they are finished, and gives new work to workers that are
    free. Or make batches alike: cap sizes, sort by length, split long samples; or let a deeper
    queue (prefetch_factor) ride over it, for the memory of the batches in it.

When not to
    With in_order=False the order changes from run to run, and short samples tend to come first:
    mind it for exact reproduction, curricula and evaluation that counts on the order.

References
    https://docs.pytorch.org/docs/stable/data.html (in_order, since torch 2.6)
    https://github.com/pytorch/pytorch/pull/141833 and
    https://github.com/pytorch/pytorch/pull/142324 (why and how it was added)
    XProf calls 5 % of the step waiting for input moderate and 20 % high.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.reports.advice._loader import main_loader, outlasts_queue, spike_prefetch
from perfkit.reports.format import plural, share, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_FEWEST_WORKERS = 2


def check(diagnosis: Diagnosis) -> Advice | None:
    """The part of the loader's idle time in which other batches stood ready."""
    loader = main_loader(diagnosis)
    if loader is None or not loader.out_of_turn_share or loader.in_order is False:
        return None
    if loader.longest_make_us is None:  # nobody saw the workers: taking over may take as long
        return None
    one_is_slow = loader.workers is not None and loader.workers.slowest is not None
    if (loader.num_workers or 0) < _FEWEST_WORKERS or one_is_slow or not outlasts_queue(loader):
        return None
    cost = idle_us(diagnosis, Cause.DATALOADER) * loader.out_of_turn_share
    where = of_step(diagnosis, cost)
    return Advice(
        title=f"Batches stand ready while the one in turn is late, for {where}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(
                f"in {share(loader.out_of_turn_share)} of the waiting, other batches were there",
                loader.out_of_turn_share,
                "share",
            ),
            fact(
                f"a batch takes {time_us(loader.make_us)} to make, the longest one "
                f"{time_us(loader.longest_make_us)}, by {plural(loader.num_workers or 0, 'worker')}"
            ),
        ],
        remedy=_remedy(loader),
        places=[],
    )


def _remedy(loader: LoaderFacts) -> Remedy:
    deeper = spike_prefetch(loader)
    queue = f" prefetch_factor={deeper} would ride over the longest." if deeper else ""
    return Remedy(
        text=(
            "Take batches as they are finished, where their order does not matter; else make "
            f"samples alike (cap, sort or split the long ones).{queue}"
        ),
        snippet="DataLoader(dataset, ..., in_order=False)",
        applies_to="torch >= 2.6",
    )
