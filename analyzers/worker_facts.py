"""The worker processes of a DataLoader: cores, threads and memory, and whether one is slower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from perfkit.analyzers.loader_bound import Batches, Floats, mean_of
from perfkit.model.capture import WorkerState
from perfkit.model.worker_facts import WorkerFacts

_FEWEST_BATCHES = 8
"""Of each worker: fewer do not tell a slow worker from a slow batch."""
_BEYOND_CHANCE = 4.0
"""Standard errors: the slowest of some dozen workers lies three above the rest by chance."""


def workers(batches: Batches, states: list[WorkerState]) -> WorkerFacts | None:
    """What the workers' batches and states say; None where the training process makes batches."""
    made = np.unique(batches.worker[batches.worker >= 0])
    if not len(made):
        return None
    steady = batches.steady
    return WorkerFacts(
        made=len(made),
        cores_used=share_of_making(steady, steady.process_cpu),
        delay_share=share_of_making(steady, steady.delay),
        torch_threads=max(_known(s.torch_threads for s in states), default=None),
        **_slowest(steady),
        **_states(states),
    )


def share_of_making(batches: Batches, spent: Floats) -> float | None:
    """What was spent while batches were made, over the time that took."""
    known = ~np.isnan(spent)
    total = float(batches.make[known].sum())
    return float(spent[known].sum()) / total if total > 0 else None


def _slowest(batches: Batches) -> dict[str, Any]:
    """The slowest worker against the rest, where they differ by more than chance."""
    times = [batches.make[batches.worker == w] for w in np.unique(batches.worker)]
    if len(times) < 2 or min(len(t) for t in times) < _FEWEST_BATCHES:
        return {}
    worst = max(range(len(times)), key=lambda i: float(times[i].mean()))
    slow, rest = times[worst], np.concatenate([t for i, t in enumerate(times) if i != worst])
    error = float(np.sqrt(slow.var(ddof=1) / len(slow) + rest.var(ddof=1) / len(rest)))
    if slow.mean() - rest.mean() <= _BEYOND_CHANCE * error:
        return {}
    return {
        "slowest": int(np.unique(batches.worker)[worst]),
        "slowest_make_us": float(slow.mean()),
        "others_make_us": float(rest.mean()),
    }


def _states(states: list[WorkerState]) -> dict[str, Any]:
    """Means over the workers; growth only of those that were looked at twice."""
    first, last = _ends(states)
    found = {
        "threads": _mean(s.threads for s in last),
        "anonymous_bytes": _mean(s.anonymous_bytes for s in last),
        "private_bytes": _mean(s.private_bytes for s in last),
        "anonymous_growth_bytes": _growth(first, last, "anonymous_bytes"),
        "private_growth_bytes": _growth(first, last, "private_bytes"),
        "memory_bytes": max(_known(s.memory_bytes for s in states), default=None),
    }
    return {name: value for name, value in found.items() if value is not None}


def _ends(states: list[WorkerState]) -> tuple[list[WorkerState], list[WorkerState]]:
    """The first and the last state of each process, where its memory was seen if it ever was."""
    by_pid: dict[int, list[WorkerState]] = {}
    for state in sorted(states, key=lambda s: s.t_ns):
        by_pid.setdefault(state.pid, []).append(state)
    weighed = [[s for s in all_ if s.private_bytes is not None] or all_ for all_ in by_pid.values()]
    return [seen[0] for seen in weighed], [seen[-1] for seen in weighed]


def _growth(first: list[WorkerState], last: list[WorkerState], name: str) -> float | None:
    pairs = [
        (getattr(a, name), getattr(b, name)) for a, b in zip(first, last, strict=True) if a is not b
    ]
    return _mean(b - a for a, b in pairs if a is not None and b is not None)


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return mean_of(known)
