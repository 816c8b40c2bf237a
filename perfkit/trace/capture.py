"""Reader of a Capture: a run's folder in; the trace of a profiled window and records out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfkit.errors import PerfkitError
from perfkit.model.capture import Manifest, RankFile, StepTimes
from perfkit.trace.capture_folder import CaptureFolder, RankFolder, Recording, capture_folder
from perfkit.trace.capture_records import Records, read_records
from perfkit.trace.capture_spans import with_spans
from perfkit.trace.kineto import read_kineto

if TYPE_CHECKING:
    from perfkit.model.trace import Trace
    from perfkit.trace.source import Progress

_PROFILER = "torch profiler"


@dataclass(frozen=True)
class Capture:
    """One rank of a run: the trace of one window (number `number` of `windows`, from 1), records.

    `ranks` are the rank folders that the Capture holds; `notes` are sentences on what is missing.
    """

    path: str
    rank: int
    ranks: tuple[int, ...]
    manifest: Manifest | None
    facts: RankFile | None
    recording: Recording
    number: int
    windows: int
    records: Records
    trace: Trace
    notes: tuple[str, ...]


def open_capture(
    path: str,
    progress: Progress | None = None,
    *,
    rank: int | None = None,
    window: int | None = None,
) -> Capture:
    """Read one rank: the lowest that has a window, and of it the window with the most steps.

    `rank` and `window` (counted from 1) choose others. Raises PerfkitError, one sentence with the
    remedy, when the folder is no Capture, or holds no such rank, window, or no window at all.
    """
    folder = capture_folder(path)
    chosen = _rank(folder, path, rank)
    number = _window(chosen, window)
    recording = chosen.recordings[number - 1]
    records = read_records(chosen.path)
    return Capture(
        path=path,
        rank=chosen.rank,
        ranks=tuple(other.rank for other in folder.ranks),
        manifest=folder.manifest,
        facts=chosen.facts,
        recording=recording,
        number=number,
        windows=len(chosen.recordings),
        records=records,
        trace=with_spans(_trace(recording, chosen, progress), records),
        notes=tuple(_notes(chosen, records)),
    )


def _rank(folder: CaptureFolder, path: str, wanted: int | None) -> RankFolder:
    wanted = folder.named if wanted is None else wanted
    if wanted is None:
        recorded = next((rank for rank in folder.ranks if rank.recordings), None)
        if recorded is None:
            raise _no_window(folder, folder.ranks[0])
        return recorded
    chosen = next((rank for rank in folder.ranks if rank.rank == wanted), None)
    if chosen is None:
        there = _listed([rank.rank for rank in folder.ranks])
        raise PerfkitError(f"There is no rank {wanted} in {path}: pass one of {there}.")
    if not chosen.recordings:
        raise _no_window(folder, chosen)
    return chosen


def _window(chosen: RankFolder, wanted: int | None) -> int:
    """The number of the window to analyze, from 1: the most steps, the last of equals."""
    count = len(chosen.recordings)
    if wanted is None:
        return max(range(count), key=lambda i: (chosen.recordings[i].steps or 0, i)) + 1
    if not 1 <= wanted <= count:
        most = f"1 to {count}" if count > 1 else "1, the only one"
        raise PerfkitError(f"Rank {chosen.rank} has no window {wanted}: choose {most}.")
    return wanted


def _no_window(folder: CaptureFolder, chosen: RankFolder) -> PerfkitError:
    others = [rank.rank for rank in folder.ranks if rank.recordings]
    if others:
        return PerfkitError(
            f"Rank {chosen.rank} has no profiled window: pass --rank with one of {_listed(others)}."
        )
    return PerfkitError(_why_no_window(folder, chosen))


def _why_no_window(folder: CaptureFolder, chosen: RankFolder) -> str:
    facts, steps = chosen.facts, _steps_taken(chosen)
    if facts is None:
        return f"{folder.path} holds no profiled window and no rank.json: record the run again."
    begins = facts.schedule.wait + facts.schedule.warmup
    if steps <= begins and facts.ended_ns is None:
        return (
            f"The run has taken {_steps(steps)} and profiling starts after {begins}: wait if it"
            " still runs, or record it again if it was killed."
        )
    if not steps:
        return (
            "The run ended and no step of it was seen, neither of an optimizer nor of a DataLoader:"
            " mark its steps with p.steps(loader), or put @perfkit.profile on what takes a step."
        )
    if steps <= begins:
        return (
            f"The run ended after {_steps(steps)} and profiling starts after {begins}: run it"
            " longer, or choose a schedule with a shorter wait and warm-up."
        )
    return _unseen(facts, steps)


def _unseen(facts: RankFile, steps: int) -> str:
    said = [s.missing[0] for s in facts.collectors if s.collector == _PROFILER and s.missing]
    after = f"The run left no profiled window after {_steps(steps)}"
    if facts.ended_ns is None:
        return f"{after} and no end: wait if it still runs, or record it again if it was killed."
    why = said[0].rstrip(".") if said else "see what it logged, and record it again"
    return f"{after}: {why}."


def _steps_taken(chosen: RankFolder) -> int:
    blocks = read_records(chosen.path).of(StepTimes)
    return max((block.first + len(block.wall_us) for block in blocks), default=0)


def _trace(recording: Recording, chosen: RankFolder, progress: Progress | None) -> Trace:
    trace = read_kineto(str(recording.file), progress)
    facts = chosen.facts
    size = facts.world_size if facts else trace.info.world_size
    return replace(trace, info=replace(trace.info, rank=chosen.rank, world_size=size))


def _notes(chosen: RankFolder, records: Records) -> list[str]:
    ended = chosen.facts.ended if chosen.facts else None
    told = {
        "The rank left no readable rank.json, so little is known of how it was set up.": (
            chosen.facts is None
        ),
        "The run left no end: it goes on or was killed.": chosen.facts is not None
        and ended is None,
        "The run ended by an exception.": ended == "exception",
        "The run was ended by a signal.": ended == "signal",
        f"{records.newer} records are of kinds that this perfkit does not know.": records.newer > 0,
        f"{records.broken} records cannot be read and are left out.": records.broken > 0,
        f"Cannot read {', '.join(records.unreadable_files)}.": bool(records.unreadable_files),
    }
    return [note for note, is_so in told.items() if is_so]


def _steps(number: int) -> str:
    return f"{number} step" if number == 1 else f"{number} steps"


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown} ... {numbers[-1]}" if len(numbers) > 8 else shown
