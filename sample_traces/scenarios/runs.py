"""One run of a scenario in a fresh process: measured without a profiler, or recorded by perfkit."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import multiprocessing
import os
import platform
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sample_traces.scenarios.base import WARM_STEPS, Form, Setting

PATIENCE_S = 180
_GRACE_S = 5
WAIT, WARM_UP = 10, 3
_PRELOADED = ["torch", "torch.utils.data"]  # once for all runs; nothing of it runs before them
R = TypeVar("R")


@dataclass(frozen=True)
class Run:
    """Which run: `steps` are those that are measured, or all that are recorded.

    `options` of its DataLoader replace the scenario's own. It runs inside of the folder `where`, so
    that no path it meets names the machine.
    """

    scenario: str
    device: str
    form: Form
    dose: float
    steps: int
    where: Path
    options: Mapping[str, Any] = field(default_factory=dict)


class RunError(Exception):
    """A run raised, hung or died; the text says which."""


def in_fresh_process(call: Callable[[], R]) -> R:
    """What the call returns in a process of its own; RunError when it does not return."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(call, there))
    process.start()
    there.close()
    try:
        result: R = _received(here, process)
        process.join(_GRACE_S)
        return result
    finally:
        process.kill()
        process.join()


def _received(here: Connection, process: Any) -> Any:
    if not here.poll(PATIENCE_S):
        raise RunError(f"nothing came back within {PATIENCE_S} s")
    try:
        failure, result = here.recv()
    except EOFError:
        process.join(_GRACE_S)
        raise RunError(f"the process died (exit status {process.exitcode})") from None
    if failure:
        raise RunError(failure)
    return result


def _answer(call: Callable[[], Any], there: Connection) -> None:
    multiprocessing.set_start_method("fork", force=True)  # as loaders do elsewhere, and quicker
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    try:
        answer = ("", call())
    except Exception:
        answer = (traceback.format_exc(), None)
    there.send(answer)


def measure(run: Run) -> float:
    """Milliseconds a step without any profiler, waits for the GPU's end included."""
    return in_fresh_process(functools.partial(_measured, run))


def record(run: Run, folder: Path, active: int) -> None:
    """Record the run as a Capture in `folder`, a path inside of `run.where`."""
    in_fresh_process(functools.partial(_recorded, run, folder, active))


def device_name(device: str) -> str:
    """What the device calls itself, such as "NVIDIA H100 80GB HBM3"."""
    return in_fresh_process(functools.partial(_device_name, device))


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _measured(run: Run) -> float:
    """From the end of the last warm step to the end of the last one: no worker starts or ends."""
    times = []
    steps = WARM_STEPS + run.steps
    with _program(run, steps) as program:
        for number, batch in enumerate(program.loader, 1):
            program.step(batch)
            if number in (WARM_STEPS, steps):
                _wait_for_device(run.device)
                times.append(time.perf_counter())
    return (times[1] - times[0]) / run.steps * 1000


def _recorded(run: Run, folder: Path, active: int) -> None:
    import perfkit

    logging.basicConfig(level=logging.WARNING)
    with (
        _program(run, run.steps) as program,
        perfkit.profile(folder, wait=WAIT, warmup=WARM_UP, active=active, watch=False) as profile,
    ):
        for batch in profile.steps(program.loader):
            program.step(batch)


@contextlib.contextmanager
def _program(run: Run, steps: int) -> Iterator[Any]:
    """The scenario's program, with a scratch folder that goes with it."""
    scenario = importlib.import_module("sample_traces.scenarios").SCENARIOS[run.scenario]
    os.chdir(run.where)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=".") as scratch:
        folder = Path(Path(scratch).name)
        setting = Setting(run.device, run.form, run.dose, steps, folder, run.options)
        with scenario.program(setting) as program:
            yield program


def _wait_for_device(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
