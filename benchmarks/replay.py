"""Time and memory of the dependency graph and its replay, on a real trace repeated in memory.

    python benchmarks/replay.py TRACE [--events 1000000 3000000 10000000]

For each size, in a process of its own: seconds to find the causes of idle time, which includes the
graph and its gates and does both on two cores; then, once more and one after the other, to build
the graph and to replay it twice (closed and open) for the gates; the what-if; the peak of memory.
Reading is left out: benchmarks/hta_compare.py has it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import replace
from typing import Any

import numpy as np

from perfkit.analyzers.facts import facts_of
from perfkit.analyzers.graph.binding import bindings
from perfkit.analyzers.graph.build import build
from perfkit.analyzers.graph.gates import replay_errors
from perfkit.analyzers.whatif import saved_by_cause, what_if
from perfkit.model.trace import EVENT_COLUMNS, Trace
from perfkit.trace import open_trace


def repeated(trace: Trace, events: int) -> Trace:
    """The trace one time after the other until it has so many events; steps keep counting."""
    times = -(-events // len(trace))
    period = int(trace.end.max() - trace.ts.min()) + 1000
    columns: dict[str, Any] = {c: np.tile(getattr(trace, c), times) for c in EVENT_COLUMNS}
    nth = np.repeat(np.arange(times), len(trace))
    columns["ts"] += nth * period
    for linked in ("corr", "wait_corr"):
        most = int(getattr(trace, linked).max()) + 1
        columns[linked] = np.where(columns[linked] > 0, columns[linked] + nth * most, -1)
    columns["row"] += nth * (int(trace.row.max()) + 1)
    marks = np.flatnonzero([name.startswith("ProfilerStep#") for name in trace.names])
    places = np.flatnonzero(np.isin(columns["name"], marks))
    columns["name"][places] = len(trace.names) + np.arange(len(places))
    steps = tuple(f"ProfilerStep#{number}" for number in range(len(places)))
    return replace(trace, names=trace.names + steps, **columns)


def measured(path: str, events: int) -> None:
    """Print one line."""
    trace = repeated(open_trace(path), events)
    times = [time.perf_counter()]
    facts = facts_of(trace)
    times.append(time.perf_counter())
    built = build(facts.trace, facts.work, facts.calls, facts.host, facts.windows)
    before, _ = bindings(built.graph)
    times.append(time.perf_counter())
    errors = replay_errors(built, before)
    times.append(time.perf_counter())
    what_if(facts)
    saved_by_cause(facts)
    times.append(time.perf_counter())
    spent = "  ".join(f"{seconds:8.2f}" for seconds in np.diff(times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(trace):>11,}  {len(built.graph):>11,}  {spent}  {peak:7.2f}  {errors.open:8.4%}",
        flush=True,
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("trace")
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    options = parser.parse_args()
    print("     events       points   facts s   graph s  replay s  whatif s  peak GB  open error")
    for events in options.events:
        child = multiprocessing.get_context("spawn").Process(
            target=measured, args=(options.trace, events)
        )
        child.start()
        child.join()


if __name__ == "__main__":
    main()
