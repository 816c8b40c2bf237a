"""What `profile.steps` returns: the user's loop, told of its steps and of its waits for batches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from time import perf_counter_ns
from typing import Any, Generic, TypeVar, cast

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

    def __bool__(self) -> bool:
        return bool(self._loader)

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is the loader's, as a run has none."""
        return _itself, (self._loader,)

    def __iter__(self) -> Iterator[T]:
        """A turn of the loop is a step.

        The loader is asked for its iterator at once: that draws a random number, starts workers.
        """
        session, phases = self._session, self._session.phases
        attempt("Beginning a step", session.begin, "steps()")
        outermost = phases.begin_wait()
        try:
            batches = iter(self._loader)
        finally:
            if outermost:
                phases.end_wait(False)
        turns: Any = _Turns.from_iterable(_Stretches(batches, session))
        turns._batches = batches
        return cast(Iterator[T], turns)


def _itself(loader: T) -> T:
    return loader


class _Turns(chain[T]):
    """Calls a stretch and nothing else, and has the length and attributes of the iterator."""

    _batches: Any = ()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


class _Stretches(Generic[T]):
    """Generators of which the turns of a loop are made.

    An error ends that in which it came up; whoever goes on all the same is given the next one.
    None keeps a batch that it has given: the user may free it before asking for the next.
    """

    def __init__(self, batches: Iterator[T], session: Session) -> None:
        self._batches, self._session = batches, session
        self._ended_ns = 0
        """When the last step ended, 0 where that is past."""
        self._over = False

    def __iter__(self) -> Iterator[Iterator[T]]:
        while not self._over:
            yield self._watched()
            if self._ended_ns:
                quiet = self._quiet()
                self._session.quiet.add(quiet)
                yield quiet

    def _watched(self) -> Iterator[T]:
        """Steps up to the first after which nobody has to be told of the next."""
        session, phases, batches = self._session, self._session.phases, self._batches
        while not self._over:
            batch: Any = _END
            outermost = phases.begin_wait(self._ended_ns)
            self._ended_ns = 0
            try:
                batch = next(batches, _END)
            finally:
                if outermost:
                    phases.end_wait(batch is not _END)
            if batch is _END:
                self._over = True
                return
            yield (batch, batch := None)[0]
            self._ended_ns = session.step("steps()")
            if self._ended_ns:
                return

    def _quiet(self) -> Generator[T, None, None]:
        """Steps that nobody has to be told of: only the clock is read.

        What a step calls once is in no cache by then, and costs some ten times what it does in a
        loop.
        """
        session, phases, clock = self._session, self._session.phases, self._session.clock
        ask, until_ns, tell = session.unwatched(self._batches)
        wait, ends_ns, waited_ns = phases.wait, clock.ends_ns, clock.waited_ns
        count, took_ns, end_ns = 0, 0, None
        now_ns = began_ns = self._ended_ns
        self._ended_ns = 0
        look_ns = min(until_ns, began_ns + _LOOK_NS)
        try:
            for _ in range(session.quiet_steps()):
                wait.is_on = True
                try:
                    batch = ask()
                except StopIteration:
                    end_ns, self._over = perf_counter_ns() - now_ns, True
                    return
                finally:
                    wait.is_on = False  # first: an interrupt may come up in any call
                    waited = perf_counter_ns() - now_ns
                    phases.waited_ns += waited
                count += 1
                took_ns += waited
                yield (batch, batch := None)[0]
                now_ns = perf_counter_ns()
                if now_ns >= look_ns or now_ns >= session.quiet_until_ns:
                    if now_ns >= until_ns or not session.may_be_quiet(now_ns):
                        self._ended_ns = session.step("steps()")
                        return
                    look_ns = min(until_ns, now_ns + _LOOK_NS)
                ends_ns.append(now_ns)
                waited_ns.append(phases.waited_ns)
            self._ended_ns = now_ns
        finally:
            tell(count, took_ns, began_ns, end_ns)
