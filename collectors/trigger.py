"""SIGUSR2 opens a profiled window: `kill -USR2 PID` when a run looks slow."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Literal

from perfkit.collectors.protocol import Run
from perfkit.model.capture import Sight


class SignalTrigger:
    """Listens while nobody else does: a program's own handler is left alone."""

    name = "signal"

    def __init__(self, request: Callable[[Literal["signal"]], None]) -> None:
        self._request = request
        self._installed = False

    def sight(self) -> Sight:
        """Whether a signal opens a window."""
        if self._installed:
            return Sight(collector=self.name, active=True, sees=["SIGUSR2"])
        missing = ["SIGUSR2 is the program's own: open windows by schedule instead."]
        return Sight(collector=self.name, active=False, missing=missing)

    def start(self, run: Run) -> None:
        """Listen, where signals can be listened to: on the main thread."""
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR2, self._handle)
            self._installed = True

    def stop(self) -> None:
        """Stop listening."""
        if self._installed and signal.getsignal(signal.SIGUSR2) == self._handle:
            signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._request("signal")
