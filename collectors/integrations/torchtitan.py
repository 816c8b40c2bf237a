"""torchtitan: a post-processor that analyzes each trace its profiler has written.

torchtitan's main branch has the hook; release 0.2.2 does not have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from perfkit.collectors.guard import attempt, disabled, guarded, say_once

_NICENESS = 10
_REPORTS = ("report.html", "diagnosis.json")


@guarded("Analyzing a trace")
def analyze_trace(trace_path: str) -> None:
    """Analyze a finished trace; give it to torchtitan's profiler.

        config.profiler.trace_post_processor = Function.Config(fn=analyze_trace)

    Of `rank0_trace.json.gz` it writes `rank0_report.html` and `rank0_diagnosis.json` beside it,
    for ranks share a folder. That happens in a process of low priority, while training goes on.
    Never raises; what goes wrong is logged.
    """
    if not disabled():
        arguments = (_command(Path(trace_path).absolute()), trace_path)
        name = "perfkit-analyze"
        threading.Thread(target=_run, args=arguments, name=name, daemon=True).start()


def _command(trace: Path) -> list[str]:
    html, json = (str(trace.parent / f"{_prefix(trace)}{name}") for name in _REPORTS)
    command = [sys.executable, "-m", "perfkit", "analyze", str(trace)]
    return [*command, "--html", html, "--json", json]


def _prefix(trace: Path) -> str:
    """Of `rank0_trace.json.gz`, `rank0_`."""
    prefix = trace.name.removesuffix(".gz").removesuffix(".json").removesuffix("trace")
    return prefix if not prefix or prefix[-1] in "_-." else f"{prefix}_"


def _run(command: list[str], trace_path: str) -> None:
    """A daemon's work: the process lives on where training ends before it."""
    attempt("Analyzing a trace", _wait_for, command, trace_path)


def _wait_for(command: list[str], trace_path: str) -> None:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        with suppress(OSError, AttributeError):  # Windows has no niceness
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        _, errors = process.communicate()
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        say_once(f"{trace_path} was not analyzed: {lines[-1] if lines else 'no reason given'}")
