"""What a run's records add to the advice on its DataLoader: numbers, and where they point."""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import LoaderFacts
from perfkit.reports.format import count, plural, share, size, time_us
from perfkit.reports.rule import fact

_KEEPS_UP = 0.5  # batches are delivered in this part of the time that a step takes for one
_COMFORTABLY = 0.8
_STANDS_READY = 1.0
_MOST_OF_IT = 0.5
_HANDOVER_US = 2000.0  # a batch through a queue and shared memory; 1 to 2 ms of small tensors
_PREFETCH = 2  # torch's own, where workers are
_DEEPEST = 16  # batches a worker: beyond it the queue costs more memory than it saves time
_TORCH = "torch.utils.data.DataLoader"
_BOUND = {
    "cpu": "CPU-bound",
    "io": "I/O-bound",
    "waiting": "waiting for something else than files",
    "collate": "collate-bound",
    "worker start-up": "held up by workers that start anew",
    "cold cache": "reading from a cold cache",
}


def main_loader(diagnosis: Diagnosis) -> LoaderFacts | None:
    """The loader that the run waited for most."""
    found = diagnosis.run.loaders if diagnosis.run else []
    return max(found, key=lambda loader: loader.wait_share or 0.0, default=None)


def bound_text(loader: LoaderFacts) -> str | None:
    """Such as "CPU-bound"; None where nothing binds it."""
    return _BOUND[loader.bound] if loader.bound else None


def hands_over(loader: LoaderFacts | None) -> bool:
    """Whether batches stand ready in time, so that the wait is for taking one over."""
    if loader is None or not loader.num_workers:
        return False
    if (loader.out_of_turn_share or 0.0) >= _MOST_OF_IT:  # the one in turn does not stand ready
        return False
    in_time = (loader.deliver_us or 0.0) <= _KEEPS_UP * (loader.use_us or 0.0)
    return in_time and (loader.ready or 0.0) >= _STANDS_READY


def batches_per_step(diagnosis: Diagnosis, loader: LoaderFacts) -> float:
    """Batches of this loader that a step takes, on average; one where that is not known."""
    steps = diagnosis.run.steps if diagnosis.run else None
    return loader.batches / steps.total if steps and steps.total and loader.batches else 1.0


def outlasts_queue(loader: LoaderFacts) -> bool:
    """Whether the longest batch can be late: it was asked for a queue's length before its turn.

    Its worker has first to make what it was asked for before. True where that is not known.
    """
    longest, use, workers = loader.longest_make_us, loader.use_us, loader.num_workers
    if longest is None or use is None or not workers:
        return True
    depth = loader.prefetch_factor or _PREFETCH
    return longest + (depth - 1) * (loader.make_us or 0.0) > depth * workers * use


def spike_prefetch(loader: LoaderFacts) -> int | None:
    """The prefetch_factor whose queue lasts while the longest batch is made.

    None where that is no more than usual, or so many batches that a queue is no answer.
    """
    longest, use, workers = loader.longest_make_us, loader.use_us, loader.num_workers
    if not longest or not use or not workers:
        return None
    wanted = math.ceil(longest / use / workers) + 1
    return wanted if (loader.prefetch_factor or _PREFETCH) < wanted <= _DEEPEST else None


def loader_facts(loader: LoaderFacts) -> list[Evidence]:
    """What the records say of this loader, first what binds it."""
    return [
        *([fact(loader.reason)] if loader.reason else []),
        *_pace(loader),
        *_reads(loader),
    ]


def _pace(loader: LoaderFacts) -> list[Evidence]:
    if loader.make_us is None or loader.deliver_us is None:
        return _of_unseen_workers(loader)
    who = plural(loader.num_workers, "worker") if loader.num_workers else "the training process"
    collated = f", {time_us(loader.collate_us)} of it collating" if loader.collate_us else ""
    use = f"; the step could take one every {time_us(loader.use_us)}" if loader.use_us else ""
    ready = (
        f"; {count(loader.ready)} stood ready when asked for" if loader.ready is not None else ""
    )
    said = (
        f"over the run: a batch takes {time_us(loader.make_us)} to make{collated}; {who} can "
        f"deliver one every {time_us(loader.deliver_us)}{use}{ready}"
    )
    return [fact(said, loader.deliver_us, "us/batch")]


def _of_unseen_workers(loader: LoaderFacts) -> list[Evidence]:
    if not loader.num_workers or loader.ready is None:
        return []
    said = (
        f"{count(loader.ready)} stood ready when asked for; nothing is known of how "
        f"{plural(loader.num_workers, 'worker')} made them, as where they started before the run"
    )
    return [fact(said, loader.ready, "batches")]


def _reads(loader: LoaderFacts) -> list[Evidence]:
    if not loader.rchar_bytes:
        return []
    calls = f" in {count(loader.read_calls)} calls" if loader.read_calls else ""
    stored = (
        f", {size(loader.read_bytes)} of it from storage" if loader.read_bytes is not None else ""
    )
    return [
        fact(f"a batch reads {size(loader.rchar_bytes)}{calls}{stored}", loader.rchar_bytes, "B")
    ]


def loader_remedy(loader: LoaderFacts, on_gpu: bool) -> Remedy | None:
    """What the numbers point to; None where they point nowhere."""
    if hands_over(loader):
        return _take_over(on_gpu)
    if loader.bound == "worker start-up":
        return _keep_workers()
    if loader.bound == "cold cache":
        return _warm()
    if loader.make_us is None:
        return _look_first(loader) if loader.num_workers else None
    return _faster(loader) if loader.num_workers else _give_workers(loader, on_gpu)


def _look_first(loader: LoaderFacts) -> Remedy:
    return Remedy(
        text=(
            f"Nothing tells what holds {plural(loader.num_workers or 0, 'worker')} up, as where "
            "they started before the run: begin the run before the loop asks the loader for its "
            "first batch, and record again; more workers or cheaper batches are a guess until then."
        ),
        snippet="with perfkit.profile(...) as p:\n    for batch in p.steps(loader): ...",
        applies_to="perfkit",
    )


def _take_over(on_gpu: bool) -> Remedy:
    unpack = ", and let pin_memory's thread unpack them" if on_gpu else ""
    return Remedy(
        text=(
            "Batches stand ready in time, and the wait is for taking them over from the workers: "
            f"return fewer and larger tensors from collate_fn{unpack}."
        ),
        snippet="DataLoader(dataset, ..., pin_memory=True)" if on_gpu else None,
        applies_to=_TORCH,
    )


def _keep_workers() -> Remedy:
    return Remedy(
        text="Workers start anew for every pass over the data: keep them.",
        snippet="DataLoader(dataset, ..., persistent_workers=True)",
        applies_to=_TORCH,
    )


def _warm() -> Remedy:
    return Remedy(
        text=(
            "The first reads come from storage and later ones from memory: copy the data to a "
            "local disk before training, or read ahead into memory; judge speed only after that."
        ),
        snippet="find DATA -type f -print0 | xargs -0 -P 8 -n 64 cat > /dev/null",
        applies_to="file systems that Linux caches (not GPFS), data that fit into memory",
    )


def _wanted(loader: LoaderFacts, needed: int) -> int:
    """Workers that suffice, no more than there are cores, unless they need none to wait."""
    waits = loader.bound == "waiting"
    return min(needed, loader.cores) if loader.cores and not waits else needed


def _enough(loader: LoaderFacts, wanted: int, needed: int) -> str:
    if wanted < needed:
        return "is all the cores allow"
    beyond = loader.cores is not None and wanted > loader.cores
    return "would keep up" + beyond * (
        f" (they wait most of the time, so more than {plural(loader.cores or 0, 'core')} help, "
        "though PyTorch warns of it)"
    )


def _give_workers(loader: LoaderFacts, on_gpu: bool) -> Remedy:
    needed = loader.workers_needed or 1
    wanted, pinned = _wanted(loader, needed), " pin_memory=True," if on_gpu else ""
    enough = _enough(loader, wanted, needed)
    also = f", and {_cheaper(loader)}" if wanted < needed else ""
    quick = (loader.make_us or 0.0) < _HANDOVER_US
    yet = " Taking a batch over from a worker may take as long as making one here: measure both."
    return Remedy(
        text=(
            "Batches are made in the training process (num_workers=0): let workers make them; "
            f"num_workers={wanted} {enough}{also}.{yet * quick}"
        ),
        snippet=(
            f"DataLoader(dataset, batch_size=..., num_workers={wanted},{pinned}\n"
            "           persistent_workers=True)"
        ),
        applies_to=_TORCH,
    )


def _faster(loader: LoaderFacts) -> Remedy | None:
    """Workers exist: more of them where cores and numbers allow it, else cheaper batches."""
    now, needed = loader.num_workers or 0, loader.workers_needed
    if needed is None or not now:
        return None
    in_time = (loader.deliver_us or 0.0) <= _COMFORTABLY * (loader.use_us or 0.0)
    if in_time and loader.bound != "cpu":
        return _deeper(loader, now)
    if loader.cores is not None and now >= loader.cores:
        return _no_core_left(loader, now, loader.cores)
    return _deeper(loader, now) if in_time else _more_workers(loader, now, max(needed, now + 1))


def _no_core_left(loader: LoaderFacts, now: int, cores: int) -> Remedy:
    if loader.bound in ("io", "waiting"):
        what = "for files " if loader.bound == "io" else ""
        return Remedy(
            text=(
                f"{plural(now, 'worker')} wait {what}most of the time: {_cheaper(loader)}. "
                f"Workers beyond the {plural(cores, 'core')} still overlap such waits, though "
                "PyTorch warns of them."
            )
        )
    return Remedy(
        text=(
            f"More than {plural(now, 'worker')} on {plural(cores, 'core')} would not help: "
            f"{_cheaper(loader)}."
        )
    )


def _deeper(loader: LoaderFacts, now: int) -> Remedy:
    longest = f" (the longest takes {time_us(loader.longest_make_us)})" * bool(
        loader.longest_make_us
    )
    return Remedy(
        text=(
            f"{plural(now, 'worker')} keep up on average, so single batches are late{longest}: "
            "deepen the queue, which holds prefetch_factor batches a worker in memory, and look "
            "for samples or files that take much longer than the rest."
        ),
        snippet=f"DataLoader(dataset, ..., prefetch_factor={spike_prefetch(loader) or 8})",
        applies_to=_TORCH,
    )


def _more_workers(loader: LoaderFacts, now: int, needed: int) -> Remedy:
    wanted = _wanted(loader, needed)
    enough = _enough(loader, wanted, needed)
    return Remedy(
        text=(
            f"{plural(now, 'worker')} make batches too slowly for the step: num_workers={wanted} "
            f"{enough}; also {_cheaper(loader)}."
        ),
        snippet=f"DataLoader(dataset, ..., num_workers={wanted})",
        applies_to=_TORCH,
    )


def _cheaper(loader: LoaderFacts) -> str:
    if loader.bound == "collate":
        return "make collate_fn cheaper (stack whole arrays, pad less, leave it to the device)"
    if loader.bound == "io":
        return (
            "read less and in larger pieces: pack small files into shards, copy the data to a "
            "local disk, or decode from memory"
        )
    if loader.bound == "waiting":
        return (
            "find what __getitem__ waits for (a server, a lock, a sleep) and ask for more at once"
        )
    return "make __getitem__ cheaper (smaller images, faster decoding, augmentation on the device)"


def wait_fact(diagnosis: Diagnosis) -> list[Evidence]:
    """How long steps wait for data where no profiler runs."""
    steps = diagnosis.run.steps if diagnosis.run else None
    if steps is None or steps.unprofiled is None:
        return []
    found = steps.unprofiled
    said = (
        f"without the profiler, {plural(found.count, 'step')} waited {share(found.data_share)} of "
        f"their time for data, {time_us(found.data_mean_us)} each"
    )
    return [fact(said, found.data_share, "share")]
