"""What a project wants of the advice: the table [tool.perfkit] of its pyproject.toml."""

from __future__ import annotations

from typing import Literal

import msgspec

LEAST_SHARE = 0.005
"""Of the step: what costs less is not worth a reader's time (the floor TraceLens uses as well)."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`ignore` are codes of rules to leave out, `least_share` of the step what a finding must cost.

    `limits` are shares of the step from which a rule's finding is a warning or critical, by code.
    """

    ignore: list[str] = []
    least_share: float = LEAST_SHARE
    limits: dict[str, dict[Literal["warning-share", "critical-share"], float]] = {}
