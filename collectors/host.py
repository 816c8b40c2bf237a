"""The training process on its machine: whether it got the processor time it wanted."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from perfkit.collectors import limits
from perfkit.collectors.protocol import Run
from perfkit.collectors.records import RecordFile
from perfkit.model.capture import HostSample, Sight

_STATM = Path("/proc/self/statm")


class Host:
    """A sample a second, taken on the training thread between steps."""

    name = "host"

    def __init__(self) -> None:
        self._records: RecordFile | None = None
        self._cores: int | None = None

    def sight(self) -> Sight:
        """What this system counts for a process."""
        sample = take_sample(limits.cores())
        sees = [said for name, said in _COUNTERS.items() if getattr(sample, name) is not None]
        missing = [said for name, said in _MISSING.items() if getattr(sample, name) is None]
        return Sight(collector=self.name, active=True, sees=sees, missing=missing)

    def start(self, run: Run) -> None:
        """Take the first sample, which later ones are counted from."""
        self._records, self._cores = run.records("host"), limits.cores()
        self.tick()

    def tick(self) -> None:
        """Take a sample."""
        if self._records is not None:
            self._records.add(take_sample(self._cores))

    def stop(self) -> None:
        """Take the last sample."""
        if self._records is not None:
            self.tick()
            self._records.close()


_COUNTERS = {
    "cpu_us": "processor time",
    "run_delay_us": "time without a core",
    "involuntary_switches": "involuntary context switches",
    "major_faults": "major page faults",
    "load": "load of the machine",
    "cores": "cores of the process",
    "rss_bytes": "resident memory",
}
_MISSING = {
    "run_delay_us": (
        "The time the process waits for a core is not counted here: "
        "needs Linux with schedstat (sysctl kernel.sched_schedstats, a mounted /proc)."
    ),
    "rss_bytes": "Resident memory is not told here: mount /proc.",
}


def take_sample(cores: int | None) -> HostSample:
    """Counters of this process now; what the system does not count is absent."""
    usage = _usage()
    return HostSample(
        t_ns=time.time_ns(),
        cpu_us=time.process_time_ns() / 1000,
        run_delay_us=_run_delay_us(),
        involuntary_switches=None if usage is None else usage.ru_nivcsw,
        major_faults=None if usage is None else usage.ru_majflt,
        load=_load(),
        cores=cores,
        machine_cores=os.cpu_count(),
        rss_bytes=_rss_bytes(),
    )


def _usage() -> Any:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF)


def _run_delay_us() -> float | None:
    """Of the main thread, on which training runs; a kernel that does not count says only zeros."""
    numbers = _numbers(Path(f"/proc/self/task/{os.getpid()}/schedstat"))
    return numbers[1] / 1000 if len(numbers) == 3 and numbers[0] else None


def _rss_bytes() -> int | None:
    numbers = _numbers(_STATM)
    return numbers[1] * os.sysconf("SC_PAGE_SIZE") if len(numbers) > 1 else None


def _load() -> float | None:
    with suppress(AttributeError, OSError):
        return os.getloadavg()[0]
    return None


def _numbers(path: Path) -> list[int]:
    try:
        return [int(part) for part in path.read_text().split()]
    except (OSError, ValueError):
        return []
