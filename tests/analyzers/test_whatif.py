"""What fixes return, against the same simulated program without the fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from perfkit.analyzers.facts import Facts, facts_of
from perfkit.analyzers.graph.replay import replay
from perfkit.analyzers.whatif import edited, fixes_of, saved_by_cause, what_if
from perfkit.errors import PerfkitError
from perfkit.model.trace import EVENT_COLUMNS, Int64s, Trace
from perfkit.trace import open_trace
from sample_traces.simulator import INJECTIONS, inject, write
from tests.analyzers.programs import (
    GAP_US,
    LATENCY_US,
    Action,
    Machine,
    programs,
    recorded,
    trace_of,
)
from tests.traces import PUBLIC, needs_public

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
NS = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
FAULTS = (
    "item_per_step", "item_per_layer", "dataset_sleep", "slow_workers", "gc_pauses",
    "allocator_churn", "hook_stall", "deep_queue",
)  # fmt: skip
ANSWERED = [  # fixes that leave nothing to assume
    (fault, fix)
    for fault in FAULTS
    for fix in (INJECTIONS[fault].fix, "kernels=2", "host=2")
    if fix
]


def step_after(facts: Facts, fix: str) -> float:
    found = what_if(facts, [fix])
    assert found.withheld is None
    return facts.stretch.mean_us - (found.fixes[0].gain_us.expected or 0.0)


@pytest.mark.parametrize(("fault", "fix"), ANSWERED)
def test_a_fix_returns_what_the_fixed_program_shows(fault: str, fix: str, tmp_path: Path) -> None:
    simulated = inject({fault: INJECTIONS[fault].doses[-2]}, seed=1)
    facts = facts_of(open_trace(write(simulated, tmp_path)))
    steps = facts.stretch
    changed = edited(steps, fixes_of([fix]), optimistic=False).graph()
    time = replay(changed, steps.plan)
    whole = (time + changed.dur)[steps.part.operation].max() - time[steps.border[0]]
    assert whole == pytest.approx(simulated.truth["fixes"][fix]["wall_ns"], rel=0.01)


def test_a_wait_for_the_gpu_that_a_late_batch_hid_is_there_without_it(tmp_path: Path) -> None:
    simulated = inject({"loader_stall": 0.2, "gc_pauses": 0.2}, seed=0)
    facts = facts_of(open_trace(write(simulated, tmp_path)))
    truth = simulated.truth["fixes"]["dataloader"]["wall_ns"] / 18_000
    assert step_after(facts, "dataloader") == pytest.approx(truth, rel=0.01)


def test_kernels_twice_as_fast_halve_a_step_that_waits_for_them() -> None:
    program = [[Action("kernel", 5.0, 90.0) for _ in range(20)] + [Action("sync", 2.0)]] * 4
    facts = facts_of(trace_of(recorded(program)))
    assert step_after(facts, "kernels=2") / facts.stretch.mean_us == pytest.approx(0.5, abs=0.05)
    assert step_after(facts, "host=2") / facts.stretch.mean_us == pytest.approx(1.0, abs=0.02)


@needs_public
def test_kernels_twice_as_fast_on_a_gpu_bound_recording() -> None:
    facts = facts_of(open_trace(PUBLIC / NS))
    assert 0.45 <= step_after(facts, "kernels=2") / facts.stretch.mean_us <= 0.55


@settings(max_examples=40, deadline=None)
@given(programs)
def test_removing_a_cause_saves_no_less_than_nothing(program: list[list[Action]]) -> None:
    facts = facts_of(trace_of(recorded(program)))
    saved = saved_by_cause(facts)
    assert all(0 <= us <= facts.stretch.mean_us + 1e-6 for us in saved.values())


@settings(max_examples=40, deadline=None)
@given(programs)
def test_intervals_hold_their_expectation(program: list[list[Action]]) -> None:
    found = what_if(facts_of(trace_of(recorded(program))))
    together = [*found.combinations, *found.order]
    for gain in [*(f.gain_us for f in found.fixes), *(t.gain_us for t in together)]:
        assert gain.expected is not None and gain.low is not None and gain.high is not None
        assert gain.low <= gain.expected <= gain.bound + 1e-9
        assert gain.expected <= gain.high


def _split(trace: Trace, rows: Int64s) -> Trace:
    """The same trace with these operations in two halves, back to back."""
    half = trace.dur[rows] // 2
    columns: dict[str, Any] = {c: np.concatenate((getattr(trace, c), getattr(trace, c)[rows]))
               for c in EVENT_COLUMNS}  # fmt: skip
    count = len(trace)
    columns["dur"][rows] = half
    columns["ts"][count:] = trace.ts[rows] + half
    columns["dur"][count:] = trace.dur[rows] - half
    columns["row"][count:] = trace.row.max() + 1 + np.arange(len(rows))
    order = np.argsort(columns["ts"], kind="stable")
    return replace(trace, **{c: column[order] for c, column in columns.items()})


def test_splitting_kernels_changes_nothing_beyond_the_gap_between_them() -> None:
    program = [[Action("kernel", 5.0, 90.0) for _ in range(20)] + [Action("sync", 2.0)]] * 4
    trace = trace_of(recorded(program))
    facts = facts_of(trace)
    halved = facts_of(_split(trace, facts.work.rows[3:30:4]))
    whole, parts = step_after(facts, "kernels=2"), step_after(halved, "kernels=2")
    assert parts == pytest.approx(whole, abs=2.0 * 7)  # us: a gap for each of seven halves


def test_what_is_no_fix_is_refused_in_one_sentence() -> None:
    for name in ("snyc", "kernels", "kernels=0", "kernels:tree=2", "sync=2"):
        with pytest.raises(PerfkitError) as refused:
            fixes_of([name])
        assert "\n" not in str(refused.value) and str(refused.value).endswith((".", "?"))


def test_nothing_is_predicted_where_records_are_missing() -> None:
    program = [[Action("kernel", 5.0, 90.0) for _ in range(20)] + [Action("sync", 2.0)]] * 4
    trace = trace_of(recorded(program))
    kept = np.ones(len(trace), dtype=bool)
    kept[facts_of(trace).work.rows[::5]] = False
    found = what_if(facts_of(trace.take(kept)))
    assert found.withheld is not None and "lack" in found.withheld
    assert found.fixes == []


@pytest.mark.parametrize("fix", ["cuda-graphs", "fusion"])
def test_a_long_wait_in_an_operator_is_not_captured_away(fix: str) -> None:
    step = [Action("kernel", 5000.0, 5.0), *(Action("kernel", 20.0, 5.0) for _ in range(20))]
    gain = what_if(facts_of(trace_of(recorded([step] * 4))), [fix]).fixes[0].gain_us
    assert gain.expected is not None
    assert 200 < gain.expected < 500  # of 400 us in launches, and 5 ms in the first operator


class Paging(Machine):
    """Copies from pageable memory as PyTorch makes them: then it waits for the stream."""

    def _paged(self, action: Action) -> None:
        self.corr += 1
        begin, at = self.now, max(self.now + LATENCY_US, self.free.get(7, 0.0) + GAP_US)
        self.free[7] = at + action.gpu
        self._add("cuda_runtime", "cudaMemcpyAsync", begin, self.free[7] + 2.0 - begin,
                  correlation=self.corr)  # fmt: skip
        self._add("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", at, action.gpu,
                  correlation=self.corr, stream=7, device=0, bytes=1 << 20)  # fmt: skip
        self._add("cuda_runtime", "cudaStreamSynchronize", self.free[7] + 3.0, 6.0)
        self.now = self.free[7] + 10.0
        self._add("cpu_op", "aten::to", begin, self.now - begin)


def test_a_copy_that_does_not_block_takes_its_wait_for_the_stream_with_it() -> None:
    kernels = [Action("kernel", 25.0, 40.0) for _ in range(20)]
    step = [Action("paged", 0.0, 50.0), Action("python", 200.0), *kernels]
    facts = facts_of(trace_of(Paging().run([step] * 6)))
    of_kernels = 20 * (40.0 + GAP_US)
    assert facts.stretch.mean_us > of_kernels + 200
    assert step_after(facts, "copies") < of_kernels + 60
