"""The training thread is ready to run and has no core.

What it detects
    Time that the training thread spent in the scheduler's queue, as Linux counts it
    (/proc/self/schedstat), over the run. It stretches whatever the thread was doing: operators,
    launches, Python, loading. Where the run's own settings start more threads than there are
    cores (operator threads and loader workers, of all ranks that share them), it says so.

Why it costs
    Other processes or threads hold the cores: another job on the node, more loader workers and
    operator threads than cores, or a container's CPU limit. On a GPU, launches come late.

What to do
    Ask for more cores (--cpus-per-task), keep loader workers plus operator threads within the
    cores the job has (torch.set_num_threads, OMP_NUM_THREADS: cores by ranks, less the workers),
    bind ranks to cores of their own on a shared node, and look for other processes.

When not to
    Where the training thread waits for the GPU most of the time, a delayed wake-up costs little:
    the cost here is never more than the device's idle time.

References
    https://docs.kernel.org/scheduler/sched-stats.html (run delay)
    https://github.com/pytorch/pytorch/issues/22260 (cores by ranks; torchrun sets 1 thread instead)
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (threads and binding);
    XProf calls 5 % of the step lost on the host's side moderate and 20 % high.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import HostFacts, LoaderFacts
from perfkit.reports.advice._threads import fitting_threads, is_crowded, thread_facts
from perfkit.reports.format import count, plural, share
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step, share_of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_INFORM = Limits(warning_share=2.0, critical_share=2.0)  # of the step: never
_CAUSE = "contention"
_TOLD_ALREADY = (Cause.DATALOADER, Cause.GC, Cause.CHECKPOINT)
"""Stretched as well, but other rules tell of that time in whole."""


def check(diagnosis: Diagnosis) -> Advice | None:
    """The share of the time without a core, of the part of the step that no other rule tells of."""
    host = diagnosis.run.cpu if diagnosis.run else None
    if host is None or host.run_delay_share is None:
        return None
    told = idle_us(diagnosis, *_TOLD_ALREADY)
    cost = host.run_delay_share * max(diagnosis.steps.mean_us - told, 0.0)
    if diagnosis.device.kind != "cpu":
        cost = min(cost, diagnosis.breakdown_us.idle)
    crowd = _own_workers(diagnosis, host)
    return Advice(
        title=f"The training thread is ready but has no core {of_step(diagnosis, cost)}",
        cause=_CAUSE,
        cost_us=cost,
        limits=_INFORM if crowd and _told_as_input(diagnosis) else LIMITS,
        evidence=[*_facts(host, crowd), *thread_facts(diagnosis)],
        remedy=_fewer_threads(diagnosis) if is_crowded(diagnosis) else _remedy(host, crowd),
        places=[],
    )


def _own_workers(diagnosis: Diagnosis, host: HostFacts) -> LoaderFacts | None:
    """The loader whose workers compute on all the cores there are."""
    loaders = diagnosis.run.loaders if diagnosis.run else []
    cores = host.cores or 0
    return next(
        (x for x in loaders if x.bound == "cpu" and (x.num_workers or 0) >= cores > 0), None
    )


def _told_as_input(diagnosis: Diagnosis) -> bool:
    """Whether dataloader-starvation warns of the same workers."""
    waits = share_of_step(diagnosis, idle_us(diagnosis, Cause.DATALOADER))
    return waits >= LIMITS.warning_share


def _facts(host: HostFacts, crowd: LoaderFacts | None) -> list[Evidence]:
    waited = share(host.run_delay_share)
    found = [fact(f"{waited} of the time in the queue for a core", host.run_delay_share, "share")]
    machine = host.machine_cores or host.cores
    if host.load is not None and machine:
        said = f"{count(host.load)} tasks want to run on the machine's {plural(machine, 'core')}"
        found.append(fact(said, host.load / machine, "tasks/core"))
    if host.involuntary_switches_per_s is not None:
        rate = host.involuntary_switches_per_s
        said = f"it is taken off its core {count(rate)} times a second"
        found.append(fact(said, rate, "1/s"))
    if crowd is not None:
        workers = plural(crowd.num_workers or 0, "worker")
        found.append(fact(f"{workers} of the loader compute on the same cores"))
    return found


def _fewer_threads(diagnosis: Diagnosis) -> Remedy:
    fitting = fitting_threads(diagnosis) or 1
    return Remedy(
        text=(
            "The run itself starts more threads than it has cores: let an operator use no more "
            f"than {plural(fitting, 'thread')} in each rank."
        ),
        snippet=f"export OMP_NUM_THREADS={fitting}   # or torch.set_num_threads({fitting})",
        applies_to="PyTorch",
    )


def _remedy(host: HostFacts, crowd: LoaderFacts | None) -> Remedy:
    cores = f" ({plural(host.cores, 'core')})" if host.cores else ""
    if crowd is not None:
        return Remedy(
            text=(
                f"The loader's own workers fill the cores{cores}: give the job more cores, or make "
                "batches cheaper (__getitem__, transforms) and use fewer workers."
            )
        )
    return Remedy(
        text=(
            f"Other work holds the cores of this process{cores}: give the job cores of its own, "
            "keep loader workers plus operator threads within them, and look for other processes."
        ),
        snippet="torch.set_num_threads(cores - num_workers)  # or OMP_NUM_THREADS",
        applies_to="PyTorch",
    )
