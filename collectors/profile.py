"""`perfkit.profile`: the one line in a training script."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from perfkit.collectors.guard import attempt, disabled
from perfkit.collectors.session import Ended, Options, Session, begin_session, current
from perfkit.collectors.steps import Steps
from perfkit.model.capture import Schedule

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

DEFAULT_FOLDER = "perfkit-run"
_SCHEDULE = Schedule()


class profile:  # noqa: N801
    """Collect a run into a Capture, as a decorator of the step or as a context manager.

        @perfkit.profile("runs/exp1")
        def train_step(batch): ...

        with perfkit.profile("runs/exp1") as p:
            for batch in p.steps(loader): ...

    After `wait` steps and `warmup` more, `active` steps are profiled, `repeat` times; between
    windows only times and counters are kept. `ranks` limits the windows to these ranks. With
    `watch`, steps that become slow open a window by themselves; so does SIGUSR2. Every rank writes
    its own folder inside `folder`, which `perfkit analyze` reads. Inside the `with` a step ends at
    `p.step()`, at `p.steps()`' next batch, or where the optimizer steps. The decorator belongs
    outside of `torch.compile`. Never raises, and does nothing where PERFKIT_DISABLE=1.
    """

    def __init__(
        self,
        folder: str | PathLike[str] = DEFAULT_FOLDER,
        *,
        wait: int = _SCHEDULE.wait,
        warmup: int = _SCHEDULE.warmup,
        active: int = _SCHEDULE.active,
        repeat: int = _SCHEDULE.repeat,
        ranks: Sequence[int] | None = None,
        record_shapes: bool = False,
        with_stack: bool = False,
        memory_snapshot: bool = False,
        watch: bool = True,
    ) -> None:
        self._session: Session | None = None
        self._owns = False
        self._options = attempt(
            "Reading the options",
            lambda: Options(
                folder=Path(fspath(folder)),
                schedule=Schedule(
                    wait=max(int(wait), 0),
                    warmup=max(int(warmup), 0),
                    active=max(int(active), 1),
                    repeat=max(int(repeat), 0),
                ),
                ranks=ranks,
                record_shapes=record_shapes,
                with_stack=with_stack,
                memory_snapshot=memory_snapshot,
                watch=watch,
            ),
        )

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function that is called once a step."""
        if disabled() or self._options is None:
            return function
        if inspect.iscoroutinefunction(function):
            return self._around_coroutine(function)

        @functools.wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            if _is_compiling():
                return function(*args, **kwargs)
            with _Step(self._joined()):
                return function(*args, **kwargs)

        return step

    def __enter__(self) -> profile:
        """Start collecting."""
        if not disabled() and self._options is not None:
            self._owns = current() is None
            self._session = begin_session(self._options)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the Capture; exceptions pass."""
        if self._session is not None and self._owns:
            ended: Ended = "finished" if kind is None else "exception"
            attempt("Stopping", self._session.stop, ended, kind)

    def begin(self) -> None:
        """A step begins here: what ran since the last one, such as a validation, is part of none.

        For loops that mark steps with `p.step()`, which also counts their first step.
        """
        if self._session is not None:
            attempt("Beginning a step", self._session.begin_anew, "step()")

    def step(self) -> None:
        """A training step has ended here."""
        if self._session is not None:
            self._session.step("step()")

    def steps(self, loader: Iterable[T]) -> Iterable[T]:
        """The loader's batches; a turn of the loop is a step, its wait for the batch included."""
        return loader if self._session is None else Steps(loader, self._session)

    def _joined(self) -> Session | None:
        """The session, started by the first step so that ranks are known by then."""
        if self._session is None and self._options is not None:
            self._session = attempt("Starting", begin_session, self._options)
        return self._session

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def step(*args: Any, **kwargs: Any) -> Any:
            with _Step(self._joined()):
                return await function(*args, **kwargs)

        return step


class _Step:
    """Around a decorated call; one inside of another, or one that raises, ends no step."""

    def __init__(self, session: Session | None) -> None:
        self._session = session if session is not None and not session.inside else None

    def __enter__(self) -> None:
        if self._session is not None:
            attempt("Beginning a step", self._session.enter_step)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            attempt("Ending a step", self._session.leave_step, completed=kind is None)


def _is_compiling() -> bool:
    """Whether torch.compile traces the caller, and must find nothing of ours."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())
