"""What the rules on clocks share: the clock there could be, and the time that a lower one takes."""

from __future__ import annotations

from perfkit.model.clock_facts import HeldClock, Holder
from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.model.kernel import KernelKind
from perfkit.reports.format import count, plural, share
from perfkit.reports.rule import fact

LOW_SHARE = 0.90  # of the full clock: drops of a tenth and more are told, smaller ones are boost's
_BY_CLOCK = (KernelKind.GEMM, KernelKind.ATTENTION, KernelKind.CONVOLUTION)
"""Kernels whose time follows the SM clock; of others memory may set the pace."""


def held_by(diagnosis: Diagnosis, holder: Holder) -> HeldClock | None:
    """The samples that this held down."""
    found = diagnosis.clocks.held if diagnosis.clocks else []
    return next((held for held in found if held.holder == holder), None)


def full_clock_mhz(diagnosis: Diagnosis) -> float | None:
    """The clock while nothing held it, else the highest the GPU can run at."""
    free = diagnosis.clocks.free_clock_mhz if diagnosis.clocks else None
    return free or (diagnosis.setup.sm_clock_limit_mhz if diagnosis.setup else None)


def is_low(diagnosis: Diagnosis, held: HeldClock) -> bool:
    """Whether the clock fell by more than boost alone lets it."""
    full = full_clock_mhz(diagnosis)
    return full is not None and held.clock_mhz < LOW_SHARE * full


def lost_us(diagnosis: Diagnosis, held: HeldClock) -> float:
    """Time per step that the lower clock took: as measured on kernels of the same names, or steps.

    Where none ran in both states, what the clock could take at most of kernels that follow it.
    """
    compute, step = diagnosis.breakdown_us.compute, diagnosis.steps.mean_us
    if held.kernel_slowdown is not None:
        return compute * held.share * max(1 - 1 / held.kernel_slowdown, 0.0)
    if held.step_slowdown is not None:
        return min(step * held.share * max(1 - 1 / held.step_slowdown, 0.0), compute)
    return at_most_us(diagnosis, held.share, held.clock_mhz, full_clock_mhz(diagnosis))


def at_most_us(diagnosis: Diagnosis, part: float, clock: float, full: float | None) -> float:
    """What a clock of `full` would take off kernels that follow it, in this part of the time."""
    summary = diagnosis.kernel_summary
    if full is None or summary is None:
        return 0.0
    follows = sum(kind.total_us for kind in summary.classes if kind.kind in _BY_CLOCK)
    busy = min(follows, diagnosis.breakdown_us.compute)
    return busy * part * max(1 - clock / full, 0.0)


def clock_facts(diagnosis: Diagnosis, held: HeldClock) -> list[Evidence]:
    """How long, how far down, and what it did to the same work on the same time line."""
    full = full_clock_mhz(diagnosis)
    instead = f" instead of {count(full)} MHz" if full else ""
    said = f"{', '.join(held.reasons)} in {share(held.share)} of the samples at work"
    return [
        fact(said, held.share, "share"),
        fact(f"the clock ran at {held.clock_mhz:,.0f} MHz{instead}", held.clock_mhz, "MHz"),
        *_slower(held),
    ]


def _slower(held: HeldClock) -> list[Evidence]:
    found = []
    if held.kernel_slowdown is not None:
        times = f"{held.kernel_slowdown:.2f} times as long then"
        text = f"kernels of the same {plural(held.kernels, 'name')} took {times}"
        found.append(fact(text, held.kernel_slowdown, "times"))
    if held.step_slowdown is not None:
        text = f"unprofiled steps took {held.step_slowdown:.2f} times as long then"
        found.append(fact(text, held.step_slowdown, "times"))
    return found


def title_part(diagnosis: Diagnosis, held: HeldClock) -> str:
    """Such as "runs at 1,200 instead of 1,980 MHz in 40 % of the time"."""
    full = full_clock_mhz(diagnosis)
    instead = f" instead of {count(full)}" if full else ""
    return f"runs at {count(round(held.clock_mhz))}{instead} MHz in {share(held.share)} of the time"
