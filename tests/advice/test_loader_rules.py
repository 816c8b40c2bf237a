"""Rules on DataLoaders beyond starvation: order, balance, threads and memory of workers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perfkit.model.diagnosis import Diagnosis, Finding
from perfkit.model.run_facts import LoaderFacts
from perfkit.model.settings import Settings
from perfkit.reports.advice import advise
from tests.advice.builder import diagnosis, found_of
from tests.advice.runs import loader, run, steps
from tests.advice.stores import GB, MB, WAIT_US, crew, place, reads, small_files

SLOW: dict[str, Any] = {"slowest": 2, "slowest_make_us": 120_000.0, "others_make_us": 60_000.0}
CROWDED: dict[str, Any] = {
    "made": 8,
    "cores_used": 6.0,
    "delay_share": 0.5,
    "threads": 40.0,
    "torch_threads": 1,
}
COPIED: dict[str, Any] = {
    "anonymous_bytes": 20 * GB, "private_bytes": 3 * GB, "private_growth_bytes": 2.0 * GB,
    "anonymous_growth_bytes": 0.1 * GB, "memory_bytes": 64 * GB,
}  # fmt: skip


def made_by(wait_us: float = WAIT_US, of: dict[str, Any] | None = None, **crews: Any) -> Diagnosis:
    return reads(of=loader(workers=crew(**crews), **(of or {})), wait_us=wait_us)


def late(share: float | None, wait_us: float = WAIT_US, **facts: Any) -> Diagnosis:
    usual: dict[str, Any] = {"in_order": True, "out_of_turn_share": share,
                             "longest_make_us": 400_000.0, "workers": crew()}  # fmt: skip
    return reads(of=loader(**(usual | facts)), wait_us=wait_us)


def forked(of: dict[str, Any] | None = None, **crews: Any) -> Diagnosis:
    return made_by(0.0, {"start_method": "fork"} | (of or {}), **(COPIED | crews))


ITERABLE: dict[str, Any] = {"kind": "iterable", "num_workers": 8}
# (code, why, diagnosis, severity)
FIRES = [
    ("worker-imbalance", "one is twice as slow", made_by(**SLOW), "critical"),
    ("worker-imbalance", "one is a tenth slower",
     made_by(**(SLOW | {"slowest_make_us": 66_000.0})), "warning"),
    ("worker-imbalance", "six of eight have no shard", made_by(of=ITERABLE, made=2), "critical"),
    ("batches-in-order", "half of the waiting", late(0.5), "critical"),
    ("batches-in-order", "a fifth of it", late(0.2), "warning"),
    ("batches-in-order", "whether order is kept was not seen", late(0.5, in_order=None),
     "critical"),
    ("loader-threads", "eight workers of six threads on 16 cores", made_by(**CROWDED), "critical"),
    ("loader-threads", "a little", made_by(**(CROWDED | {"delay_share": 0.15})), "warning"),
    ("dataset-copied-on-write", "20 GB of objects, 64 GB of memory", forked(), "warning"),
]  # fmt: skip

CODES = ("worker-imbalance", "batches-in-order", "loader-threads", "dataset-copied-on-write")
# (code, why, diagnosis)
SILENT = [
    *((code, "a trace file", diagnosis({"dataloader": WAIT_US})) for code in CODES),
    *((code, "workers were not seen", reads(of=loader())) for code in CODES),
    *((code, "all is well", made_by()) for code in CODES),
    ("worker-imbalance", "hidden", made_by(0.0, **SLOW)),
    ("worker-imbalance", "the slow one is in time", made_by(of={"use_us": 40_000.0}, **SLOW)),
    ("worker-imbalance", "those with data are in time",
     made_by(of={**ITERABLE, "use_us": 40_000.0}, made=2)),
    ("worker-imbalance", "no more than chance", made_by()),
    ("worker-imbalance", "a map-style dataset that ended early",
     made_by(of={"kind": "map", "num_workers": 8}, made=2)),
    ("worker-imbalance", "every worker has data", made_by(of=ITERABLE, made=8)),
    ("batches-in-order", "hidden", late(0.9, wait_us=0.0)),
    ("batches-in-order", "none stood ready", late(0.0)),
    ("batches-in-order", "off already", late(0.5, in_order=False)),
    ("batches-in-order", "the queue lasts longer than any batch takes",
     late(0.5, longest_make_us=100_000.0, prefetch_factor=4, use_us=30_000.0)),
    ("batches-in-order", "one worker", late(0.5, num_workers=1)),
    ("batches-in-order", "one slow worker, which worker-imbalance tells of",
     late(0.5, workers=crew(**SLOW))),
    ("loader-threads", "hidden", made_by(0.0, **CROWDED)),
    ("loader-threads", "one thread each", made_by(**(CROWDED | {"cores_used": 1.0}))),
    ("loader-threads", "cores enough", made_by(of={"cores": 64}, **CROWDED)),
    ("loader-threads", "they do not wait for cores", made_by(**(CROWDED | {"delay_share": 0.0}))),
    ("loader-threads", "delay is not counted here", made_by(**(CROWDED | {"delay_share": None}))),
    ("dataset-copied-on-write", "memory enough", forked(memory_bytes=512 * GB)),
    ("dataset-copied-on-write", "memory is not known", forked(memory_bytes=None)),
    ("dataset-copied-on-write", "a leak: memory grows as a whole",
     forked(anonymous_growth_bytes=2.0 * GB)),
    ("dataset-copied-on-write", "a worker's own buffers", forked(private_growth_bytes=20.0 * MB)),
    ("dataset-copied-on-write", "workers that were not forked", forked({"start_method": "spawn"})),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why", "case", "severity"), FIRES)
def test_fires(code: str, why: str, case: Diagnosis, severity: str) -> None:
    found = found_of(case, code)
    assert found.severity == severity, why
    assert 0 <= found.cost_us <= case.idle_us["dataloader"]
    assert (found.cost_us == 0) == (code == "dataset-copied-on-write")
    assert found.remedy.text.endswith(".")
    assert found.remedy.snippet
    said = " ".join([found.title, found.remedy.text, *(fact.text for fact in found.evidence)])
    assert "None" not in said


@pytest.mark.parametrize(("code", "why", "case"), SILENT)
def test_is_silent(code: str, why: str, case: Diagnosis) -> None:
    assert code not in [f.code for f in advise(case).findings], why


def test_imbalance_costs_what_even_work_would_return() -> None:
    # 66, 60, 60, 60: 61.5 on average; the slowest one hands over one of four batches
    found = found_of(made_by(**(SLOW | {"slowest_make_us": 66_000.0})), "worker-imbalance")
    assert found.cost_us == pytest.approx((66_000 - 61_500) / 4)


def test_imbalance_costs_no_more_than_the_steps_would_take() -> None:
    # a batch every 16.5 ms now, every 15.4 ms if even, and the steps take one every 16 ms
    slow = SLOW | {"slowest_make_us": 66_000.0}
    found = found_of(made_by(of={"use_us": 16_000.0}, **slow), "worker-imbalance")
    assert found.cost_us == pytest.approx(500.0)


def test_imbalance_never_costs_more_than_the_wait() -> None:
    assert found_of(made_by(300.0, **SLOW), "worker-imbalance").cost_us == 300.0


def test_imbalance_counts_the_batches_of_a_step() -> None:
    slow: dict[str, Any] = {"slowest": 0, "slowest_make_us": 1200.0, "others_make_us": 800.0}
    of = loader(workers=crew(**slow), batches=2 * 511, use_us=100.0)
    case = reads(of=of, steps=steps())
    assert found_of(case, "worker-imbalance").cost_us == pytest.approx(2 * (1200 - 900) / 4)


def test_workers_without_data_are_counted() -> None:
    found = found_of(made_by(of=ITERABLE, made=2), "worker-imbalance")
    assert found.title.startswith("6 of 8 workers have no data")
    assert "num_workers=2 is enough" in found.remedy.text


def test_a_late_batch_is_charged_its_share_and_told_with_numbers() -> None:
    found = found_of(late(0.5), "batches-in-order")
    assert found.cost_us == pytest.approx(0.5 * WAIT_US)
    assert "the longest one 400.0 ms, by 4 workers" in found.evidence[1].text
    assert "in_order=False" in (found.remedy.snippet or "")
    # 400 ms, of which the steps use up a batch every 10 ms, 10 of each worker; and one more
    assert "prefetch_factor=11" in found.remedy.text


def test_no_queue_is_named_that_would_not_help() -> None:
    text = found_of(late(0.5, longest_make_us=4_000_000.0), "batches-in-order").remedy.text
    assert "prefetch_factor" not in text


UNSEEN: dict[str, Any] = dict.fromkeys((
    "make_us", "fetch_us", "collate_us", "deliver_us", "workers_needed", "longest_make_us",
    "workers", "bound", "reason",
))  # fmt: skip


def test_of_workers_that_nobody_saw_no_pace_is_told() -> None:
    case = late(0.5, ready=0.2, **UNSEEN)
    assert [f.code for f in advise(case).findings] == ["dataloader-starvation"]
    found = found_of(case, "dataloader-starvation")
    assert "they started before the run" in found.remedy.text
    assert "num_workers" not in f"{found.remedy.snippet} {found.remedy.text}"


def test_batches_of_unseen_workers_that_stand_ready_are_handed_over() -> None:
    found = found_of(late(0.1, ready=3.5, **UNSEEN), "dataloader-starvation")
    assert "Batches stand ready in time" in found.remedy.text
    assert any("3.5 stood ready" in line.text for line in found.evidence)


def test_crowded_threads_are_told_by_number() -> None:
    said = " | ".join(f.text for f in found_of(made_by(**CROWDED), "loader-threads").evidence)
    assert "8 workers want 6 cores each, of 16 cores in all" in said
    assert "a worker has 40 threads" in said


def test_copies_that_fit_are_told_to_those_who_ask() -> None:
    case = forked(memory_bytes=512 * GB)
    (found,) = advise(
        case, settings=Settings(least_share=0.0), rules=["dataset-copied-on-write"]
    ).findings
    assert found.severity == "info"
    assert "4 workers with a copy of all of it need 100.0 GB" in found.evidence[1].text


def starved(of: LoaderFacts, **place_facts: Any) -> Finding:
    return found_of(reads(place(**place_facts), of=of), "dataloader-starvation")


@pytest.mark.parametrize(
    ("types", "words"),
    [({".jpeg": 90, ".txt": 4}, "decode_jpeg(device='cuda')"), ({".mp4": 5}, "torchcodec"),
     ({".flac": 5}, "resample"), ({".jsonl": 5}, "tokenize once"), ({".gz": 5}, "unpack once")],
)  # fmt: skip
def test_a_loader_that_computes_is_told_how_its_files_decode_faster(
    types: dict[str, int], words: str
) -> None:
    found = starved(loader(items=64.0, cpu_share=0.8), file_types=types)
    assert words in found.remedy.text
    assert "a sample takes 1.00 ms of processor time" in [fact.text for fact in found.evidence]
    waits = starved(loader(bound="io", items=64.0, cpu_share=0.1), file_types=types)
    assert words not in waits.remedy.text


@pytest.mark.parametrize("types", [None, {".weird": 9}])
def test_files_that_do_not_tell_add_nothing(types: dict[str, int] | None) -> None:
    assert "The files are" not in starved(loader(), file_types=types).remedy.text


def test_a_cold_cache_is_warmed_with_a_command() -> None:
    found = starved(loader(bound="cold cache"))
    assert "xargs -0 -P 8" in (found.remedy.snippet or "")


def test_others_that_stand_ready_are_not_the_batch_in_turn() -> None:
    fast: dict[str, Any] = {"deliver_us": 900.0, "ready": 3.5, "workers_needed": 1}
    assert "taking them over" in starved(loader(**fast)).remedy.text
    assert "single batches are late" in starved(loader(**fast, out_of_turn_share=0.8)).remedy.text


def test_spikes_set_the_depth_of_the_queue() -> None:
    of = loader(bound=None, deliver_us=6000.0, workers_needed=3, longest_make_us=200_000.0)
    found = found_of(reads(small_files(), of=of), "dataloader-starvation")
    assert "the longest takes 200.0 ms" in found.remedy.text
    assert "prefetch_factor=6" in (found.remedy.snippet or "")


def test_facts_of_workers_survive_json() -> None:
    case = diagnosis(run=run(loaders=[loader(workers=crew(**SLOW))]))
    again = Diagnosis.from_json(case.to_json())
    assert again.run is not None
    assert msgspec.structs.asdict(again.run.loaders[0])["workers"] == crew(**SLOW)


@pytest.mark.parametrize(("make_us", "is_quick"), [(500.0, True), (20_000.0, False)])
def test_batches_that_are_made_quickly_may_be_handed_over_no_faster(
    make_us: float, is_quick: bool
) -> None:
    case = reads(of=loader(num_workers=0, make_us=make_us, bound=None), wait_us=WAIT_US)
    text = found_of(case, "dataloader-starvation").remedy.text
    assert ("measure both" in text) is is_quick
