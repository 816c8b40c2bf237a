"""Hugging Face transformers: a callback that collects every `train` into a Capture."""

from __future__ import annotations

from os import PathLike
from typing import Any

from transformers import TrainerCallback

from perfkit.collectors.integrations._trainer_run import TrainerRun
from perfkit.collectors.profile import DEFAULT_FOLDER


class PerfkitCallback(TrainerCallback):
    """Collect `Trainer.train` into a Capture, with the options of `perfkit.profile`.

        Trainer(..., callbacks=[PerfkitCallback("runs/exp1")]).train()

    A step is what one optimizer step takes: its wait for data and, with
    gradient_accumulation_steps, all its batches. Evaluation and prediction are no steps and no
    part of one. Every rank writes its own folder. Raises nothing into the Trainer.

    A Trainer does not tell its callbacks of exceptions. One that ends the process is known at its
    end, and one after which the Trainer tries again (auto_find_batch_size) at the new start; a
    `with perfkit.profile(...):` around `train()` knows of every other.
    """

    def __init__(self, folder: str | PathLike[str] = DEFAULT_FOLDER, **options: Any) -> None:
        self._run = TrainerRun(folder, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ranks are known by now."""
        self._run.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimizer has stepped."""
        self._run.end_step()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A batch of an evaluation is done; there is no hook before the first."""
        self._run.begin_validation()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An evaluation is over."""
        self._run.end_validation()

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """A prediction is over."""
        self._run.end_validation()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training has finished."""
        self._run.end()
