"""What a project wants of the advice: the table [tool.perfkit] of its pyproject.toml."""

from __future__ import annotations

from typing import Literal

import msgspec

from perfkit.model.compute_facts import Format, Peak

LEAST_SHARE = 0.005
"""Of the step: what costs less is not worth a reader's time (the floor TraceLens uses as well)."""


class OwnPeak(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Dense peak rates of a device that perfkit does not know, or knows otherwise."""

    tflops: dict[Format, float]
    memory_gb_per_s: float

    def __post_init__(self) -> None:
        """Refuse rates that no device has."""
        if not all(rate > 0 for rate in (*self.tflops.values(), self.memory_gb_per_s)):
            raise ValueError("peak rates are above 0")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`ignore` are codes of rules to leave out, `least_share` of the step what a finding must cost.

    `limits` are shares of the step from which a rule's finding is a warning or critical, by code.
    `peaks` are rates of devices by the name that the profiler writes.
    """

    ignore: list[str] = []
    least_share: float = LEAST_SHARE
    limits: dict[str, dict[Literal["warning-share", "critical-share"], float]] = {}
    peaks: dict[str, OwnPeak] = {}

    def __post_init__(self) -> None:
        """Refuse shares that would hide everything, or make no sense together."""
        if not 0 <= self.least_share <= 1:
            raise ValueError("least-share is a share of the step, from 0 to 1")
        for code, shares in self.limits.items():
            warning, critical = shares.get("warning-share"), shares.get("critical-share")
            if min(shares.values(), default=0) < 0:
                raise ValueError(f"shares of {code} are not below 0")
            if warning is not None and critical is not None and warning > critical:
                raise ValueError(f"warning-share of {code} is not above its critical-share")

    def own_peaks(self) -> dict[str, Peak]:
        """The project's peaks, as perfkit's own are."""
        return {
            name: Peak(
                tflops=own.tflops, memory_gb_per_s=own.memory_gb_per_s, source="pyproject.toml"
            )
            for name, own in self.peaks.items()
        }
