"""DataLoader workers run more threads than there are cores.

What it detects
    Waiting for data, where each worker keeps more than one core busy (its libraries run threads
    of their own), all workers together want more cores than the job has, and the threads that
    make batches are ready to run without a core for a part of the time. Charged is that part of
    the loader's idle time.

Why it costs
    OpenCV, NumPy's BLAS, OpenMP and decoders start a thread for each core of the machine, in each
    worker. Eight workers on sixteen cores are then 128 threads that take turns, wait for one
    another at every barrier, and evict each other's caches.

What to do
    One thread a worker: cv2.setNumThreads(0), torch.set_num_threads(1) (the default in a worker),
    and OMP_NUM_THREADS, MKL_NUM_THREADS, OPENBLAS_NUM_THREADS=1 before the workers start. Use
    processes, not threads, for throughput.

When not to
    Few workers on many cores may well use threads. Where something else than the loader fills the
    cores, see cpu-contention.

References
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (threads, num_workers)
    https://docs.pytorch.org/docs/stable/data.html (a worker runs one intra-operator thread)
    https://docs.kernel.org/scheduler/sched-stats.html (run delay); XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.model.worker_facts import WorkerFacts
from perfkit.reports.advice._loader import main_loader
from perfkit.reports.format import count, plural, share
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_MORE_THAN_ONE = 1.5
"""Cores: between one thread with the worker's own small ones beside it, and two."""
_SNIPPET = (
    "def one_thread(worker):\n"
    "    import cv2, torch\n"
    "    cv2.setNumThreads(0); torch.set_num_threads(1)\n\n"
    "DataLoader(dataset, ..., worker_init_fn=one_thread)   # and export OMP_NUM_THREADS=1"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """The loader's idle time, as far as its workers' threads have no core."""
    loader = main_loader(diagnosis)
    found = loader.workers if loader else None
    if loader is None or found is None or found.cores_used is None or not found.delay_share:
        return None
    wanted = found.made * found.cores_used
    if found.cores_used < _MORE_THAN_ONE or not loader.cores or wanted <= loader.cores:
        return None
    cost = idle_us(diagnosis, Cause.DATALOADER) * min(found.delay_share, 1.0)
    return Advice(
        title=f"Threads of the loader's workers crowd the cores, for {of_step(diagnosis, cost)}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=_facts(loader, found),
        remedy=Remedy(
            text=(
                "Give each worker one thread: turn off those of OpenCV and of OpenMP and BLAS "
                "libraries in the workers, and set the variables before they start."
            ),
            snippet=_SNIPPET,
            applies_to="torch.utils.data.DataLoader",
        ),
        places=[],
    )


def _facts(loader: LoaderFacts, found: WorkerFacts) -> list[Evidence]:
    used, delay = found.cores_used or 0.0, found.delay_share or 0.0
    evidence = [
        fact(
            f"{plural(found.made, 'worker')} want {count(used)} cores each, of "
            f"{plural(loader.cores or 0, 'core')} in all",
            used,
            "cores/worker",
        ),
        fact(f"they are ready but have no core {share(delay)} of the time", delay, "share"),
    ]
    if found.threads is not None:
        said = f"a worker has {count(found.threads)} threads"
        if found.torch_threads:
            said += f"; one operator of torch may use {found.torch_threads}"
        evidence.append(fact(said, found.threads, "threads"))
    return evidence
