"""Calls into Holistic Trace Analysis without its messages, warnings and tracebacks."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from perfkit.errors import PerfkitError


@contextmanager
def hta_calls(task: str) -> Iterator[None]:
    """Keep HTA silent; its exceptions become a PerfkitError that names the task."""
    with _without_log(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except PerfkitError:
            raise
        except ImportError as error:
            raise PerfkitError(
                "Holistic Trace Analysis is not installed: pip install 'perfkit[hta]'."
            ) from error
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise PerfkitError(
                f"Holistic Trace Analysis fails to {task} ({type(error).__name__}: {said}): "
                "use the diagnosis of perfkit analyze, which does not need it."
            ) from error


@contextmanager
def _without_log() -> Iterator[None]:
    """Drop what this thread logs; other threads and the caller's handlers notice nothing."""
    thread = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    with ExitStack() as undo:
        for logger in (logging.getLogger("hta"), logging.getLogger()):
            logger.addFilter(of_others)
            undo.callback(logger.removeFilter, of_others)
        _hold_place_of_handler(undo)
        yield


def _hold_place_of_handler(undo: ExitStack) -> None:
    """HTA logs by `logging.info`, which would set up a root logger that has no handler."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.lastResort or logging.NullHandler()
        root.addHandler(handler)
        undo.callback(root.removeHandler, handler)
