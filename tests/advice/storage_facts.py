"""Diagnoses of runs that read from storage, from what commands and the kernel print of it.

A case is a table of labels/storage.toml. `mountinfo` is the line of /proc/self/mountinfo, which
must be there; `getstripe`, `llite` and `mountstats` are the output of `lfs getstripe`, of
`lctl get_param llite.*.stats` and of /proc/self/mountstats. `files` and `loader` are further facts
of the file system and of the loader (`workers` in it those of its worker processes), `ranks` the
world's size, `idle_us` the idle time of a 10 ms step by cause.
"""

from __future__ import annotations

from typing import Any

from perfkit.collectors.lustre import parse_layout, parse_stats
from perfkit.collectors.mounts import parse_mountinfo
from perfkit.collectors.nfs import parse_mountstats
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import FileSystemFacts, RunFacts
from perfkit.model.worker_facts import WorkerFacts
from tests.advice.builder import diagnosis
from tests.advice.runs import loader, run, steps


def diagnosis_of(case: dict[str, Any]) -> Diagnosis:
    """What the analyzers would have said of this run."""
    return diagnosis(case.get("idle_us", {}), run=_run(case), **case.get("more", {}))


def _run(case: dict[str, Any]) -> RunFacts:
    found = {"ready": 0.0, "batch_size": 64, **case.get("loader", {})}
    if "workers" in found:
        found["workers"] = WorkerFacts(**found["workers"])
    return run(
        loaders=[loader(**found)],
        file_systems=[_file_system(case)],
        steps=steps(),
        world_size=case.get("ranks"),
    )


def _file_system(case: dict[str, Any]) -> FileSystemFacts:
    (mount,) = parse_mountinfo(case["mountinfo"])
    path = f"{mount.point}/train"
    layout = parse_layout(case["getstripe"], path) if "getstripe" in case else None
    counters = {
        **parse_stats(case.get("llite", ""), "llite"),
        **parse_mountstats(case.get("mountstats", ""), mount.point),
    }
    return FileSystemFacts(
        role="dataset", path=path, mount=mount.point, kind=mount.kind, family=mount.family,
        source=mount.source, options=list(mount.options), layout=layout,
        counters=counters or None, **case.get("files", {}),
    )  # fmt: skip
