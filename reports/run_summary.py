"""A run beside its trace in a few lines that fit a screen: steps, input, storage, devices."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis
from perfkit.model.run_facts import GpuFacts, LoaderFacts, RunFacts, RunSteps
from perfkit.reports.format import clean, count, plural, share, size, time_us

_REASONS = {
    "schedule": "by schedule",
    "slow-step": "for a slow step",
    "slow-steps": "for steps that became slower",
    "signal": "by a signal",
}
_LITTLE_OVERHEAD = 0.005
_NOISE = 0.1  # of the step: windows of equal steps differ as much
_ROLES = {"dataset": "data", "checkpoint": "checkpoints", "capture": "records"}
_BOUND = {
    "cpu": "CPU-bound",
    "io": "I/O-bound",
    "waiting": "waiting, not for files",
    "collate": "collate-bound",
}


def run_lines(diagnosis: Diagnosis) -> list[str]:
    """At most four lines; none for a trace file."""
    run = diagnosis.run
    if run is None:
        return []
    found = [_steps_line(run), _input_line(run), _places_line(run), _devices_line(run)]
    return [line for line in found if line]


def window_text(run: RunFacts) -> str:
    """Which window was analyzed, of how many, and why it was recorded."""
    window = run.window
    which = f"window {window.number} of {window.count}"
    if window.first_step is not None and window.steps:
        which += f", steps {window.first_step} to {window.first_step + window.steps - 1}"
    reason = _REASONS.get(window.reason or "", clean(window.reason or ""))
    return f"{which}, {reason}" if reason else which


def _steps_line(run: RunFacts) -> str:
    rank = f" of rank {run.rank}" if run.ranks > 1 or (run.world_size or 1) > 1 else ""
    window = f"window {run.window.number} of {run.window.count}{rank}"
    reason = f" ({clean(run.window.reason)})" if run.window.reason else ""
    return f"Run: {_pace(run.steps)}{window}{reason}."


def _pace(steps: RunSteps | None) -> str:
    if steps is None or steps.unprofiled is None:
        return ""
    pace = f"{plural(steps.unprofiled.count, 'step')} of {time_us(steps.unprofiled.mean_us)}"
    if steps.window is None:
        return f"{pace}; "
    return f"{pace}, profiled {time_us(steps.window.mean_us)}{overhead_text(steps)}; "


def overhead_text(steps: RunSteps) -> str:
    """The profiler's overhead in parentheses; empty where it is not known.

    Where profiled steps are clearly shorter, that is no overhead: the run was another one then.
    """
    more = steps.overhead_share
    if more is None:
        return ""
    if more < -_NOISE:
        return " (a window unlike the run)"
    return " (the same)" if abs(more) < _LITTLE_OVERHEAD else f" ({more * 100:+.0f} %)"


def _input_line(run: RunFacts) -> str:
    loader = max(run.loaders, key=lambda found: found.wait_share or 0.0, default=None)
    waits = run.steps.unprofiled.data_share if run.steps and run.steps.unprofiled else None
    unseen = loader is None and not waits  # a loader of the user's own, whose waits nobody marked
    said = [] if waits is None or unseen else [f"{share(waits)} of a step waited"]
    said += _loader_words(loader) if loader is not None else []
    return f"Input: {'; '.join(said)}." if said else ""


def _loader_words(loader: LoaderFacts) -> list[str]:
    who = "no workers" if loader.num_workers == 0 else plural(loader.num_workers or 0, "worker")
    words = [who] if loader.num_workers is not None else []
    if loader.bound:
        words.append(_BOUND.get(loader.bound, loader.bound))
    if loader.deliver_us is not None:
        words.append(f"a batch every {time_us(loader.deliver_us)}")
    return words


def _places_line(run: RunFacts) -> str:
    roles: dict[str, list[str]] = {}
    for place in run.file_systems:
        roles.setdefault(f"{clean(place.kind)} ({clean(place.mount)})", []).append(
            _ROLES.get(place.role, clean(place.role))
        )
    said = [f"{', '.join(dict.fromkeys(what))} on {where}" for where, what in roles.items()]
    written = run.checkpoints
    if written is not None:
        rate = f" at {size(written.bytes_per_s)}/s" if written.bytes_per_s is not None else ""
        said.append(f"{plural(written.count, 'checkpoint')}{rate}")
    return f"Storage: {'; '.join(said)}." if said else ""


def _devices_line(run: RunFacts) -> str:
    if run.gpus:
        return f"GPU: {'; '.join(_gpu_words(gpu, len(run.gpus) > 1) for gpu in run.gpus[:2])}."
    host = run.cpu
    if host is None or host.run_delay_share is None:
        return ""
    cores = f" ({plural(host.cores, 'core')})" if host.cores else ""
    waited = share(host.run_delay_share)
    return f"CPU: the training thread had no core {waited} of the time{cores}."


def _gpu_words(gpu: GpuFacts, several: bool) -> str:
    words = [f"device {gpu.device}"] if several else []
    if gpu.utilization is not None:
        words.append(f"{share(gpu.utilization)} utilized")
    if gpu.power_w is not None:
        words.append(f"{count(gpu.power_w)} W")
    if gpu.sm_clock_mhz is not None:
        words.append(f"{count(gpu.sm_clock_mhz)} MHz")
    slowed = [r for r in gpu.reasons if r.judgement in ("warn", "error")]
    words += [f"{r.name} {share(r.share)} of the time" for r in slowed[:2]]
    words += [f"Xid {', '.join(map(str, gpu.xids))}"] if gpu.xids else []
    none = "no sample while steps ran" if not gpu.samples else plural(gpu.samples, "sample")
    return ", ".join(words) if words else none
