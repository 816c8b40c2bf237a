"""Facts of runs for the rules' tests: what collectors would have said beside a 10 ms step."""

from __future__ import annotations

from typing import Any

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import PythonGaps
from perfkit.model.run_facts import (
    CheckpointFacts,
    GcFacts,
    HostFacts,
    LoaderFacts,
    RunFacts,
    RunSteps,
    RunWindow,
    StepStats,
)
from tests.advice.builder import place


def run(**facts: Any) -> RunFacts:
    """A run of one rank of which only these facts are known."""
    window = RunWindow(number=1, count=1, first_step=18, steps=10, reason="schedule")
    return RunFacts(**{"capture": "runs/x", "rank": 0, "ranks": 1, "window": window, **facts})


def loader(**facts: Any) -> LoaderFacts:
    """Four workers on sixteen cores that deliver a batch every 20 ms where 10 ms are wanted."""
    usual: dict[str, Any] = {
        "num_workers": 4, "cores": 16, "make_us": 80_000.0, "fetch_us": 75_000.0,
        "collate_us": 5000.0, "deliver_us": 20_000.0, "use_us": 10_000.0, "workers_needed": 8,
        "wait_share": 0.4, "bound": "cpu", "reason": "making a batch is 97 % processor time",
    }  # fmt: skip
    return LoaderFacts(loader=0, **(usual | facts))


def stats(mean_us: float, data_share: float = 0.0, count: int = 500) -> StepStats:
    return StepStats(
        count=count, mean_us=mean_us, p50_us=mean_us, p95_us=1.1 * mean_us, max_us=2 * mean_us,
        data_mean_us=data_share * mean_us, data_share=data_share,
    )  # fmt: skip


def steps(data_share: float = 0.4) -> RunSteps:
    return RunSteps(total=511, first_us=2e6, unprofiled=stats(9000.0, data_share),
                    window=stats(10_000.0, data_share, 10), overhead_share=1 / 9)  # fmt: skip


def machine(delay: float | None, cores: int = 2, **facts: Any) -> HostFacts:
    usual = {"samples": 30, "duration_us": 3e7, "load": 6.0, "involuntary_switches_per_s": 250.0}
    return HostFacts(run_delay_share=delay, cores=cores, **(usual | facts))


def saving(blocking_us: float, per_step: float, mean_us: float = 3e6) -> CheckpointFacts:
    return CheckpointFacts(
        count=4, mean_us=mean_us, blocking_mean_us=blocking_us, blocking_us_per_step=per_step,
        bytes_mean=5e9, bytes_per_s=1.6e9, calls=["torch.save"],
    )  # fmt: skip


def collecting(us_per_step: float | None) -> GcFacts:
    return GcFacts(count=900, total_us=9e6, longest_us=2e5, us_per_step=us_per_step,
                   count_per_step=1.8, full_count=3)  # fmt: skip


def gaps(long_us: float, total_us: float, name: str = "metrics") -> PythonGaps:
    places = [place(Cause.PYTHON.value, name, long_us)] if long_us else []
    return PythonGaps(total_us=total_us, long_gap_us=1000.0, long_us=long_us,
                      long_per_step=long_us / 2000, places=places)  # fmt: skip
