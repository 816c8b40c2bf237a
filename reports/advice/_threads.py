"""How many threads a run starts by its own settings, and how many its cores allow."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.model.run_facts import LoaderFacts
from perfkit.reports.format import count, plural
from perfkit.reports.rule import fact

_MORE_THAN_ONE = 1.5
"""Cores that the training process keeps busy: between one thread, with small ones, and two."""


def ranks_on(diagnosis: Diagnosis) -> int:
    """Ranks that share the cores of this process: all of its machine where it is not bound."""
    setup = diagnosis.setup
    if setup is None or setup.cores is None or setup.cores != setup.machine_cores:
        return 1
    return setup.local_ranks or 1


def workers(diagnosis: Diagnosis) -> int:
    """Processes of this rank's loaders."""
    return sum(x.num_workers or 0 for x in (diagnosis.run.loaders if diagnosis.run else []))


def is_crowded(diagnosis: Diagnosis) -> bool:
    """Whether operators run on more threads than the cores leave for them."""
    setup, fitting = diagnosis.setup, fitting_threads(diagnosis)
    host = diagnosis.run.cpu if diagnosis.run else None
    if setup is None or host is None or (host.cpu_cores_used or 0.0) < _MORE_THAN_ONE:
        return False
    return bool(setup.threads and fitting and setup.threads > fitting)


def fitting_threads(diagnosis: Diagnosis) -> int | None:
    """Threads an operator of one rank can have, so that all find a core; None without a number."""
    cores = diagnosis.setup.cores if diagnosis.setup else None
    return max(cores // ranks_on(diagnosis) - workers(diagnosis), 1) if cores else None


def thread_facts(diagnosis: Diagnosis) -> list[Evidence]:
    """What wants to run at once, where that is more than there are cores."""
    setup, ranks, loading = diagnosis.setup, ranks_on(diagnosis), workers(diagnosis)
    if setup is None or not setup.threads or not setup.cores or not is_crowded(diagnosis):
        return []
    wanted = ranks * (setup.threads + loading)
    beside = f" beside {plural(loading, 'loader worker')}" if loading else ""
    each = f", in each of {count(ranks)} ranks" if ranks > 1 else ""
    text = (
        f"an operator may run on {plural(setup.threads, 'thread')}{beside}{each}: "
        f"{count(wanted)} in all for {plural(setup.cores, 'core')}"
    )
    return [fact(text, wanted / setup.cores, "threads/core")]


def one_thread_hint(diagnosis: Diagnosis, loader: LoaderFacts) -> str:
    """What to set where one thread makes batches in the training process though cores are free."""
    setup, fitting = diagnosis.setup, fitting_threads(diagnosis)
    makes_here = loader.num_workers == 0 and loader.bound in ("cpu", "collate")
    if setup is None or setup.threads != 1 or not makes_here or (fitting or 0) < 2:
        return ""
    by = " (OMP_NUM_THREADS=1, as torchrun sets it unless told)"
    why = by if setup.variables.get("OMP_NUM_THREADS") == "1" else ""
    return (
        f" Its operators run on one thread{why}: while batches are made there, up to "
        f"OMP_NUM_THREADS={fitting} let tensor work use more cores."
    )
