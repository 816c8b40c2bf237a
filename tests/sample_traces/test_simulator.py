"""The simulator keeps the laws of the machine it models, and its truth adds up."""

import ast
import gzip
import heapq
import json
from collections import defaultdict
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sample_traces import simulator
from sample_traces.simulator import SCENARIOS, Simulated, simulate, trace_text, write
from sample_traces.simulator.scenarios import FINDINGS

STEPS = 6
CAUSES = [
    "gc",
    "checkpoint",
    "dataloader",
    "allocator",
    "copy",
    "sync",
    "compile",
    "launch",
    "dispatch",
    "python",
    "kernel_gap",
    "unobserved_gpu_work",
    "unknown",
]

every_scenario = pytest.mark.parametrize("name", SCENARIOS)


@cache
def short(name: str) -> Simulated:
    return simulate(name, seed=1, steps=12 if name == "back_pressure" else STEPS)


@cache
def document(name: str) -> dict[str, Any]:
    run = short(name)
    # A double cannot hold these time stamps to the nanosecond.
    read: dict[str, Any] = json.loads(trace_text(run.scenario, run.recording), parse_float=Decimal)
    return read


def events(name: str, *cats: str) -> list[dict[str, Any]]:
    return [e for e in document(name)["traceEvents"] if e.get("cat") in cats]


def nanoseconds(event: dict[str, Any]) -> tuple[int, int]:
    start = round(event["ts"] * 1000)
    return start, start + round(event["dur"] * 1000)


@every_scenario
def test_parts_of_a_step_sum_to_its_wall_time(name: str) -> None:
    for row in short(name).truth["steps"]:
        busy = row["compute_ns"] + row["communication_ns"] + row["copy_ns"]
        assert busy + sum(row["idle_ns"].values()) == row["wall_ns"]
        assert list(row["idle_ns"]) == CAUSES
        assert min(row["idle_ns"].values()) >= 0


@every_scenario
def test_windows_tile_the_run(name: str) -> None:
    run = short(name)
    first, last = run.recording.marks[0].start, max(op.end for op in run.recording.ops)
    assert sum(row["wall_ns"] for row in run.truth["steps"]) == last - first


def covered(operations: list[dict[str, Any]]) -> int:
    total, reach = 0, 0
    for start, end in sorted(map(nanoseconds, operations)):
        total += max(0, end - max(start, reach))
        reach = max(reach, end)
    return total


@every_scenario
def test_busy_time_is_that_of_the_written_trace(name: str) -> None:
    kernels = events(name, "kernel")
    compute = covered([e for e in kernels if not e["name"].startswith("nccl")])
    both, busy = covered(kernels), covered(events(name, "kernel", "gpu_memcpy"))
    rows = short(name).truth["steps"]
    assert sum(row["compute_ns"] for row in rows) == compute
    assert sum(row["communication_ns"] for row in rows) == both - compute
    assert sum(row["copy_ns"] for row in rows) == busy - both


@every_scenario
def test_first_cause_is_the_largest(name: str) -> None:
    total: dict[str, int] = defaultdict(int)
    for row in short(name).truth["steps"]:
        for cause, ns in row["idle_ns"].items():
            total[cause] += ns
    wall = sum(row["wall_ns"] for row in short(name).truth["steps"])
    del total["kernel_gap"]
    first = SCENARIOS[name].first_cause
    if first is None:
        assert max(total.values()) < 0.02 * wall
    else:
        assert max(total, key=total.__getitem__) == first
        assert total[first] > 0.05 * wall


@every_scenario
def test_operations_of_a_stream_never_overlap(name: str) -> None:
    streams: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in events(name, "kernel", "gpu_memcpy"):
        streams[event["tid"]].append(nanoseconds(event))
    for times in streams.values():
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(times)))


@every_scenario
def test_every_operation_starts_after_its_launch(name: str) -> None:
    calls = {e["args"]["correlation"]: e for e in events(name, "cuda_runtime")}
    operations = events(name, "kernel", "gpu_memcpy")
    assert operations
    for event in operations:
        call = calls[event["args"]["correlation"]]
        assert nanoseconds(call)[0] < nanoseconds(event)[0]


@every_scenario
def test_launch_queue_is_bounded(name: str) -> None:
    ends: list[int] = []
    deepest = 0
    for op in short(name).recording.ops:
        while ends and ends[0] <= op.call.end:
            heapq.heappop(ends)
        heapq.heappush(ends, op.end)
        deepest = max(deepest, len(ends))
    assert deepest <= 1024
    assert (deepest > 1000) == (name == "back_pressure")


@every_scenario
def test_host_events_nest_and_threads_take_turns(name: str) -> None:
    host = events(name, "cpu_op", "user_annotation", "cuda_runtime", "python_function")
    threads: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in host:
        start, end = nanoseconds(event)
        threads[event["tid"]].append((start, -end))
    for times in threads.values():
        open_ends: list[int] = []
        for start, end in sorted(times):
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert not open_ends or -end <= open_ends[-1]
            open_ends.append(-end)
    leaves = short(name).recording.leaves
    assert all(a.end == b.start for a, b in pairwise(leaves))


@every_scenario
def test_waits_return_after_the_work_they_waited_for(name: str) -> None:
    run = short(name).recording
    copies = {op.call: op for op in run.ops if op.kind == "copy"}
    for call in run.spans:
        if call.name == "cudaFree":
            assert all(op.end <= call.end for op in run.ops if op.call.end <= call.start)
        if call in copies and "Pageable ->" in copies[call].name:
            assert copies[call].end < call.end


@pytest.mark.parametrize("name", ["healthy", "hidden_loader", "communication_hidden"])
def test_a_fed_gpu_is_never_idle_for_the_host(name: str) -> None:
    for row in short(name).truth["steps"][1:]:
        assert row["idle_ns"]["kernel_gap"] == sum(row["idle_ns"].values())


def test_sync_takes_only_what_the_host_would_have_hidden() -> None:
    synced, slow = short("sync_bound").truth["steps"], short("launch_bound").truth["steps"]
    for row in synced[1:-1]:  # nothing follows the last wait
        assert row["idle_ns"]["sync"] > 2_500_000
        assert row["idle_ns"]["python"] < 20_000
    assert all(row["idle_ns"]["sync"] == 0 for row in slow)


def test_launch_work_of_mixed_stays_beside_its_syncs() -> None:
    for row in short("mixed").truth["steps"][1:-1]:
        assert row["idle_ns"]["launch"] > 2_000_000
        assert row["idle_ns"]["sync"] > 1_500_000


@every_scenario
def test_findings_are_known_and_disjoint(name: str) -> None:
    truth = short(name).truth
    must, must_not = set(truth["findings"]), set(truth["no_findings"])
    assert must | must_not <= set(FINDINGS)
    assert not must & must_not
    assert truth["simulated"] is True
    assert document(name)["perfkit_simulated"] == name


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    first, again, other = (
        write(simulate("mixed_2", seed, 3), tmp_path / folder).read_bytes()
        for folder, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again
    assert first != other


def test_written_files_are_json(tmp_path: Path) -> None:
    path = write(short("communication_bound"), tmp_path)
    trace = json.loads(gzip.decompress(path.read_bytes()))
    truth = json.loads((tmp_path / "communication_bound.truth.json").read_text("utf-8"))
    assert trace["distributedInfo"]["world_size"] == 8
    assert len(truth["steps"]) == STEPS
    kernels = [e for e in trace["traceEvents"] if "Collective name" in e.get("args", {})]
    assert {e["cat"] for e in kernels} == {"cpu_op", "kernel"}


def test_flows_join_launches_and_operations() -> None:
    flows = events("healthy", "ac2g")
    starts = {e["id"] for e in flows if e["ph"] == "s"}
    ends = {e["id"] for e in flows if e["ph"] == "f"}
    operations = events("healthy", "kernel", "gpu_memcpy")
    assert starts == ends == {e["args"]["correlation"] for e in operations}


def test_simulator_shares_no_code_with_perfkit() -> None:
    sources = list(Path(simulator.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "perfkit" for name in names)
