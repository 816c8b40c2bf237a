"""Rules on threads and NUMA nodes, from what a run recorded of its process and machine."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analyzers.setup_facts import setup as setup_of
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.model.settings import Settings
from perfkit.model.setup_facts import SetupFacts
from perfkit.reports.advice import advise
from perfkit.trace.capture_records import Records
from tests.advice.builder import copies, diagnosis
from tests.advice.runs import loader, machine, run
from tests.advice.test_rules import ids
from tests.captures import rank_file

NUMA = "remote-numa-node"


def on_nodes(
    core_nodes: list[int], gpu_node: int | None = 1, nodes: int = 2, launch: float = 600.0
) -> Diagnosis:
    """A GPU that waits for launches, and copies of 300 us per step that nothing hides."""
    setup = SetupFacts(cores=32, gpu_node=gpu_node, core_nodes=core_nodes, nodes=nodes)
    return diagnosis({"launch": launch}, setup=setup, copies=copies("Pinned", 300.0))


FIRES = [
    (NUMA, "the other socket", on_nodes([0]), "warning"),
    (NUMA, "the other sockets", on_nodes([0, 2, 3], nodes=4), "warning"),
    (NUMA, "copies alone", on_nodes([0], launch=0.0), "info"),
]  # fmt: skip

SILENT = [
    (NUMA, "its own node", on_nodes([1])),
    (NUMA, "any node", on_nodes([0, 1])),
    (NUMA, "one node", on_nodes([0], 0, nodes=1)),
    (NUMA, "the GPU's node is not known", on_nodes([0], None)),
    (NUMA, "cores are not known", on_nodes([])),
    (NUMA, "nothing crosses", diagnosis(setup=SetupFacts(gpu_node=1, core_nodes=[0], nodes=2))),
    (NUMA, "a trace file", diagnosis({"launch": 3000.0})),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "found", "severity"), FIRES, ids=ids(FIRES))
def test_fires(code: str, why: str, found: Diagnosis, severity: str) -> None:
    said = {f.code: f.severity for f in advise(found).findings}
    assert said.get(code) == severity, why


@pytest.mark.parametrize(("code", "why", "found"), SILENT, ids=ids(SILENT))
def test_is_silent(code: str, why: str, found: Diagnosis) -> None:
    assert code not in [f.code for f in advise(found).findings], why


def only(found: Diagnosis, code: str, least_share: float = 0.005) -> Finding:
    told = advise(found, settings=Settings(least_share=least_share)).findings
    return next(f for f in told if f.code == code)


def test_crossing_costs_no_more_than_binding_gains() -> None:
    assert only(on_nodes([0], launch=200.0), NUMA).cost_us == pytest.approx(500)
    much = only(on_nodes([0], launch=5000.0), NUMA)
    assert much.cost_us == pytest.approx(1000)  # a tenth of the step
    assert "--membind=1" in (much.remedy.snippet or "")


def test_a_process_that_may_run_anywhere_is_told_when_all_is_asked_for() -> None:
    told = only(on_nodes([0, 1]), NUMA, least_share=0.0)
    assert (told.severity, told.cost_us) == ("info", 0.0)
    assert "may run on NUMA nodes 0, 1" in told.title


def crowded(threads: int = 64, used: float | None = 9.0, **setup: Any) -> Diagnosis:
    """A rank that is ready but has no core for a fifth of the time, and two loader workers."""
    usual: dict[str, Any] = {"cores": 64, "machine_cores": 64, "local_ranks": 8}
    facts = run(cpu=machine(0.2, 64, cpu_cores_used=used, machine_cores=64),
                loaders=[loader(num_workers=2, bound=None, wait_share=0.0)])  # fmt: skip
    return diagnosis({"launch": 2500.0}, run=facts,
                     setup=SetupFacts(threads=threads, **(usual | setup)))  # fmt: skip


def test_contention_by_the_runs_own_threads_says_how_many_fit() -> None:
    found = only(crowded(), "cpu-contention")
    assert found.remedy.snippet is not None
    assert "OMP_NUM_THREADS=6 " in found.remedy.snippet
    (said,) = [e for e in found.evidence if "an operator may run on" in e.text]
    assert "64 threads beside 2 loader workers, in each of 8 ranks: 528 in all" in said.text
    assert said.value == pytest.approx(528 / 64)
    bound = only(crowded(8, cores=8), "cpu-contention")
    assert "OMP_NUM_THREADS=6 " in (bound.remedy.snippet or "")
    assert not any("ranks" in e.text for e in bound.evidence)


@pytest.mark.parametrize(
    "found",
    [crowded(6), crowded(64, used=1.0), crowded(64, used=None), crowded(8, local_ranks=None)],
    ids=["they fit", "one thread is busy", "not measured", "ranks are not known"],
)
def test_contention_by_others_is_not_blamed_on_threads(found: Diagnosis) -> None:
    finding = only(found, "cpu-contention")
    assert "Other work holds the cores" in finding.remedy.text
    assert not any("an operator may run on" in e.text for e in finding.evidence)


def making(bound: str = "collate", threads: int = 1, workers: int = 0, cores: int = 8) -> str:
    facts = run(loaders=[loader(num_workers=workers, bound=bound, cores=cores)])
    setup = SetupFacts(threads=threads, cores=cores, variables={"OMP_NUM_THREADS": str(threads)})
    found = diagnosis({"dataloader": 4000.0}, run=facts, setup=setup)
    return only(found, "dataloader-starvation").remedy.text


def test_one_thread_that_makes_batches_beside_idle_cores_is_named() -> None:
    assert "one thread (OMP_NUM_THREADS=1, as torchrun sets it" in making()
    assert "up to OMP_NUM_THREADS=8" in making("cpu")
    for text in (making("io"), making(threads=8), making(workers=4), making(cores=1)):
        assert "OMP_NUM_THREADS" not in text


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({"variables": {"LOCAL_WORLD_SIZE": "8"}, "slurm": {"ntasks_per_node": "1"}}, 8),
        ({"slurm": {"ntasks_per_node": "4"}}, 4),
        ({"slurm": {"ntasks_per_node": "4(x2)"}}, None),
        ({"variables": {"LOCAL_WORLD_SIZE": "0"}}, None),
        ({"cores": 4}, None),
    ],
)
def test_ranks_of_this_machine(environment: dict[str, Any], ranks: int | None) -> None:
    found = setup_of(rank_file(environment=environment), Records())
    assert found is not None
    assert found.local_ranks == ranks
