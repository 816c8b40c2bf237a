"""Rules with the facts of a run: which remedy the numbers choose, and which cause comes first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfkit.api import analyze
from perfkit.model.capture import (
    BatchMade,
    BatchWait,
    CheckpointWrite,
    Collection,
    HostSample,
    LoaderInfo,
)
from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis
from tests.advice.runs import gaps, loader, machine, run, saving, steps
from tests.captures import MS, START_NS, Part, cpu_trace, operators, step_times, write_capture

WAITING = {"dataloader": 4000.0}


def starved(**facts: Any) -> Finding:
    case = diagnosis(WAITING, run=run(loaders=[loader(**facts)], steps=steps()))
    (found,) = [f for f in advise(case).findings if f.code == "dataloader-starvation"]
    return found


REMEDIES: list[tuple[str, dict[str, Any], str, str]] = [
    ("more workers", {}, "num_workers=8 would keep up", "num_workers=8"),
    ("capped at the cores", {"cores": 6}, "num_workers=6 is all the cores allow", "num_workers=6"),
    ("no core is left", {"cores": 4}, "More than 4 workers on 4 cores would not help", ""),
    ("no workers", {"num_workers": 0, "deliver_us": 80_000.0},
     "(num_workers=0): let workers make them; num_workers=8 would keep up", "num_workers=8"),
    ("no workers, few cores", {"num_workers": 0, "deliver_us": 80_000.0, "cores": 2},
     "num_workers=2 is all the cores allow, and make __getitem__ cheaper", "num_workers=2"),
    ("no workers, few cores, waits", {"num_workers": 0, "deliver_us": 80_000.0, "cores": 2,
     "bound": "waiting"}, "num_workers=8 would keep up (they wait most of the time, so more than 2 "
     "cores help", "num_workers=8"),
    ("files", {"bound": "io"}, "pack small files", "num_workers=8"),
    ("a lock", {"bound": "waiting", "cores": 4}, "find what __getitem__ waits for", ""),
    ("files, all cores in use", {"bound": "io", "cores": 4}, "copy the data to a local disk", ""),
    ("collation", {"bound": "collate"}, "make collate_fn cheaper", "num_workers=8"),
    ("start-up", {"bound": "worker start-up"}, "keep them", "persistent_workers=True"),
    ("cold", {"bound": "cold cache"}, "local disk before training", ""),
    ("late ones", {"bound": None, "deliver_us": 6000.0, "workers_needed": 3}, "single batches",
     "prefetch_factor"),
    ("a close race", {"deliver_us": 9900.0, "workers_needed": 4}, "num_workers=5 would keep up",
     "num_workers=5"),
    ("taking over", {"deliver_us": 900.0, "ready": 3.5}, "taking them over", "pin_memory=True"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "facts", "words", "snippet"), REMEDIES)
def test_the_numbers_choose_the_remedy(
    why: str, facts: dict[str, Any], words: str, snippet: str
) -> None:
    remedy = starved(**facts).remedy
    assert words in remedy.text, why
    assert snippet in (remedy.snippet or ""), why
    assert remedy.text.endswith(".")


@pytest.mark.parametrize(
    ("bound", "word"),
    [("cpu", "CPU-bound"), ("io", "I/O-bound"), ("collate", "collate-bound"),
     ("cold cache", "cold cache"), ("worker start-up", "start anew")],
)  # fmt: skip
def test_the_title_and_the_first_evidence_say_what_binds(bound: str, word: str) -> None:
    found = starved(bound=bound)
    assert word in found.title
    assert "97 % processor time" in found.evidence[0].text


def test_evidence_gives_the_numbers_of_the_run() -> None:
    said = " | ".join(fact.text for fact in starved(
        ready=0.2, rchar_bytes=3e6, read_calls=40.0, read_bytes=1e6).evidence)  # fmt: skip
    for words in ("80.0 ms to make", "5.00 ms of it collating", "4 workers can deliver one every "
                  "20.0 ms", "one every 10.0 ms", "3.00 MB in 40 calls, 1.00 MB of it from storage",
                  "500 steps waited 40.0 %"):  # fmt: skip
        assert words in said


def test_no_pinning_where_there_is_no_gpu() -> None:
    case = diagnosis(WAITING, device={"kind": "cpu"},
                     run=run(loaders=[loader(num_workers=0)]))  # fmt: skip
    assert "pin_memory" not in (advise(case).findings[0].remedy.snippet or "")


def test_the_loader_that_is_waited_for_most_is_told_of() -> None:
    both = [loader(wait_share=0.01, bound="io"), loader(wait_share=0.3, bound="collate")]
    found = advise(diagnosis(WAITING, run=run(loaders=both))).findings[0]
    assert "collate-bound" in found.title


def test_checkpoints_in_the_background_need_another_remedy() -> None:
    async_ = diagnosis(run=run(checkpoints=saving(blocking_us=4e5, per_step=900.0)))
    sync = diagnosis(run=run(checkpoints=saving(blocking_us=3e6, per_step=900.0)))
    assert "already" in advise(async_).findings[0].remedy.text
    assert "async_save" in (advise(sync).findings[0].remedy.snippet or "")
    assert "5.00 GB each at 1.60 GB/s" in advise(sync).findings[0].evidence[0].text


def test_time_without_a_core_is_not_told_as_python_too() -> None:
    case = diagnosis({"python": 4000}, device={"kind": "cpu"}, python_gaps=gaps(4000, 4000),
                     run=run(cpu=machine(0.5)))  # fmt: skip
    cost = {f.code: f.cost_us for f in advise(case).findings}
    assert cost["python-overhead"] == pytest.approx(2000)
    assert cost["cpu-contention"] == pytest.approx(5000)


def test_python_names_the_range_of_the_program() -> None:
    case = diagnosis({"python": 4000}, device={"kind": "cpu"}, python_gaps=gaps(4000, 4000, "bleu"))
    (found,) = advise(case).findings
    assert "first: bleu" in found.remedy.text
    assert [place.name for place in found.where] == ["bleu"]
    nowhere = gaps(4000, 4000, "outside of any named range")
    case = diagnosis({"python": 4000}, device={"kind": "cpu"}, python_gaps=nowhere)
    (found,) = advise(case).findings
    assert "no range of yours names it" in found.remedy.text


LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
FAULTS: dict[str, tuple[str, list[Part]]] = {
    "loader without workers": ("dataloader-starvation", [(LOADER, 20 * MS)]),
    "a loader of the user's own": ("dataloader-starvation", [("perfkit::data", 20 * MS)]),
    "Python": ("python-overhead", [(None, 20 * MS)]),
    "Python in a range of the user's own": ("python-overhead", [("augment", 20 * MS)]),
    "Python in a phase": ("python-overhead", [("perfkit::forward", 20 * MS)]),
    "garbage collection": ("garbage-collection", [("Python GC", 4 * MS)] * 5),
    "a checkpoint": ("synchronous-checkpoint", [("perfkit::checkpoint", 20 * MS)]),
}


def of_cpu(tmp_path: Path, extra: list[Part], *records: msgspec.Struct) -> Diagnosis:
    trace = cpu_trace([[*operators(10), *extra]] * 10)
    return analyze(write_capture(tmp_path / "run", records, trace))


def warned(found: Diagnosis) -> list[str]:
    return [f.code for f in found.findings if f.severity != "info"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_cpu_is_the_only_warning(tmp_path: Path, fault: str) -> None:
    code, extra = FAULTS[fault]
    found = of_cpu(tmp_path, extra)
    assert warned(found) == [code]
    assert found.findings[0].cost_us == pytest.approx(20_000, rel=0.01)
    assert found.device.kind == "cpu"
    assert "On the CPU" in found.verdict


def test_places_name_the_users_range(tmp_path: Path) -> None:
    extra: list[Part] = [(None, MS // 10), ("augment", 20 * MS)]
    assert [p.name for p in of_cpu(tmp_path, extra).findings[0].where] == ["augment"]


def test_a_healthy_cpu_run_warns_of_nothing(tmp_path: Path) -> None:
    healthy = [
        step_times([10_500.0] * 40, 100.0),
        Collection(start_ns=START_NS + MS, dur_us=150.0, generation=0),
        HostSample(t_ns=0, run_delay_us=0.0, cores=4, load=1.0),
        HostSample(t_ns=10**10, run_delay_us=20_000.0, cores=4, load=1.0),
    ]
    assert warned(of_cpu(tmp_path, [("perfkit::data", MS // 10)], *healthy)) == []


def test_a_small_model_is_mostly_python_and_healthy(tmp_path: Path) -> None:
    trace = cpu_trace([operators(8, each_us=5)] * 10)
    found = analyze(write_capture(tmp_path / "run", trace=trace))
    assert found.idle_us["python"] == pytest.approx(found.steps.mean_us / 2, rel=0.01)
    assert warned(found) == []


def test_other_processes_on_the_cores(tmp_path: Path) -> None:
    busy = [HostSample(t_ns=t * 10**9, run_delay_us=t * 6e5, cores=2, load=5.0) for t in range(9)]
    found = of_cpu(tmp_path, [], *busy)
    assert warned(found) == ["cpu-contention"]
    assert found.findings[0].cost_share == pytest.approx(0.6)
    assert "5 tasks want to run on the machine's 2 cores" in found.findings[0].evidence[1].text


def test_records_alone_show_collections_and_checkpoints(tmp_path: Path) -> None:
    """Older torch marks neither: the trace takes them for Python, the records say better."""
    extra: list[Part] = [(None, 20 * MS)]
    plain = of_cpu(tmp_path / "plain", extra)
    starts = [round(row.start_us * 1000) + round(row.breakdown_us.compute * 1000) + 2 * MS
              for row in plain.step_rows]  # fmt: skip
    pauses = [Collection(start_ns=START_NS + at, dur_us=15_000.0, generation=2) for at in starts]
    saved = [CheckpointWrite(start_ns=START_NS + at, dur_us=15_000.0, blocking_us=15_000.0,
                             call="torch.save") for at in starts]  # fmt: skip
    took = step_times([30_000.0] * 10, start_ns=START_NS)
    assert warned(plain) == ["python-overhead"]
    assert warned(of_cpu(tmp_path / "a", extra, took, *pauses))[0] == "garbage-collection"
    assert warned(of_cpu(tmp_path / "b", extra, took, *saved))[0] == "synchronous-checkpoint"


def test_slow_workers_are_found_with_their_bound(tmp_path: Path) -> None:
    wait = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    settings = LoaderInfo(loader=0, kind="map", dataset="D", num_workers=2, cores=8)
    made = [BatchMade(loader=0, batch=i, start_ns=i, fetch_us=60_000.0, collate_us=100.0,
                      cpu_us=59_000.0, worker=i % 2, pid=i % 2) for i in range(30)]  # fmt: skip
    waits = [BatchWait(loader=0, batch=i, start_ns=START_NS + 30 * MS * i, wait_us=20_000.0)
             for i in range(30)]  # fmt: skip
    took = step_times([30_000.0] * 30, 20_000.0, start_ns=START_NS)
    found = of_cpu(tmp_path, [(wait, 20 * MS)], settings, took, *made, *waits)
    assert warned(found) == ["dataloader-starvation"]
    assert "CPU-bound" in found.findings[0].title
    assert re.search(r"num_workers=7 would keep up", found.findings[0].remedy.text)
