"""What stands between perfkit and the training run: a fault is said once, and the run goes on."""

from __future__ import annotations

import functools
import logging
import os
import signal
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("perfkit")
_said: set[str] = set()


def say_once(message: str) -> None:
    """Log a warning the first time it comes up in this process."""
    if message not in _said:
        _said.add(message)
        log.warning("perfkit: %s", message)


def attempt(what: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """The call's result, or None when it failed, which is said once."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        failed(what, error)
        return None


def guarded(what: str) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """Make a hook that runs inside user code unable to raise into it."""

    def decorate(hook: Callable[P, R]) -> Callable[P, R | None]:
        @functools.wraps(hook)
        def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                return hook(*args, **kwargs)
            except Exception as error:
                failed(what, error)
                return None

        return call

    return decorate


def failed(what: str, error: Exception) -> None:
    """Say it once; but what a signal handler raised meanwhile goes on, as it is the user's.

    torch raises so that a DataLoader worker has died.
    """
    if _raised_by_a_signal(error):
        raise error
    say_once(f"{what} failed and is left out ({type(error).__name__}: {error}).")
    log.debug("perfkit: %s", what, exc_info=True)


def _raised_by_a_signal(error: Exception) -> bool:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(handler, "__code__", None) for handler in handlers} - {None}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def disabled() -> bool:
    """Whether the user has switched perfkit off (PERFKIT_DISABLE=1)."""
    return os.environ.get("PERFKIT_DISABLE", "").lower() not in ("", "0", "false", "no")
