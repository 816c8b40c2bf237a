"""How much of a gain others allow: a loader's workers, and other ranks.

A step is no shorter than its batches take to make. In the few steps that are replayed, batches that
stood ready may carry a faster training; in the long run they do not. Nor is it shorter than that of
the ranks it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from perfkit.analyzers.whatif.fixes import Fix
from perfkit.analyzers.whatif.part import Stretch
from perfkit.model.diagnosis import Fix as FixRow

UNSEEN = 0.05
"""Of the step: a gain that any loader allows, nine times in ten, that is always in time.

All that is known of it is that a batch takes it no longer than a step; if all paces below that are
as likely, one in twenty is within 5 % of the step.
"""


def delivered(steps: Stretch, fixes: list[Fix]) -> tuple[float, float]:
    """Most microseconds per step that these fixes can return, and those that they return at worst.

    Infinite where the loader limits nothing.
    """
    pace = steps.part.facts.built.pace
    if not len(pace.taken) or any(fix.name == "dataloader" for fix in fixes):
        return inf, inf
    if pace.deliver_ns is None:
        return inf, UNSEEN * steps.mean_us if pace.is_hidden else inf
    left = max(steps.mean_us - pace.deliver_ns / 1000 * _batches_per_step(steps), 0.0)
    return left, left


def note_on_loader(steps: Stretch, rows: Sequence[FixRow]) -> str | None:
    """What is said where a prediction hangs on a loader that nobody saw."""
    pace = steps.part.facts.built.pace
    gains = [row.gain_us.expected or 0.0 for row in rows if row.fix != "dataloader"]
    if pace.deliver_ns is not None or not pace.is_hidden or not len(pace.taken):
        return None
    if max(gains, default=0.0) <= UNSEEN * steps.mean_us:
        return None
    return (
        f"Batches come from workers whose pace this trace does not show: gains above {UNSEEN:.0%} "
        "are there if they keep up, which a run recorded with perfkit run says."
    )


def _batches_per_step(steps: Stretch) -> float:
    facts = steps.part.facts
    inside = np.count_nonzero(facts.in_counted(facts.built.pace.taken))
    return inside / max(facts.mean_over, 1)


def peers_set_the_pace(steps: Stretch) -> bool:
    """Whether other ranks may be late for a reason of their own, which a fix here leaves there.

    Ranks with the same bottleneck are late by little, and a fix reaches them all. One with another
    bottleneck may be late by any part of a step: one in twenty by less than 5 %.
    """
    return steps.waited_us > UNSEEN * steps.mean_us


def note_on_peers(steps: Stretch, rows: Sequence[FixRow]) -> str | None:
    """What is said where a prediction hangs on ranks that nobody saw."""
    if not peers_set_the_pace(steps) or not any(row.gain_us.expected for row in rows):
        return None
    return (
        f"Collectives wait {steps.waited_us / 1000:.2f} ms of a step for other ranks: gains are "
        "there if the fix makes those faster too, which their traces say."
    )
