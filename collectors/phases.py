"""What a training step is in: waiting for data, forward, backward, optimizer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from perfkit.collectors.guard import failed
from perfkit.collectors.patches import Patches
from perfkit.collectors.ranges import Handle, close_range, listener, open_phase


class Phases:
    """The data wait of the training thread, and its phase as ranges `perfkit::<phase>`.

    Backward and optimizer are seen through torch's own hooks, the data wait through `begin_wait`
    and `end_wait`; forward is what runs between the data (or the step's start) and the backward
    pass. Phases are told apart only while somebody looks: a profiler, or what stands in
    `on_phase_end`. On the training thread `on_optimizer` is called when an optimizer has stepped
    (with its id), and `on_wait` before a batch is waited for, where they are set.

    Whoever drives this calls `look` between steps; waits do so by themselves.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self.looked_at = False
        """Whether phases are told apart, as far as was known at the last `look`."""
        self.data_ns = 0
        """Time waited for data since `take_data_ns`."""
        self.thread = get_ident()
        self.on_optimizer: Callable[[int], None] | None = None
        self.on_wait: Callable[[], None] | None = None
        self.has_backward = False
        """Whether a backward pass has been seen, so that an optimizer step is to be expected."""
        self.on_phase_end: list[Callable[[str], None]] = []
        self._listening = listener()
        self._waits = False
        self._wait_began_ns = 0
        self._range: Handle | None = None
        self._undo: list[Callable[[], object]] = []
        self._patches = Patches()

    def install(self) -> None:
        """Hook into torch: its backward pass and every optimizer."""
        torch = import_module("torch")
        self._listening = listener()
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
        if self.on_phase_end and self.current is not None:
            for call in tuple(self.on_phase_end):
                call(self.current)
        self.current = phase
        self._range = open_phase(phase) if phase and self._listening() else None

    def enter_here(self, phase: str | None) -> None:
        """The same where the caller is on the training thread; raises nothing."""
        if get_ident() != self.thread:
            return
        try:
            self.enter(phase)
        except Exception as error:
            failed("Marking a phase", error)

    def look(self) -> bool:
        """Find out whether anybody looks at phases now; where nobody does, none is left open."""
        looked_at = self.looked_at = self._listening() or bool(self.on_phase_end)
        if not looked_at and self.current is not None:
            self.enter(None)
        return looked_at

    def begin_wait(self) -> bool:
        """The caller waits for a batch from here on. True: it must call `end_wait` after it.

        False on other threads, and inside of another wait.
        """
        if self._waits or get_ident() != self.thread:
            return False
        try:
            if self.on_wait is not None:
                self.on_wait()
            if self.look():
                self.enter("data")
        except Exception as error:
            failed("Marking the data wait", error)
        self._waits, self._wait_began_ns = True, perf_counter_ns()
        return True

    def end_wait(self, completed: bool) -> None:
        """The wait is over, with a batch where it was completed."""
        self.data_ns += perf_counter_ns() - self._wait_began_ns
        self._waits = False
        if self.looked_at:
            self.enter_here("forward" if completed else None)

    def take_data_ns(self) -> int:
        """The data wait since the last call."""
        taken, self.data_ns = self.data_ns, 0
        return taken

    def is_training_thread(self) -> bool:
        """Whether the caller is on the thread that takes the steps."""
        return get_ident() == self.thread

    def _optimizer_begins(self, *_: Any) -> None:
        if self.looked_at:
            self.enter_here("optimizer")

    def _optimizer_ended(self, optimizer: Any, *_: Any) -> None:
        if self.looked_at:
            self.enter_here(None)
        if self.on_optimizer is None or get_ident() != self.thread:
            return
        try:
            self.on_optimizer(id(optimizer))
        except Exception as error:
            failed("Marking the optimizer", error)

    def _around(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def marked(*args: Any, **kwargs: Any) -> Any:
            if self.has_backward and not self.looked_at:
                return backward(*args, **kwargs)
            if get_ident() == self.thread:
                self.has_backward = True
            if self.looked_at:
                self.enter_here("backward")
            try:
                return backward(*args, **kwargs)
            finally:
                if self.current is not None:
                    self.enter_here(None)

        return marked
