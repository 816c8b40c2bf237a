"""What a training step is in: waiting for data, forward, backward, optimizer."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Any

from perfkit.collectors.guard import guarded
from perfkit.collectors.patches import Patches
from perfkit.collectors.ranges import Handle, close_range, listening, open_range


class Phases:
    """The phase of the training thread, marked as ranges `perfkit::<phase>`.

    Backward and optimizer are seen through torch's own hooks, the data wait through `waiting`;
    forward is what runs between the data (or the step's start) and the backward pass.
    On the training thread `on_optimizer` is called when an optimizer has stepped (with its id),
    and `on_wait` before a batch is waited for.
    """

    def __init__(self, on_optimizer: Callable[[int], None], on_wait: Callable[[], None]) -> None:
        self.current: str | None = None
        self.data_ns = 0
        """Time waited for data since `take_data_ns`."""
        self.thread = threading.get_ident()
        self._on_optimizer = on_optimizer
        self.on_wait = on_wait
        self.has_backward = False
        """Whether a backward pass has been seen, so that an optimizer step is to be expected."""
        self.on_phase_end: list[Callable[[str], None]] = []
        self._range: Handle | None = None
        self._undo: list[Callable[[], object]] = []
        self._patches = Patches()

    def install(self) -> None:
        """Hook into torch: its backward pass and every optimizer."""
        torch = import_module("torch")
        hooks = import_module("torch.optim.optimizer")
        before = hooks.register_optimizer_step_pre_hook(self._optimizer_begins)
        self._undo.append(before.remove)
        self._undo.append(hooks.register_optimizer_step_post_hook(self._optimizer_ended).remove)
        self._patches.put(torch.autograd, "backward", self._around(torch.autograd.backward))

    def remove(self) -> None:
        """Undo every hook and close what is open."""
        self.enter(None)
        self.thread = -1
        while self._undo:
            self._undo.pop()()
        self._patches.undo()

    def enter(self, phase: str | None) -> None:
        """Leave the phase the step is in for this one (None: outside of any)."""
        if self._range is not None:
            close_range(self._range)
        if self.current is not None:
            for call in self.on_phase_end:
                call(self.current)
        self.current = phase
        self._range = open_range(f"perfkit::{phase}") if phase and listening() else None

    def waiting(self) -> _Wait:
        """A context manager around the wait for a batch; nested ones count once."""
        return _Wait(self)

    def take_data_ns(self) -> int:
        """The data wait since the last call."""
        taken, self.data_ns = self.data_ns, 0
        return taken

    def is_training_thread(self) -> bool:
        """Whether the caller is on the thread that takes the steps."""
        return threading.get_ident() == self.thread

    @guarded("Marking the optimizer")
    def _optimizer_begins(self, *_: Any) -> None:
        if self.is_training_thread():
            self.enter("optimizer")

    @guarded("Marking the optimizer")
    def _optimizer_ended(self, optimizer: Any, *_: Any) -> None:
        if self.is_training_thread():
            self.enter(None)
            self._on_optimizer(id(optimizer))

    def _around(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def marked(*args: Any, **kwargs: Any) -> Any:
            self._backward_begins()
            try:
                return backward(*args, **kwargs)
            finally:
                self._backward_ended()

        return marked

    @guarded("Marking the backward pass")
    def _backward_begins(self) -> None:
        if self.is_training_thread():
            self.has_backward = True
            self.enter("backward")

    @guarded("Marking the backward pass")
    def _backward_ended(self) -> None:
        if self.is_training_thread():
            self.enter(None)


class _Wait:
    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self._outermost = False
        self._began = 0

    @guarded("Marking the data wait")
    def __enter__(self) -> None:
        phases = self._phases
        self._outermost = phases.is_training_thread() and phases.current != "data"
        if self._outermost:
            phases.on_wait()
            phases.enter("data")
            self._began = time.perf_counter_ns()

    @guarded("Marking the data wait")
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._outermost:
            self._phases.data_ns += time.perf_counter_ns() - self._began
            self._phases.enter("forward" if kind is None else None)
