"""Workers copy the dataset's Python objects, and memory may run out.

What it detects
    Workers started by fork whose private memory grows while their memory as a whole does not:
    pages that they shared with the training process become their own, copy by copy. It is a
    warning where all of what they still share, copied by every worker, exceeds the job's memory.

Why it costs
    Reading a Python object changes its reference count, and that writes to its page. A list of
    millions of paths or dictionaries is copied in time by each worker, until the job is killed.
    It costs no time of a step before that.

What to do
    Keep large tables in arrays without Python objects: NumPy (strings of fixed width, or bytes and
    offsets), torch tensors, Arrow (datasets, pandas with pyarrow), or a file that is mapped into
    memory. Fewer workers need fewer copies.

When not to
    A table of a few hundred MB that is copied once does no harm. Memory that grows as a whole is
    a leak or a cache of the dataset, which this is not.

References
    https://github.com/pytorch/pytorch/issues/13246 (what happens, and ways out)
    https://docs.pytorch.org/docs/stable/data.html (multi-process data loading, the warning)
    https://docs.kernel.org/filesystems/proc.html (smaps: shared and private pages)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.model.worker_facts import WorkerFacts
from perfkit.reports.advice._loader import main_loader
from perfkit.reports.format import plural, size
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=2.0, critical_share=2.0)  # no time of a step is lost
_LEAST_GROWTH_BYTES = 64 << 20  # a worker's own imports and buffers are smaller
_SHARED_BEFORE = 0.5
"""Of the growth in private memory, at least: the rest may be new memory."""
_SNIPPET = (
    "paths = np.array(paths, dtype=np.bytes_)      # one block of memory, not a list of objects\n"
    "labels = torch.tensor(labels)\n"
    "def __getitem__(self, i):\n"
    "    return load(self.paths[i].decode()), self.labels[i]"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Memory that was shared and is copied; without a time, since it costs none."""
    loader = main_loader(diagnosis)
    found = loader.workers if loader else None
    if loader is None or found is None or loader.start_method != "fork" or not _copies(found):
        return None
    growth, worst = found.private_growth_bytes or 0.0, _worst_bytes(loader, found)
    runs_out = found.memory_bytes is not None and worst > found.memory_bytes
    return Advice(
        title=f"Workers copy memory that they share, {size(growth)} each so far",
        cause="memory",
        cost_us=0.0,
        limits=LIMITS,
        evidence=_facts(loader, found, worst),
        remedy=Remedy(
            text=(
                "Keep the dataset's lists and dictionaries in NumPy arrays, tensors or Arrow "
                "tables, which reading does not write to."
            ),
            snippet=_SNIPPET,
            applies_to="map-style datasets, workers started by fork",
        ),
        places=[],
        severity="warning" if runs_out else None,
    )


def _copies(found: WorkerFacts) -> bool:
    private, whole = found.private_growth_bytes, found.anonymous_growth_bytes
    if private is None or whole is None or private < _LEAST_GROWTH_BYTES:
        return False
    return private - max(whole, 0.0) >= _SHARED_BEFORE * private


def _worst_bytes(loader: LoaderFacts, found: WorkerFacts) -> float:
    """Where every worker of this rank has a copy of all it shares, beside the original."""
    return (found.anonymous_bytes or 0.0) * (1 + (loader.num_workers or 0))


def _facts(loader: LoaderFacts, found: WorkerFacts, worst: float) -> list[Evidence]:
    workers = plural(loader.num_workers or 0, "worker")
    whole = max(found.anonymous_growth_bytes or 0.0, 0.0)
    limit = f"; the job has {size(found.memory_bytes)}" if found.memory_bytes else ""
    return [
        fact(
            f"a worker's private memory grew by {size(found.private_growth_bytes)} to "
            f"{size(found.private_bytes)}, its memory as a whole by {size(whole)} to "
            f"{size(found.anonymous_bytes)}",
            found.private_growth_bytes,
            "B",
        ),
        fact(f"{workers} with a copy of all of it need {size(worst)}{limit}", worst, "B"),
    ]
