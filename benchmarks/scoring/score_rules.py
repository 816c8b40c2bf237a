"""Scores of the advice: what rules say of labelled cases, by rule and over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.scoring.detection import Hits, share
from benchmarks.scoring.labels import Label, labels, of_simulated
from benchmarks.scoring.markdown import table
from benchmarks.scoring.results import Row, number, percent, percents, row
from benchmarks.scoring.runs import Run
from benchmarks.scoring.told import Told
from perfkit.reports.advice import codes

_LABELLED = "labelled"


@dataclass(frozen=True)
class RuleScore:
    """One rule: in how many cases it spoke rightly, wrongly, not at all though it must, or allowed.

    `alarms` are those of the `healthy` cases in which it spoke.
    """

    code: str
    hits: Hits
    allowed: int
    healthy: int
    alarms: int

    @property
    def alarm_share(self) -> float:
        """Of the healthy cases, those with a false alarm."""
        return self.alarms / self.healthy if self.healthy else float("nan")


def simulated(runs: Iterable[Run]) -> list[Told]:
    """Simulated runs with their labels."""
    known = labels("simulated")
    return [Told("simulated", run.case.label, _label(run, known), run.said) for run in runs]


def _label(run: Run, known: dict[str, Label]) -> Label:
    return of_simulated(run.case, known, {c: us / run.step_us for c, us in run.true_us.items()})


def by_rule(told: list[Told]) -> list[RuleScore]:
    """Every rule that there is."""
    return [_score(code, told) for code in codes()]


def _score(code: str, told: list[Told]) -> RuleScore:
    wrong, missed = (sum(code in getattr(one, which) for one in told) for which in _WRONGS)
    must = sum(code in one.label.must for one in told)
    healthy = [one for one in told if one.label.healthy]
    alarms = sum(code in one.false for one in healthy)
    allowed = sum(code in one.allowed for one in told)
    return RuleScore(code, Hits(must - missed, wrong, missed), allowed, len(healthy), alarms)


_WRONGS = ("false", "missed")


def overall(scores: Iterable[RuleScore]) -> Hits:
    """All rules together, each case of each counted once."""
    each = [one.hits for one in scores]
    return Hits(*(sum(getattr(h, part) for h in each) for part in ("right", "wrong", "missed")))


def rows(told: list[Told]) -> list[Row]:
    """The lines for the one table."""
    if not told:
        return []
    scores = by_rule(told)
    every, top = overall(scores), share(one.is_top_right for one in told)
    worst = max(score.alarm_share for score in scores)
    unjudged = sum(score.hits == Hits() for score in scores) / len(scores)
    said, must = every.right + every.wrong, every.right + every.missed

    def mine(value: float) -> dict[str, float]:
        return {"perfkit": value}

    return [
        row("rules: precision", said, mine(every.precision), ">= 0.95", of=_LABELLED),
        row("rules: recall", must, mine(every.recall), ">= 0.9", of=_LABELLED),
        percents("rules: most false alarms of one, of healthy cases", scores[0].healthy,
                 mine(worst), "<= 2 %", of=_LABELLED),
        percents("rules: known finding first", top[1], mine(top[0]), "100 %", of=_LABELLED),
        percents("rules that no case asks for", len(scores), mine(unjudged), of=_LABELLED),
    ]  # fmt: skip


def details(told: list[Told]) -> str:
    """A line a rule, and what went wrong."""
    head = ["rule", "must speak", "spoke", "false", "allowed", "precision", "recall"]
    head.append("healthy: false alarms")
    scores = by_rule(told)
    return "\n\n".join([table(head, map(_line, scores)), *_wrongs(told)])


def _line(score: RuleScore) -> list[str]:
    hits = score.hits
    counts = [str(n) for n in (hits.right + hits.missed, hits.right, hits.wrong, score.allowed)]
    alarms = f"{score.alarms} of {score.healthy} ({percent(score.alarm_share)})"
    return [f"`{score.code}`", *counts, number(hits.precision), number(hits.recall), alarms]


def _wrongs(told: list[Told]) -> list[str]:
    found = [f"- {one.source} {one.name}: {what}" for one in told for what in _said_wrong(one)]
    return ["\n".join(found)] if found else []


def _said_wrong(one: Told) -> list[str]:
    first = one.said[0].code if one.said else "nothing"
    wanted = " or ".join(sorted(one.label.top))
    refused = f"{'' if one.refused else 'not '}refused"
    return [
        *(f"{code} speaks and must not" for code in one.false),
        *(f"{code} is silent and must speak" for code in one.missed),
        *([f"{first} comes first, not {wanted}"] if one.is_top_right is False else []),
        *([refused] if one.refused != one.label.refused else []),
    ]
