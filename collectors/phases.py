"""What a training step is in: waiting for data, forward, backward, optimizer."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from threading import get_ident
from time import perf_counter_ns
from types import FrameType
from typing import Any

from perfkit.collectors.guard import failed
from perfkit.collectors.patches import Patches
from perfkit.collectors.protocol import Wait
from perfkit.collectors.ranges import Handle, close_range, listener, open_phase


class Phases:
    """The data wait of the training thread, and its phase as ranges `perfkit::<phase>`.

    Backward and optimizer are seen through torch's own hooks, the data wait through `begin_wait`
    and `end_wait`; forward is what runs between the data (or the step's start) and the backward
    pass. Phases are told apart only while somebody looks: a profiler, or what stands in
    `on_phase_end`. On the training thread `on_optimizer` is called when an optimizer has stepped
    (with its id), and `on_wait` before a batch is waited for, where they are set. Hooks are in
    torch only while somebody needs them.

    Whoever drives this calls `look` between steps, and where it has set `on_optimizer` or `on_wait`
    anew; waits do so by themselves.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self.looked_at = False
        """Whether phases are told apart, as far as was known at the last `look`."""
        self.waited_ns = 0
        """Time waited for data so far."""
        self.wait = Wait()
        self.thread = get_ident()
        self.on_optimizer: Callable[[int], None] | None = None
        self.on_wait: Callable[[], None] | None = None
        self.has_backward = False
        """Whether a backward pass has been seen, so that an optimizer step is to be expected."""
        self.on_phase_end: list[Callable[[str], None]] = []
        self.listening = listener()
        """Whether a profiler runs."""
        self._wait_began_ns = 0
        self._range: Handle | None = None
        self._hooks = OptimizerHooks(self._optimizer_begins, self._optimizer_ended)
        self._patches = Patches()
        self._hooked = (False, False)
        """Whether hooks are in torch: the optimizer's, and that of the backward pass."""
        self._is_installed = False
        self._unsettled = False
        """Whether the next wait has to look, as other hooks may be needed now."""

    def install(self) -> None:
        """Hook into torch: its backward pass and every optimizer."""
        self.listening = listener()
        self._hooks.put()
        self._hook_backward()
        self._is_installed, self._hooked = True, (True, True)

    def remove(self) -> None:
        """Undo every hook and close what is open."""
        self.enter(None)
        self.thread, self._is_installed = -1, False
        self._hooks.remove()
        self._patches.undo()

    def enter(self, phase: str | None) -> None:
        """Leave the phase the step is in for this one (None: outside of any)."""
        if self._range is not None:
            close_range(self._range)
        if self.on_phase_end and self.current is not None:
            for call in tuple(self.on_phase_end):
                call(self.current)
        self.current = phase
        self._range = open_phase(phase) if phase and self.listening() else None

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
        looked_at = self.looked_at = self.listening() or bool(self.on_phase_end)
        if not looked_at and self.current is not None:
            self.enter(None)
        self._unsettled = False
        needed = (looked_at or self.on_optimizer is not None, looked_at or not self.has_backward)
        if needed != self._hooked and self._is_installed:
            self._settle(*needed)
        return looked_at

    def _settle(self, optimizer: bool, backward: bool) -> None:
        """Hook what has to be heard of now, and nothing more."""
        self._unsettled = not self._hooks.settle(optimizer)
        self._patches.undo()
        if backward:
            self._hook_backward()
        self._hooked = (self._hooks.are_there, backward)

    def _hook_backward(self) -> None:
        autograd = import_module("torch").autograd
        self._patches.put(autograd, "backward", self._around(autograd.backward))

    def begin_wait(self, now_ns: int = 0) -> bool:
        """The caller waits for a batch from here on. True: it must call `end_wait` after it.

        False on other threads, and inside of another wait. `now_ns` is what the clock has just
        said, to a caller who knows that this is the training thread.
        """
        if self.wait.is_on or (not now_ns and get_ident() != self.thread):
            return False
        try:
            if self.on_wait is not None:
                self.on_wait()
            if self._unsettled or self.looked_at or self.listening() or self.on_phase_end:
                now_ns = 0
                if self.look():
                    self.enter("data")
        except Exception as error:
            failed("Marking the data wait", error)
        self.wait.is_on, self._wait_began_ns = True, now_ns or perf_counter_ns()
        return True

    def end_wait(self, completed: bool) -> None:
        """The wait is over, with a batch where it was completed."""
        self.wait.is_on = False  # first: an interrupt may come up in any call
        self.waited_ns += perf_counter_ns() - self._wait_began_ns
        if self.looked_at:
            self.enter_here("forward" if completed else None)

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
            if self.current == "backward":  # somebody has wrapped ours, and this is inside
                return backward(*args, **kwargs)
            if get_ident() == self.thread and not self.has_backward:
                self.has_backward = self._unsettled = True
            if self.looked_at:
                self.enter_here("backward")
            try:
                return backward(*args, **kwargs)
            finally:
                if self.current is not None:
                    self.enter_here(None)

        return marked


class OptimizerHooks:
    """Functions that torch calls before and after any optimizer's step, there or not there.

    While an optimizer steps they stay as they are: torch goes through all hooks meanwhile.
    """

    def __init__(self, before: Callable[..., None], after: Callable[..., None]) -> None:
        self._before, self._after = before, after
        self._handles: list[Any] = []

    @property
    def are_there(self) -> bool:
        """Whether torch calls them."""
        return bool(self._handles)

    def put(self) -> None:
        """Have them called."""
        hooks = import_module("torch.optim.optimizer")
        self._handles.append(hooks.register_optimizer_step_pre_hook(self._before))
        self._handles.append(hooks.register_optimizer_step_post_hook(self._after))

    def remove(self) -> None:
        """No longer."""
        while self._handles:
            self._handles.pop().remove()

    def settle(self, needed: bool) -> bool:
        """Have them called if needed; False where that has to be asked for again, later."""
        if needed is self.are_there:
            return True
        if _an_optimizer_steps():
            return False
        if needed:
            self.put()
        else:
            self.remove()
        return True


def _an_optimizer_steps() -> bool:
    """Whether a function of torch.optim.optimizer runs, in any thread."""
    inside = vars(import_module("torch.optim.optimizer"))
    frames = sys._current_frames()
    frames[get_ident()] = sys._getframe(1)  # a frame that holds itself keeps all of its callers'
    for innermost in frames.values():
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_globals is inside:
                return True
            frame = frame.f_back
    return False
