"""Profiled windows: the PyTorch Profiler for a few steps, its trace compressed beside the run."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
from collections.abc import Callable
from importlib import import_module
from math import inf
from pathlib import Path
from typing import IO, Any, Literal

from perfkit.collectors.guard import attempt, say_once
from perfkit.collectors.patches import Patches
from perfkit.collectors.protocol import Run
from perfkit.collectors.ranges import PREFIX, close_all, make_phases_cheap
from perfkit.model.capture import Schedule, Sight, Window

Reason = Literal["schedule", "slow-step", "slow-steps", "signal"]
_PATIENCE_S = 30
_COMPRESSION = 3  # of 9: a third of the time of the default for files a tenth larger


class TorchProfiler:
    """Opens windows by schedule or on request; `on_window` hears of each finished trace file.

    Step `n` is what `step(n)` ends. A window's first step begins at a step's end, so that marks
    tile the time line.
    """

    name = "torch profiler"

    def __init__(self, schedule: Schedule, on_window: Callable[[Window], None]) -> None:
        self._schedule = schedule
        self._on_window = on_window
        self._run: Run | None = None
        self._window: _OpenWindow | None = None
        self.recording = False
        """Whether a window is open, warm-up included."""
        self._next_start: float = schedule.wait if schedule.repeat else inf
        self._left = schedule.repeat
        self._requested: Reason | None = None
        self._packing: list[threading.Thread] = []

    def sight(self) -> Sight:
        """Whether torch can profile here, and devices too."""
        return _sight()

    def start(self, run: Run) -> None:
        """Begin; with `wait=0` the first window opens at once."""
        self._run = run
        self._open_if_due(0)

    def request(self, reason: Reason) -> None:
        """Open a window at the next step, unless one is open."""
        if self._window is None:
            self._requested = reason

    def step(self, step: int) -> float:
        """Move the open window on, or open the next one."""
        if self._window is not None:
            if self._window.step():
                self._close()
                self._next_start = step + 1 + self._schedule.wait if self._left else inf
        elif step + 1 >= self._next_start or self._requested:
            self._open_if_due(step + 1)
        return step + 1 if self.recording else max(self._next_start - 1, step + 1)

    def stop(self) -> None:
        """End an open window, keeping the steps it has, and wait for files to be compressed."""
        if self._window is not None and _device_is_idle():
            self._close()
        self._next_start, self._requested = inf, None
        for thread in self._packing:
            thread.join()

    def _open_if_due(self, step: int) -> None:
        if self._run is None or not (step >= self._next_start or self._requested):
            return
        reason: Reason = self._requested or "schedule"
        self._requested = None
        if reason == "schedule":
            self._left -= 1
            self._next_start = step + self._schedule.wait if self._left else inf
        self._window = _opened(self._run, self._schedule, step, reason, self._give_way)
        self.recording = self._window is not None

    def _give_way(self) -> None:
        """The user starts a profiler of their own, and only one can run: drop this window."""
        say_once("Another profiler was started in this process, so this window was given up.")
        if self._window is not None:
            window, self._window, self.recording = self._window, None, False
            window.abandon()

    def _close(self) -> None:
        window, self._window, self.recording = self._window, None, False
        if window is None or self._run is None:
            return
        trace = window.close()
        if trace is None:
            return
        thread = threading.Thread(
            target=attempt,
            args=("Compressing a trace", self._pack, trace, window.facts(), window.unfinished),
            name="perfkit-gzip",
        )
        thread.start()
        self._packing.append(thread)

    def _pack(self, trace: Path, window: Window, unfinished: int | None) -> None:
        packed = trace.with_name(window.file)
        try:
            with trace.open("rb") as plain, gzip.open(packed, "wb", _COMPRESSION) as target:
                _copy(plain, target, unfinished)
            packed.replace(trace.parent.with_name(window.file))
        finally:
            shutil.rmtree(trace.parent, ignore_errors=True)
        self._on_window(window)


class _OpenWindow:
    def __init__(
        self, run: Run, schedule: Schedule, step: int, reason: Reason, give_way: Callable[[], None]
    ) -> None:
        self._plan = schedule
        self._first = step
        self._reason = reason
        self._steps = 0
        self._trace: Path | None = None
        self.unfinished: int | None = None
        """Number of the step that ran as the window was closed before its end."""
        self._scratch = run.folder / f".window{step}.{os.getpid()}"
        on_gpu = bool(_torch().cuda.is_initialized())
        self._profiler = _profiler(run, on_gpu, self._action, self._export)
        self._profiler.step_num = step
        self._profiler.start()
        make_phases_cheap(not on_gpu)  # on a GPU, Kineto shows annotations in its rows too
        self._patches = _before_another_profiler(give_way)

    @property
    def is_done(self) -> bool:
        return self._steps >= self._plan.warmup + self._plan.active

    def step(self) -> bool:
        """A step has ended; whether it was the last one."""
        self._steps += 1
        is_done = self.is_done
        if is_done:
            attempt("Ending ranges", self._end_ranges)
        self._profiler.step()
        return is_done

    def close(self) -> Path | None:
        """Stop; the path of the trace, None where no step was recorded."""
        self._patches.undo()
        if not self.is_done:
            self.unfinished = self._profiler.step_num
            attempt("Ending ranges", self._end_ranges)
        self._profiler.stop()
        return self._trace

    def _end_ranges(self) -> None:
        """The step's mark first, so that looking for the others is no part of the step."""
        make_phases_cheap(False)
        mark = getattr(self._profiler, "step_rec_fn", None)
        if mark is not None:
            mark.__exit__(None, None, None)
        close_all()

    def abandon(self) -> None:
        """Stop and keep nothing."""
        self._patches.undo()
        make_phases_cheap(False)
        attempt("Ending ranges", close_all)
        self._profiler.on_trace_ready = None
        attempt("Stopping the profiler", self._profiler.stop)

    def facts(self) -> Window:
        first = self._first + self._plan.warmup
        return Window(
            file=f"window{first}.pt.trace.json.gz",
            first_step=first,
            steps=min(self._steps - self._plan.warmup, self._plan.active),
            reason=self._reason,
        )

    def _export(self, profiler: Any) -> None:
        """Kineto compresses slowly and leaves pieces when it fails, so it writes into a scratch."""
        if self._steps > self._plan.warmup:
            self._scratch.mkdir(exist_ok=True)
            self._trace = self._scratch / "trace.json"
            profiler.export_chrome_trace(str(self._trace))

    def _action(self, step: int) -> Any:
        from torch.profiler import ProfilerAction

        at = max(step - self._first, 0)
        if at < self._plan.warmup:
            return ProfilerAction.WARMUP
        last = self._plan.warmup + self._plan.active - 1
        if at < last:
            return ProfilerAction.RECORD
        return ProfilerAction.RECORD_AND_SAVE if at == last else ProfilerAction.NONE


def _opened(
    run: Run, schedule: Schedule, step: int, reason: Reason, give_way: Callable[[], None]
) -> _OpenWindow | None:
    if _torch().autograd._profiler_enabled():
        say_once("A profiler runs already in this process, so perfkit opened no window beside it.")
        return None
    return _OpenWindow(run, schedule, step, reason, give_way)


_OPERATOR, _ANNOTATION = (
    tuple(f'"cat": "{kind}",{between}"name": "{PREFIX}'.encode() for between in (" ", "\n    "))
    for kind in ("cpu_op", "user_annotation")
)
"""How Kineto writes the first of an event, on one line or, lately, on several."""


def _copy(plain: IO[bytes], target: gzip.GzipFile, unfinished: int | None) -> None:
    """Phases that were recorded as operators are written as the annotations that they are.

    The mark of an unfinished step is none of a step.
    """
    changes = list(zip(_OPERATOR, _ANNOTATION, strict=True))
    if unfinished is not None:
        changes.append((f'"ProfilerStep#{unfinished}"'.encode(), f'"{PREFIX}unfinished"'.encode()))
    rest = b""
    while chunk := plain.read(1 << 18):
        events, mark, rest = (rest + chunk).rpartition(b'"ph"')
        target.write(_changed(events, changes))
        rest = mark + rest
    target.write(_changed(rest, changes))


def _changed(events: bytes, changes: list[tuple[bytes, bytes]]) -> bytes:
    for old, new in changes:
        events = events.replace(old, new)
    return events


def _profiler(
    run: Run, on_gpu: bool, action: Callable[[int], Any], ready: Callable[[Any], None]
) -> Any:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    return profile(
        activities=activities,
        schedule=action,
        on_trace_ready=ready,
        record_shapes=run.record_shapes,
        with_stack=run.with_stack,
        experimental_config=_extras(run.with_stack),
    )


_WANTED = {"enable_cuda_sync_events": True, "record_python_gc_info": True, "trace_only": True}
"""What makes causes clearer or the window cheaper, where this torch knows it."""
_NOT_WITH_STACKS = frozenset({"trace_only"})  # torch warns of it, and does without


def _extras(with_stack: bool) -> Any:
    config = _torch()._C._profiler._ExperimentalConfig
    known = config.__init__.__doc__ or ""
    left_out = _NOT_WITH_STACKS if with_stack else frozenset()
    return config(**{k: v for k, v in _WANTED.items() if f"{k}: " in known and k not in left_out})


def _before_another_profiler(give_way: Callable[[], None]) -> Patches:
    """Call `give_way` before any other torch profiler starts, until the patch is undone."""
    profiler = _torch().autograd.profiler
    original = profiler._prepare_profiler

    def prepare(*args: Any, **kwargs: Any) -> Any:
        attempt("Giving way to another profiler", give_way)
        return original(*args, **kwargs)

    patches = Patches()
    patches.put(profiler, "_prepare_profiler", prepare)
    return patches


def _device_is_idle() -> bool:
    """Wait for the GPU; where it hangs, such as in a collective, so would stopping the profiler."""
    cuda = _torch().cuda
    patience = time.monotonic() + _PATIENCE_S
    while cuda.is_initialized() and not cuda.current_stream().query():
        if time.monotonic() > patience:
            say_once(f"The GPU still ran after {_PATIENCE_S} s, so the open window was given up.")
            return False
        time.sleep(0.05)
    return True


def _torch() -> Any:
    return import_module("torch")


def _sight() -> Sight:
    name = TorchProfiler.name
    try:
        torch = _torch()
    except ImportError:
        missing = ["Profiled windows need PyTorch: install torch in this environment."]
        return Sight(collector=name, active=False, missing=missing)
    if not torch.autograd.kineto_available():
        missing = ["This build of torch has no Kineto: install an official wheel."]
        return Sight(collector=name, active=False, missing=missing)
    seen = {activity.name for activity in torch.profiler.supported_activities()}
    missing = [] if seen & {"CUDA", "XPU"} else _why_no_device(torch)
    return Sight(
        collector=name, active=True, sees=[f"{a} activity" for a in sorted(seen)], missing=missing
    )


def _why_no_device(torch: Any) -> list[str]:
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return ["This torch is built for CPUs: install a CUDA or ROCm build to see the GPU."]
    return ["Kineto cannot reach CUPTI: check that the driver is loaded and the GPU visible."]
