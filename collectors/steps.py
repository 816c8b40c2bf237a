"""What `profile.steps` returns: the user's loop, told of its steps and of its waits for batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from time import perf_counter_ns
from typing import Any, Generic, TypeVar

from perfkit.collectors.guard import attempt
from perfkit.collectors.session import Session

T = TypeVar("T")
_END: Any = object()
_LOOK_NS = 2_000_000
"""After so long quiet steps ask whether a profiler runs, which costs a fifth of what they do."""


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
        """A turn of the loop is a step."""
        return chain.from_iterable(self._stretches())  # which calls a stretch and nothing else

    def _stretches(self) -> Iterator[Iterable[T]]:
        session, phases = self._session, self._session.phases
        attempt("Beginning a step", session.begin, "steps()")
        batches: Any = None
        ended_ns: int | None = 0
        while ended_ns is not None:
            batch, outermost = _END, phases.begin_wait(ended_ns)
            try:
                batches = iter(self._loader) if batches is None else batches
                batch = next(batches, _END)
            finally:
                if outermost:
                    phases.end_wait(batch is not _END)
            if batch is _END:
                return
            yield (batch,)
            ended_ns = session.step("steps()")
            if ended_ns:
                quiet = _Quiet[T](session, batches, ended_ns)
                yield quiet
                ended_ns = quiet.ended_ns


class _Quiet(Generic[T]):
    """Steps that nobody has to be told of: only the clock is read.

    What a step calls once is in no cache by then, and costs some ten times what it does in a loop.
    """

    def __init__(self, session: Session, batches: Iterator[T], began_ns: int) -> None:
        self._session, self._batches = session, batches
        self.ended_ns: int | None = began_ns
        """When the last one ended, 0 where that is past, None at the end of the loader."""

    def __iter__(self) -> Iterator[T]:
        session, phases, clock = self._session, self._session.phases, self._session.clock
        ask, until_ns, tell = session.unwatched(self._batches)
        wait, ends_ns, waited_ns = phases.wait, clock.ends_ns, clock.waited_ns
        count, took_ns, end_ns = 0, 0, None
        now_ns = began_ns = self.ended_ns or 0
        look_ns = min(until_ns, began_ns + _LOOK_NS)
        try:
            for _ in range(session.quiet_steps()):
                wait.is_on = True
                try:
                    batch = ask()
                except StopIteration:
                    end_ns, self.ended_ns = perf_counter_ns() - now_ns, None
                    return
                finally:
                    waited = perf_counter_ns() - now_ns
                    phases.waited_ns += waited
                    wait.is_on = False
                count += 1
                took_ns += waited
                yield batch
                now_ns = perf_counter_ns()
                if now_ns >= look_ns or now_ns >= session.quiet_until_ns:
                    if now_ns >= until_ns or not session.may_be_quiet(now_ns):
                        self.ended_ns = session.step("steps()")
                        return
                    look_ns = min(until_ns, now_ns + _LOOK_NS)
                ends_ns.append(now_ns)
                waited_ns.append(phases.waited_ns)
            self.ended_ns = now_ns
        finally:
            tell(count, took_ns, began_ns, end_ns)
