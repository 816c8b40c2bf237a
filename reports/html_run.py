"""The HTML report's section on the run: what the records of a Capture say beside the trace."""

from __future__ import annotations

from collections.abc import Sequence

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import (
    FileSystemFacts,
    GpuFacts,
    LoaderFacts,
    MemoryFacts,
    RunFacts,
    StepStats,
)
from perfkit.reports.format import clean, count, share, size, time_us
from perfkit.reports.html_tags import Html, code, join, section, table, tag, text
from perfkit.reports.run_summary import overhead_text, window_text

_NOTHING = Html("")
_ENDED = {
    "finished": "finished",
    "exception": "ended by an exception",
    "signal": "was ended by a signal",
}
Rows = Sequence[tuple[str, str]]


def run(diagnosis: Diagnosis, chart: Html) -> Html:
    """The section; of a trace file only its memory. `chart` is drawn where step times exist."""
    facts, memory = diagnosis.run, _values("Device memory", _memory_rows(diagnosis.memory))
    if facts is None:
        return section("memory", "Memory of the GPU", memory) if memory else _NOTHING
    drawn = bool(facts.steps and facts.steps.points)
    return section(
        "run",
        "The run",
        tag("p", text(_about(facts)), class_="quiet"),
        *([chart] if drawn else []),
        _steps(facts),
        *(_loader(loader) for loader in facts.loaders),
        _file_systems(facts.file_systems),
        _gpus(facts.gpus),
        _values("Host, checkpoints and garbage collection", _host_rows(facts)),
        memory,
        _missing(facts),
    )


def _about(run: RunFacts) -> str:
    ended = _ENDED.get(run.ended or "", "left no end")
    length = f" after {time_us(run.duration_us)}" if run.duration_us else ""
    where = f" on {clean(run.host)}" if run.host else ""
    rank = f"Rank {run.rank} of {run.world_size or run.ranks}{where}"
    return f"{rank}; {window_text(run)}. The run {ended}{length}."


def _steps(run: RunFacts) -> Html:
    steps = run.steps
    if steps is None:
        return _NOTHING
    profiled = f"profiled window{overhead_text(steps)}"
    rows = [
        _stats_row(name, stats)
        for name, stats in (("unprofiled", steps.unprofiled), (profiled, steps.window))
        if stats is not None
    ]
    header = ("steps", "count", "mean", "p50", "p95", "longest", "waiting for data", "of the step")
    first = (
        tag("p", text(f"The first step took {time_us(steps.first_us)} and is not among them."))
        if steps.first_us is not None
        else _NOTHING
    )
    return join((table("Step times over the run", header, rows, 1), first))


def _stats_row(name: str, stats: StepStats) -> list[Html]:
    times = (stats.mean_us, stats.p50_us, stats.p95_us, stats.max_us, stats.data_mean_us)
    return [
        text(name),
        text(count(stats.count)),
        *(text(time_us(value)) for value in times),
        text(share(stats.data_share)),
    ]


def _loader(loader: LoaderFacts) -> Html:
    name = clean(loader.dataset or f"loader {loader.loader}")
    return _values(f"DataLoader over {name}", _setting_rows(loader) + _making_rows(loader))


def _setting_rows(loader: LoaderFacts) -> list[tuple[str, str]]:
    settings = ("num_workers", "prefetch_factor", "pin_memory", "persistent_workers", "batch_size")
    named = [(name, getattr(loader, name)) for name in settings]
    return [(name, str(value)) for name, value in named if value is not None]


def _making_rows(loader: LoaderFacts) -> list[tuple[str, str]]:
    rows = [
        ("batches", count(loader.batches)),
        ("waited for a batch, mean", time_us(loader.wait_us)),
        ("waiting, of the steps' time", share(loader.wait_share)),
        ("batches ready when asked for, mean", count(loader.ready)),
        ("a batch takes to make", time_us(loader.make_us)),
        ("of it collating", time_us(loader.collate_us)),
        ("of it processor time", share(loader.cpu_share)),
        ("delivered one every", time_us(loader.deliver_us)),
        ("the step could take one every", time_us(loader.use_us)),
        ("workers that would suffice", count(loader.workers_needed)),
        ("read per batch", size(loader.rchar_bytes)),
        ("of it from storage", size(loader.read_bytes)),
        ("read calls per batch", count(loader.read_calls)),
        ("held up by", f"{loader.bound}: {loader.reason}" if loader.bound else "-"),
    ]
    return [row for row in rows if row[1] != "-"]


def _values(caption: str, rows: Rows) -> Html:
    """A table of names and values; nothing without a row."""
    if not rows:
        return _NOTHING
    return table(caption, ("what", "value"), [[text(name), text(value)] for name, value in rows], 1)


def _file_systems(places: list[FileSystemFacts]) -> Html:
    if not places:
        return _NOTHING
    header = ("used for", "path", "file system", "mounted at", "files", "size", "layout")
    rows = [
        [
            text(place.role),
            code(place.path),
            text(place.kind),
            code(place.mount),
            text(count(place.files) + ("+" if place.partial else "")),
            text(size(place.bytes) + ("+" if place.partial else "")),
            text(", ".join(f"{k} {v}" for k, v in (place.layout or {}).items()) or "-"),
        ]
        for place in places
    ]
    return table("File systems", header, rows, 4)


def _gpus(gpus: list[GpuFacts]) -> Html:
    if not gpus:
        return _NOTHING
    header = ("GPU", "held down by", "utilized", "power", "SM clock", "hottest", "most memory")
    rows = [
        [
            text(str(gpu.device)),
            text(
                ", ".join(f"{r.name} {share(r.share)} ({r.judgement})" for r in gpu.reasons) or "-"
            ),
            text(share(gpu.utilization)),
            text(f"{count(gpu.power_w)} W" if gpu.power_w is not None else "-"),
            text(f"{count(gpu.sm_clock_mhz)} MHz" if gpu.sm_clock_mhz is not None else "-"),
            text(f"{count(gpu.temperature_max_c)} C" if gpu.temperature_max_c is not None else "-"),
            text(size(gpu.memory_used_max_bytes)),
        ]
        for gpu in gpus
    ]
    faults = [f"GPU {gpu.device}: Xid {', '.join(map(str, gpu.xids))}" for gpu in gpus if gpu.xids]
    said = tag("p", text("; ".join(faults))) if faults else _NOTHING
    return join((table("GPUs, as NVML sampled them", header, rows, 2), said))


def _host_rows(run: RunFacts) -> list[tuple[str, str]]:
    host, written, gc = run.cpu, run.checkpoints, run.gc
    rows: list[tuple[str, str]] = []
    if host is not None:
        switches = host.involuntary_switches_per_s
        rows += [
            ("training thread without a core", share(host.run_delay_share)),
            ("taken off a core", f"{count(switches)} times a second" if switches else "-"),
            ("cores", count(host.cores)),
            ("tasks that want to run, mean", count(host.load)),
            ("largest resident size", size(host.rss_max_bytes)),
        ]
    if written is not None:
        rows += [
            ("checkpoints", count(written.count)),
            ("a checkpoint holds the step", time_us(written.blocking_mean_us)),
            ("checkpoints, per step", time_us(written.blocking_us_per_step)),
            ("written per second", size(written.bytes_per_s)),
        ]
    if gc is not None:
        rows += [
            ("garbage collections", f"{count(gc.count)}, {count(gc.full_count)} of them full"),
            ("garbage collection, per step", time_us(gc.us_per_step)),
            ("longest collection", time_us(gc.longest_us)),
        ]
    return [row for row in rows if row[1] != "-"]


def _memory_rows(memory: MemoryFacts | None) -> list[tuple[str, str]]:
    if memory is None:
        return []
    growth, failed = memory.creep_bytes_per_step, memory.failed
    rows = [
        ("most allocated", size(memory.peak_allocated_bytes)),
        ("most reserved", size(memory.peak_reserved_bytes)),
        ("growth per step", size(growth) if growth is not None else "-"),
        ("retries at the limit", count(memory.retries)),
        ("out of memory", count(memory.ooms)),
        *((f"peak in {k}", size(v)) for k, v in memory.peak_by_phase_bytes.items()),
        ("asked for when it failed", size(failed.asked_bytes if failed else None)),
    ]
    return [row for row in rows if row[1] != "-"]


def _missing(run: RunFacts) -> Html:
    if not run.missing:
        return _NOTHING
    listed = tag("ul", *(tag("li", text(line)) for line in run.missing))
    head = tag("summary", text(f"What was not recorded ({count(len(run.missing))})"))
    return tag("details", head, listed)
