"""What a program calls: a path in, a Diagnosis out."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

from perfkit.trace.children import started_early
from perfkit.trace.garbage import collector_off

if TYPE_CHECKING:
    from perfkit.analyzers.facts import Facts
    from perfkit.model.diagnosis import Audience, Diagnosis, WhatIf
    from perfkit.model.settings import Settings
    from perfkit.model.trace import Trace
    from perfkit.trace.capture import Capture
    from perfkit.trace.source import Progress


@collector_off()
def analyze(
    path: str | PathLike[str],
    *,
    progress: Progress | None = None,
    rules: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    audience: Audience | None = None,
    settings: Settings | None = None,
    rank: int | None = None,
    window: int | None = None,
    fixes: Sequence[str] = (),
) -> Diagnosis:
    """Say where every step of a run went, why the GPU was idle, and what to do.

    `path` is a PyTorch Profiler trace (JSON or JSON.gz), on disk or at any fsspec URL, or a
    Capture, the folder that a recorded run has left. Of a Capture, `rank` chooses the rank (else
    the lowest with a profiled window) and `window` the profiled window, counted from 1 (else the
    one with the most steps). `rules` limits the advice to these codes, `ignore` leaves codes out,
    `audience` ("researcher" or "infrastructure") keeps what this one can act on, and `settings` are
    a project's own (`perfkit.model.settings`). With `fixes` the what-if is of these, see `whatif`,
    and not of all that return something.
    Raises `perfkit.PerfkitError`, one sentence with the remedy, when there is nothing usable to
    read, or a code or fix is unknown.
    """
    with started_early(fspath(path)):
        from perfkit.analyzers.diagnose import diagnosis_of
        from perfkit.analyzers.facts import facts_of
        from perfkit.analyzers.whatif import fixes_of
        from perfkit.reports.advice import advise, check_codes

        fixes_of(fixes)  # a wrong name is said before a long read
        check_codes(rules, ignore, settings)
        trace, capture = _opened(fspath(path), progress, rank, window)
    facts = facts_of(trace)
    found = diagnosis_of(facts, capture, settings.own_peaks() if settings else None)
    told = advise(found, rules=rules, ignore=ignore, audience=audience, settings=settings)
    return _asked(told, facts, fixes) if fixes else told


def _asked(diagnosis: Diagnosis, facts: Facts, fixes: Sequence[str]) -> Diagnosis:
    import msgspec

    from perfkit.analyzers.whatif import what_if

    return msgspec.structs.replace(diagnosis, whatif=what_if(facts, fixes))


@collector_off()
def whatif(trace: Trace | str | PathLike[str], fixes: Sequence[str] = ()) -> WhatIf:
    """Predict what fixes return, each alone and all together, by replaying the trace with them.

    `trace` is one that `open_trace` gave, or what `analyze` takes. `fixes` are names such as "sync"
    or "kernels:gemm=2" (`perfkit whatif --list` has them all); without any, every fix that returns
    something is predicted. Gains are in microseconds of the mean step. Raises
    `perfkit.PerfkitError` for what is no fix, or cannot be read.
    """
    from perfkit.analyzers.facts import facts_of
    from perfkit.analyzers.whatif import fixes_of, what_if
    from perfkit.model.trace import Trace

    fixes_of(fixes)  # a wrong name is said before a long read
    opened = trace if isinstance(trace, Trace) else _opened(fspath(trace), None, None, None)[0]
    return what_if(facts_of(opened), fixes)


def _opened(
    path: str, progress: Progress | None, rank: int | None, window: int | None
) -> tuple[Trace, Capture | None]:
    from perfkit.errors import PerfkitError
    from perfkit.trace import open_trace
    from perfkit.trace.capture_folder import is_folder

    if is_folder(path):
        from perfkit.trace.capture import open_capture

        capture = open_capture(path, progress, rank=rank, window=window)
        return capture.trace, capture
    if rank is not None or window is not None:
        raise PerfkitError("A trace file is of one rank and window: leave --rank and --window out.")
    return open_trace(path, progress), None
