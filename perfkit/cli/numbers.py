"""Numbers on the command line, refused in words that say what is wanted."""

from __future__ import annotations

import math
from contextlib import suppress
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


class Price(click.FloatRange):
    """A finite number above 0; anything else is told what the option takes."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The price; UsageError, one sentence with an example, for anything else."""
        with suppress(click.BadParameter):
            price = float(super().convert(value, param, ctx))
            if math.isfinite(price):
                return price
        option = param.opts[0] if param else "The option"
        raise click.UsageError(
            f"{option} takes a price above 0, not {value!r}: write for example {option} 2.5."
        )
