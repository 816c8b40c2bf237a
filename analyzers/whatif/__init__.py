"""What fixes return: the graph is changed as the fix would change the program, and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import hypot

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.whatif.delivery import (
    delivered,
    note_on_loader,
    note_on_peers,
    peers_set_the_pace,
)
from perfkit.analyzers.whatif.edit import Edit
from perfkit.analyzers.whatif.errors import OF_STEP, of_gain
from perfkit.analyzers.whatif.fixes import STANDARD, Fix, parse, remove
from perfkit.analyzers.whatif.part import Stretch
from perfkit.analyzers.whatif.spread import between_runs, path_of
from perfkit.model.cause import CAUSES, CODE, Cause
from perfkit.model.diagnosis import Fix as FixRow
from perfkit.model.diagnosis import Gain, Together, WhatIf
from perfkit.model.trace import Int64s

_WORTH_SAYING = 0.002  # of the step: fixes that return less are not told of
_TOGETHER = 4  # fixes of which all combinations are replayed
_FEWEST = 0.005  # of the step: causes with less idle time need no replay
_NOT_REMOVED = (Cause.OTHER_GPU, Cause.UNOBSERVED, Cause.UNKNOWN, Cause.PROFILER)


def fixes_of(names: Sequence[str]) -> list[Fix]:
    """The fixes with these names; PerfkitError for what is no fix."""
    return parse(names)


def what_if(facts: Facts, names: Sequence[str] = ()) -> WhatIf:
    """What each fix returns, and several together; without names, all that return something.

    Raises PerfkitError for what is no fix.
    """
    asked = fixes_of(names)
    if facts.replay.failed:
        reason = "; ".join(facts.replay.failed)
        return WhatIf(steps=0, fixes=[], combinations=[], order=[], withheld=reason)
    steps = facts.stretch
    if asked:
        rows = [_row(steps, fix) for fix in asked]
        return WhatIf(
            steps=int(steps.counted.sum()),
            fixes=rows,
            combinations=[],
            order=[_together(steps, asked)],
            note=_note(steps, rows),
        )
    return _standard(steps, facts.device_kind)


def _note(steps: Stretch, rows: list[FixRow]) -> str | None:
    notes = (note_on_loader(steps, rows), note_on_peers(steps, rows))
    return " ".join(note for note in notes if note) or None


def _standard(steps: Stretch, device: str) -> WhatIf:
    least = _WORTH_SAYING * steps.mean_us
    tried = parse(STANDARD[device])
    rows = [_row(steps, fix) for fix in tried if edited(steps, [fix], optimistic=False).changes]
    rows = sorted((r for r in rows if _expected(r.gain_us) > least), key=_by_gain)
    first = parse([row.fix for row in rows[:_TOGETHER]])
    sets = [
        _together(steps, list(some))
        for size in range(2, len(first) + 1)
        for some in combinations(first, size)
    ]
    return WhatIf(
        steps=int(steps.counted.sum()),
        fixes=rows,
        combinations=sets,
        order=_order(steps, rows, sets),
        note=_note(steps, rows),
    )


def _expected(gain: Gain) -> float:
    return gain.expected or 0.0


def _by_gain(row: FixRow) -> float:
    return -_expected(row.gain_us)


def _order(steps: Stretch, rows: list[FixRow], sets: list[Together]) -> list[Together]:
    """The best fix, the best with it, and so on while another one adds more than its error."""
    least = OF_STEP * steps.mean_us
    singles = [Together(fixes=[row.fix], gain_us=row.gain_us) for row in rows[:_TOGETHER]]
    chosen: list[Together] = []
    for size in range(1, len(singles) + 1):
        before = set(chosen[-1].fixes) if chosen else set()
        of_size = [s for s in (*singles, *sets) if len(s.fixes) == size and before <= set(s.fixes)]
        best = max(of_size, key=lambda s: _expected(s.gain_us))
        if chosen and _expected(best.gain_us) < _expected(chosen[-1].gain_us) + least:
            break
        chosen.append(best)
    return chosen


def _row(steps: Stretch, fix: Fix) -> FixRow:
    gain = gain_of(steps, [fix])
    return FixRow(fix=fix.spelled, text=fix.text, gain_us=gain, grade=fix.grade)


def _together(steps: Stretch, fixes: list[Fix]) -> Together:
    return Together(fixes=[fix.spelled for fix in fixes], gain_us=gain_of(steps, fixes))


def gain_of(steps: Stretch, fixes: list[Fix]) -> Gain:
    """What these fixes return together, in microseconds per step."""
    edit = edited(steps, fixes, optimistic=False)
    time = steps.times(edit)
    expected = _shorter(steps, steps.counted_at(time, edit))
    bound = max(_saved(steps, edited(steps, fixes, optimistic=True)), expected, 0.0)
    error, other = _errors(steps, fixes, edit, time)
    if steps.part.facts.device_kind == "cpu":  # where a fault slows the work beside it, too
        bound = max(bound, expected + error)
    most, least = delivered(steps, fixes)
    if peers_set_the_pace(steps):
        least = min(least, _saved(steps, edited(steps, fixes, optimistic=False, alone=True)))
    expected, low = min(expected, most), min(expected, most, least)
    both = hypot(error, other)
    return Gain(
        bound=bound,
        expected=expected,
        low=low - both,
        high=max(min(expected + both, bound + other), expected),
        error=error + (expected - low) / 2,
    )


def _errors(steps: Stretch, fixes: list[Fix], edit: Edit, time: Int64s) -> tuple[float, float]:
    """Half-widths in microseconds: of the replay in the run at hand, and of what runs differ by."""
    after = steps.counted_at(time, edit)
    saved = _shorter(steps, after)
    path = path_of(edit.graph(), time, steps.part.waited)
    left = steps.mean_us - saved
    replayed = (of_gain([fix.name for fix in fixes]) * saved, path.unexplained * left)
    return hypot(*replayed, OF_STEP * steps.mean_us), between_runs(path, after) * left


def edited(steps: Stretch, fixes: list[Fix], *, optimistic: bool, alone: bool = False) -> Edit:
    """The graph as these fixes would make it; `alone` on this rank, while its peers stay late."""
    edit = Edit(steps.part, optimistic=optimistic, alone=alone)
    for fix in fixes:
        fix.apply(edit)
    return edit


def _saved(steps: Stretch, edit: Edit) -> float:
    """Microseconds saved in the mean step."""
    return _shorter(steps, steps.replayed(edit))


def _shorter(steps: Stretch, after: Int64s) -> float:
    """Microseconds by which the mean step is shorter than recorded, from counted steps' times."""
    before = float(steps.recorded.mean())
    return steps.mean_us * (before - float(after.mean())) / max(before, 1.0)


def saved_by_cause(facts: Facts) -> dict[str, float]:
    """What the mean step would save without each cause of idle time, in microseconds."""
    if facts.replay.failed:
        return {}
    steps, idle = facts.stretch, facts.times.idle[facts.counted].sum(axis=0)
    least = _FEWEST * float(facts.times.wall[facts.counted].sum())
    found = {}
    for cause in CAUSES:
        if idle[CODE[cause]] > least and cause not in _NOT_REMOVED:
            edit = Edit(steps.part, optimistic=True)
            remove(cause, edit)
            found[cause.value] = max(_saved(steps, edit), 0.0)
    return found
