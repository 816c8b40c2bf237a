"""Whole numbers on the command line, refused in words that say what is wanted."""

from __future__ import annotations

from typing import Any

import click


class Whole(click.IntRange):
    """A whole number from `least` on; anything else is told what the option takes."""

    def __init__(self, least: int) -> None:
        super().__init__(least)
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; UsageError, one sentence with an example, for anything else."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            option = param.opts[0] if param else "The option"
            raise click.UsageError(
                f"{option} takes a whole number from {self._least} on, not {value!r}: "
                f"write for example {option} {self._least + 1}."
            ) from None
