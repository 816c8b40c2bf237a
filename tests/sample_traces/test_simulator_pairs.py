"""Several faults at once, what they share, and what names and numbers inject() refuses."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from sample_traces import simulate
from sample_traces.simulator import INJECTIONS, Simulated, inject, write
from sample_traces.simulator.loader import PREFETCH, WORKERS, Workers
from sample_traces.simulator.network import MUL

SEED = 4
STEPS = 6
NAMES = list(INJECTIONS)
PAIRS = list(zip(NAMES, NAMES[8:] + NAMES[:8], strict=True))  # each fault is in two


def middle(*names: str) -> dict[str, float]:
    return {name: INJECTIONS[name].doses[-2] for name in names}


@cache
def step_ns(*names: str) -> int:
    return int(inject(middle(*names), SEED, STEPS).truth["step_ns"])


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_two_faults_at_once(pair: tuple[str, str]) -> None:
    truth = inject(middle(*pair), SEED, STEPS).truth
    for row in truth["steps"]:
        busy = row["compute_ns"] + row["communication_ns"] + row["copy_ns"]
        assert busy + sum(row["idle_ns"].values()) == row["wall_ns"]
    assert truth["faults"] == middle(*pair)
    fixes = {fix for name in pair if (fix := INJECTIONS[name].fix)}
    assert fixes <= set(truth["fixes"])
    single = [truth["fixes"][fix]["step_ns"] for fix in fixes]
    # Overlapped reductions are more calls, which a slow host makes more slowly.
    assert all(ns <= 1.02 * truth["step_ns"] for ns in single)
    assert all(truth["fixes"]["all"]["step_ns"] <= 1.02 * ns for ns in single)


@pytest.mark.parametrize("pair", PAIRS[1:9], ids="+".join)
def test_two_faults_cost_no_less_than_one(pair: tuple[str, str]) -> None:
    assert step_ns(*pair) >= 0.99 * max(step_ns(pair[0]), step_ns(pair[1]))


def test_a_slow_loader_limits_what_removing_syncs_returns() -> None:
    truth = inject({"item_per_step": 0.5, "slow_workers": 0.2}, SEED).truth
    loader = inject({"slow_workers": 0.2}, SEED).truth["step_ns"]
    assert truth["step_ns"] > 1.15 * loader
    assert truth["fixes"]["sync"]["step_ns"] == pytest.approx(loader, rel=0.02)


def test_one_fix_repairs_all_faults_of_its_kind() -> None:
    faults = {"item_per_layer": 0.2, "device_sync": 0.2}
    fixed = inject(faults, SEED, STEPS, without={"sync"}).truth
    assert fixed["without"] == sorted(faults)
    assert fixed["step_ns"] == inject(faults, SEED, STEPS).truth["fixes"]["sync"]["step_ns"]
    one = inject(faults, SEED, STEPS, without={"device_sync"}).truth
    assert one["step_ns"] > 1.1 * fixed["step_ns"]


def kernels(run: Simulated) -> list[tuple[str, int]]:
    """Names and lengths of the network's own kernels."""
    ops = [op for op in run.recording.ops if op.kind == "compute" and op.name != MUL.name]
    return [(op.name, op.end - op.start) for op in ops]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"slow_kernels", "deep_queue"}))
def test_a_fault_leaves_the_jitter_of_the_rest(name: str) -> None:
    assert kernels(inject(middle(name), SEED, 4)) == kernels(inject({}, SEED, 4))


def test_deep_queue_fills_the_launch_queue() -> None:
    run = inject({"deep_queue": 0.25}, SEED)
    blocked = [s for s in run.recording.spans if "Launch" in s.name and s.end - s.start > 20_000]
    assert len(blocked) > 50
    assert max(s.end - s.start for s in inject({}, SEED).recording.spans if "Launch" in s.name) < (
        20_000
    )


def test_kernels_of_a_graph_share_one_launch(tmp_path: Path) -> None:
    path = write(inject({"cuda_graph": 0.2}, SEED, 4), tmp_path)
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    launches = [e for e in events if e["name"] == "cudaGraphLaunch"]
    assert len(launches) == 4
    for launch in launches:
        same = launch["args"]["correlation"]
        mine = [e for e in events if e.get("args", {}).get("correlation") == same]
        nodes = [e["args"]["graph node id"] for e in mine if e["cat"] == "kernel"]
        assert len(set(nodes)) == len(nodes) > 50
        assert {e["args"]["graph id"] for e in mine if e["cat"] == "kernel"} == {2}
        arrows = Counter(e["ph"] for e in events if e.get("cat") == "ac2g" and e["id"] == same)
        assert arrows == {"s": 1, "f": len(nodes)}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    faults = {"slow_workers": 0.5, "tiny_kernels": 0.1}
    first, again, other = (
        write(inject(faults, seed, 4), tmp_path / folder)
        for folder, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first.name == "slow_workers-0.5+tiny_kernels-0.1.pt.trace.json.gz"
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    truths = [path.parent / first.name.replace("pt.trace.json.gz", "truth.json")
              for path in (first, again)]  # fmt: skip
    assert truths[0].read_bytes() == truths[1].read_bytes()
    assert json.loads(truths[0].read_text("utf-8"))["faults"] == faults


def test_the_order_of_faults_does_not_matter() -> None:
    one = inject({"gc_pauses": 0.2, "collate": 0.1}, SEED, 4)
    other = inject({"collate": 0.1, "gc_pauses": 0.2}, SEED, 4)
    assert one.truth == other.truth


def test_workers_hand_batches_over_in_order_at_their_rate() -> None:
    workers = Workers(SEED, 1000.0)
    times = [0]
    for index in range(40):
        times.append(workers.take(index, times[-1]).taken)
    assert all(a <= b for a, b in pairwise(times))
    assert times[-1] == pytest.approx(39 * 1_000_000 / WORKERS, rel=0.1)


def test_workers_make_no_more_than_they_may_keep() -> None:
    workers, late = Workers(SEED, 1000.0), 50_000_000
    assert workers.take(0, 0).taken == 0
    times = [workers.take(index, late).taken for index in range(1, 20)]
    assert times[: WORKERS * PREFETCH] == [late] * WORKERS * PREFETCH
    assert times[WORKERS * PREFETCH] > late


@pytest.mark.parametrize(
    ("faults", "steps", "without", "says"),
    [
        ({"no_such": 1.0}, None, (), "no such fault: no_such"),
        ({"collate": -0.1}, None, (), "a dose is 0"),
        ({"collate": 0.1}, 3, (), "at least 4"),
        ({"collate": 0.1}, None, {"sync"}, "sync"),
    ],
)
def test_what_cannot_be_injected(
    faults: dict[str, float], steps: int | None, without: set[str], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        inject(faults, 0, steps, without=without)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    called = [sys.executable, str(Path(simulate.__file__)), *arguments]
    return subprocess.run(called, capture_output=True, text=True, check=False)


def test_command_line(tmp_path: Path) -> None:
    done = command("--out", str(tmp_path), "--steps", "4", "--inject", "collate=0.5",
                   "--inject", "gc_pauses=0.2", "--without", "gc")  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.name == "collate-0.5+gc_pauses-0.2-without-gc_pauses.pt.trace.json.gz"
    assert path.exists()


@pytest.mark.parametrize("fault", ["collate", "collate=much", "collate=-1", "nothing=1"])
def test_command_line_refuses_in_a_sentence(tmp_path: Path, fault: str) -> None:
    done = command("--out", str(tmp_path), "--inject", fault)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert fault.partition("=")[0] in done.stderr or "dose" in done.stderr
