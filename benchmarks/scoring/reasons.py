"""Why perfkit misses what it misses: the document has the reason of each miss that it lists."""

from __future__ import annotations

import re
from collections.abc import Iterable

from benchmarks.scoring.results import Row

_OF_MISSES = {
    r"^(what-if|interval|bound): .*late_peer": """\
late_peer: the simulator makes this rank alone faster, and its peer stays as late as it was. One
rank's trace cannot tell that from ranks that run the same program and get the same fix, which is
what is predicted. Where waits for peers are more than 5 % of the step, the interval reaches down to
what this rank would gain alone; below that, ranks with a bottleneck of their own are taken for too
unlikely to widen each interval of each trace of several ranks.""",
    r"^(what-if|interval|bound): .*cuda-graphs:": """\
cuda-graphs: the fix is predicted for all that a step launches. The simulated repair captures the
small kernels alone, and what is launched behind a wait or a pause still takes its time.""",
    r"^(what-if|interval|bound): .*tiny_kernels.*host=2": """\
tiny_kernels, host=2: some 0.2 us that each of hundreds of launches is off by; why is not known.""",
    r"^(what-if|interval|bound): .*(busy_workers|slow_workers|slow_storage)": """\
loader workers: with the records of a Capture the prediction is for the long run, in which a step is
no shorter than its batches take. The simulated run is short: batches that stood ready carry it.""",
    r"^damage: .*shift_clock_10us": """\
shift_clock_10us: the GPU's clock is early in half of the trace. All of it is shifted until launches
come first, so the other half is late by as much, which looks like a longer way to the GPU.""",
    r"^damage: .*shift_clock_10ms": """\
shift_clock_10ms: a clock is shifted back until the lowest latency of a launch is 4 us. That of the
simulated GPU is higher: small kernels begin a little early, and their waits lie with the host.""",
    r"^damage: .*drop_kernels": """\
drop_kernels: time after a synchronization is charged to it as far as queued work could have hidden
it. Where kernels are lost, less seems to have been queued, and the rest stays with the host.""",
}
_OF_SCORES = {
    "truth inside [low, high]": """\
truth inside: nothing is fitted to it. Half-widths of replay are what recorded pairs and published
models were off by (`analyzers/whatif/errors.py`), which the simulator is not; those between runs
are published, and the spread of the trace's own steps (`analyzers/whatif/spread.py`), which is too
wide for pauses that come regularly. Recorded runs share two cores with other work, and two runs of
one program are further apart there than published ones.""",
    "what-if error, median": """\
recorded pairs: steps were measured without a profiler, and the prediction is of the trace, whose
steps a profiler makes longer; both ran on a few cores of a CPU that other work shared.""",
}
_NOT_MET = re.compile(r"^(<=|>=)? ?([0-9.]+)(?:-([0-9.]+))?")


def reasons(rows: Iterable[Row], misses: Iterable[str]) -> list[str]:
    """The reasons of misses, then those of scores that miss their aim."""
    told = list(misses)
    found = [
        text for pattern, text in _OF_MISSES.items() if any(re.search(pattern, m) for m in told)
    ]
    missed = [row.score for row in rows if row.score in _OF_SCORES and misses_aim(row)]
    return found + [_OF_SCORES[score] for score in dict.fromkeys(missed)]


def misses_aim(row: Row) -> bool:
    """Whether perfkit's value is on the wrong side of the aim."""
    aim, value = _NOT_MET.match(row.aim), row.values.get("perfkit", "-")
    if aim is None or value == "-":
        return False
    is_, low, high = float(value.split()[0]), float(aim[2]), float(aim[3] or aim[2])
    return is_ > high if aim[1] == "<=" else is_ < low if aim[1] == ">=" else not low <= is_ <= high
