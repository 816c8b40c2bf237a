"""Lightning: a callback that collects every `fit` into a Capture."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from typing import Any

from perfkit.collectors.integrations._trainer_run import TrainerRun
from perfkit.collectors.profile import DEFAULT_FOLDER


# Both packages hold the same classes, and a Trainer takes callbacks by their methods: the one the
# script has imported already costs nothing.
def _callback() -> Any:
    imported = "pytorch_lightning" in sys.modules and "lightning" not in sys.modules
    if imported or find_spec("lightning") is None:
        return import_module("pytorch_lightning").Callback
    return import_module("lightning.pytorch").Callback


Callback: Any = _callback()


class PerfkitCallback(Callback):  # type: ignore[misc]
    """Collect a `fit` into a Capture, with the options of `perfkit.profile`.

        Trainer(callbacks=[PerfkitCallback("runs/exp1")]).fit(model)

    A step is what one optimizer step takes: its wait for data and, with accumulate_grad_batches,
    all its batches. Under manual optimization a batch that steps any optimizers ends one. The
    sanity check, validation and testing are no steps and no part of one. Every rank writes its
    own folder. Raises nothing into the Trainer.
    """

    def __init__(self, folder: str | PathLike[str] = DEFAULT_FOLDER, **options: Any) -> None:
        self._run = TrainerRun(folder, **options)
        self._optimizer_steps = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Ranks are known by now."""
        self._run.start()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The sanity check is over."""
        self._optimizer_steps = trainer.global_step
        self._run.begin_step()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch is done, and with it a step unless its gradients only accumulate."""
        before, self._optimizer_steps = self._optimizer_steps, trainer.global_step
        if self._optimizer_steps != before:
            self._run.end_step()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Validation is no step."""
        self._run.begin_validation()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Training goes on."""
        self._run.end_validation()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Training has finished."""
        self._run.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Training has failed, or was interrupted."""
        self._run.end(exception)
