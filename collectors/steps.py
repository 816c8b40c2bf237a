"""What `profile.steps` returns: the user's loop, told of its steps and of its waits for batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import perf_counter_ns
from typing import Any, Generic, TypeVar

from perfkit.collectors.guard import attempt
from perfkit.collectors.session import Session

T = TypeVar("T")
_END: Any = object()


class Steps(Generic[T]):
    """Iterates as the loader does, and has its length and attributes."""

    def __init__(self, loader: Iterable[T], session: Session) -> None:
        self._loader = loader
        self._session = session

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __iter__(self) -> Iterator[T]:
        """A turn of the loop is a step.

        In quiet steps only the clock is read: what a step calls once is in no cache by then, and
        costs some ten times what it does in a loop.
        """
        session, phases = self._session, self._session.phases
        begin_wait, end_wait, listening = phases.begin_wait, phases.end_wait, phases.listening
        ends_ns, waited_ns, wait = session.clock.ends_ns, session.clock.waited_ns, phases.wait
        attempt("Beginning a step", session.begin, "steps()")
        batches: Any = None
        now_ns = 0
        while True:
            batch, outermost = _END, begin_wait(now_ns)
            try:
                batches = iter(self._loader) if batches is None else batches
                batch = next(batches, _END)
            finally:
                if outermost:
                    end_wait(batch is not _END)
            if batch is _END:
                return
            yield batch
            now_ns = session.step("steps()")
            for _ in range(session.quiet_steps() if now_ns else 0):
                batch, wait.is_on = _END, True
                try:
                    batch = next(batches, _END)
                finally:
                    phases.waited_ns += perf_counter_ns() - now_ns
                    wait.is_on = False
                if batch is _END:
                    return
                yield batch
                now_ns = perf_counter_ns()
                if now_ns >= session.quiet_until_ns or listening():
                    now_ns = session.step("steps()")
                    break
                ends_ns.append(now_ns)
                waited_ns.append(phases.waited_ns)
