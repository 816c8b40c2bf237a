"""What the callbacks of every trainer share: a session that their hooks drive."""

from __future__ import annotations

from os import PathLike
from typing import Any

from perfkit.collectors.guard import disabled, guarded
from perfkit.collectors.profile import profile
from perfkit.collectors.ranges import Handle, close_range, open_range


class TrainerRun:
    """One session per training run of a trainer; `options` are those of `perfkit.profile`.

    Only making it may raise (TypeError for an option that does not exist). It can be pickled until
    a run begins, as launchers that spawn their ranks do.
    """

    def __init__(self, folder: str | PathLike[str], **options: Any) -> None:
        self._profile = profile(folder, **options)
        self._running = False
        self._validation: Handle | None = None

    @guarded("Starting with the trainer")
    def start(self) -> None:
        """A training run begins; one that has not ended by now was left by an exception."""
        self.end(RuntimeError("the trainer began another run"))
        self._running = True
        self._profile.__enter__()
        self._profile.begin()

    @guarded("Beginning a step")
    def begin_step(self) -> None:
        """The run's next step begins here."""
        self._profile.begin()

    @guarded("Ending a step")
    def end_step(self) -> None:
        """An optimizer step's worth of batches is done."""
        self._profile.step()

    @guarded("Marking a validation")
    def begin_validation(self) -> None:
        """What follows is no step; marked as `perfkit::validation` where a profiler runs."""
        if self._running and self._validation is None and not disabled():
            self._validation = open_range("perfkit::validation")

    @guarded("Marking a validation")
    def end_validation(self) -> None:
        """The step that was to follow begins here."""
        self._close_validation()
        self._profile.begin()

    @guarded("Stopping with the trainer")
    def end(self, error: BaseException | None = None) -> None:
        """The training run is over, because of an error where there is one."""
        if self._running:
            self._running = False
            self._close_validation()
            self._profile.__exit__(type(error) if error else None, error, None)

    def _close_validation(self) -> None:
        validation, self._validation = self._validation, None
        if validation is not None:
            close_range(validation)
