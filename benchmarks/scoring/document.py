"""The scores as a document, and as JSON."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import isnan
from typing import Any

from benchmarks.scoring import details, reasons, score_rules
from benchmarks.scoring.markdown import table
from benchmarks.scoring.results import METHODS, Results, Row
from benchmarks.scoring.score_fixes import class_errors
from benchmarks.scoring.scores import labelled, rows
from benchmarks.scoring.told import Told
from perfkit.version import __version__

_TITLES = {
    "occupant": "gap occupant",
    "subtract": "subtract the bucket",
    "HTA": "HTA",
    "perfkit": "perfkit",
}
_HOW = """\
# How right perfkit is

Made by `{command}` on {date} with perfkit {version}, in {seconds:.0f} s. Do not edit.

**Simulated** runs ({simulated}) come from `sample_traces/simulator`, a model of one host and one
GPU that shares no code with perfkit and knows the cause of each idle nanosecond; it runs the same
program again with each fix, which is the truth for what-ifs: with the same draws for errors, with
others for intervals. **Recorded** runs ({recorded} pairs)
are real programs on a CPU, with a fault and repaired (`sample_traces/recorded`). **Public traces**
({public}) are of real GPUs and have no known cause in numbers: of them the unknown share is scored,
and the rules by what their README says.

The simulator and the replay share assumptions, such as queues that are worked off in order, and the
replay was developed with the simulator at hand: errors of nearly nothing here say that the replay
does what it means to, not that a real GPU obeys. Nobody has yet measured fixes on one.

"The step" is the same on both sides: the recording from its first step's mark to the end of its
GPU work, divided by its steps. perfkit left {left_out} of {steps} simulated steps out of its means.
"On steady steps" compares the share of the step that perfkit says is saved with the simulator's
pace after the first two steps.
"""
_TERMS = """\
- A cause is there when its true time is at least 3 % of the step and three standard deviations of
  it over clean runs; it is named when perfkit charges it 3 % of the step. `unknown` is no cause.
- A run is quiet when it has no fault, or one that costs no idle time.
- What-if errors are |predicted - true| step, of the true step with the fix. Fixes are what repairs
  each fault, all of them in runs with two, and a host, kernels or communication twice as fast. A
  fix matters when it gives, or is said to give, 3 % of the step.
- An interval is of another run, so its truth is one: the same program with the fix, with draws of
  its own, rare events at other steps, and a pace of host, GPU and network that differs as published
  runs of one machine do (`sample_traces/simulator/another.py`). All other truths are of the same
  run, which repeats every draw: they tell what the replay itself gets wrong.
- Dose response is time charged over the increase of the step. A fault may cost more than idle time
  (small kernels run, too), or less at first than later, so that the simulator's own charge is no
  line of slope 1 either: perfkit's line is scored against the line of the truth.
- The loader of a run may have workers. Its what-ifs are scored with the records of a Capture, which
  say what each worker did, and once more from the trace alone, where nothing shows them.
- Gap occupant charges each gap to what its launching thread does in the middle of it. Subtract the
  bucket takes a fix's idle time out of the step, without a replay. HTA is Holistic Trace Analysis:
  its idle categories, which name no cause, and its critical path with the edges of a fix set to
  zero. It is asked about the largest dose of each fault.
"""

_SOURCES = ("simulated", "recorded", "public", "storage", "compute", "host", "made")
_RULES = """\
Made by `{command}` on {date} with perfkit {version}. The labels in `tests/advice/labels` say of
each case which rules must speak, which may, and that all others must be silent: {simulated}
simulated runs, {recorded} recorded ones, {public} public traces by what their README says of them,
{storage} runs whose storage is described as commands and the kernel print it, {compute} programs
of kernels, some of which have a cheaper form, {host} runs with what their machine says of clocks,
faults, NUMA nodes and memory, and {made} programs and Captures made for rules that nothing else
asks for. A rule speaks falsely with a warning, or with information that costs 3 % of the step; it
is silent when nothing of it is shown. Healthy are the cases in which nothing may be said. What the
labels let a rule say (`may`: true of the run, or not known) is allowed and counts neither way.
"""


def text(results: Results, command: str, date: str, seconds: float) -> str:
    """The whole document."""
    parts = [
        _how(results, command, date, seconds),
        _main_table(rows(results)),
        _TERMS + "\n".join(f"- {reason}" for reason in skipped(results)),
        _part("Causes (simulated)", details.causes(results)),
        _part("Dose response (simulated)", details.doses(results)),
        _part("What-ifs (simulated)", details.fixes(results)),
        _part("Damaged traces (simulated)", details.damages(results)),
        _part("Recorded pairs", details.recorded(results)),
        _part("Dose response (recorded)", details.recorded_doses(results)),
        _part("Public traces", details.public(results)),
        *([rules(labelled(results), command, date)] if results.told else []),
        _part("Largest misses", "\n".join(f"- {miss}" for miss in details.misses(results))),
        *_reasons(results),
        _part("Errors by class of fix", _literal(results)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _reasons(results: Results) -> list[str]:
    """Why what was missed is missed, of each kind that was."""
    found = reasons.reasons(rows(results), details.misses(results))
    return [_part("Why", "\n".join(f"- {reason}" for reason in found))] if found else []


def rules(told: list[Told], command: str, date: str) -> str:
    """The part on the advice; the other parts may be of another run of the benchmark."""
    counts = {source: sum(one.source == source for one in told) for source in _SOURCES}
    made = _RULES.format(command=command, date=date, version=__version__, **counts)
    main = _main_table(score_rules.rows(told))
    return _part("Rules", "\n\n".join([made.strip(), main, score_rules.details(told)]))


def with_part(text: str, part: str) -> str:
    """The document with this part in place of the one of the same title, or before the misses.

    Its scores replace those of the same name in the one table, which would contradict it.
    """
    title = part.partition("\n")[0]
    old = re.compile(rf"^{re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = _with_scores(text, part)
    rest, count = old.subn(lambda _: part.strip() + "\n\n", text, count=1)
    before, heading, after = text.partition("## Largest misses")
    return rest if count else f"{before}{part.strip()}\n\n{heading}{after}"


_SCORE = re.compile(r"^\| rules[: ][^|]*\|", re.MULTILINE)


def _with_scores(text: str, part: str) -> str:
    lines = {m[0]: line for line in part.splitlines() if (m := _SCORE.match(line))}
    each = text.split("\n")
    return "\n".join(lines.get(m[0], line) if (m := _SCORE.match(line)) else line for line in each)


def _how(results: Results, command: str, date: str, seconds: float) -> str:
    runs = results.runs
    return _HOW.format(
        command=command,
        date=date,
        seconds=seconds,
        version=__version__,
        simulated=len(runs) + len(results.damaged),
        recorded=len(results.recorded),
        public=len(results.public) or "none were at hand",
        left_out=sum(run.steps - run.counted for run in runs),
        steps=sum(run.steps for run in runs),
    )


def _part(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _main_table(found: list[Row]) -> str:
    head = ["score", "inputs", "n", *(_TITLES[m] for m in METHODS), "aim"]
    lines = (
        [row.score, row.of, str(row.count), *(row.values.get(m, "") for m in METHODS), row.aim]
        for row in found
    )
    return table(head, lines)


def skipped(results: Results) -> list[str]:
    """Why a method gave no answer, once each."""
    return list(dict.fromkeys(reason for run in results.runs for reason in run.skipped))


def _literal(results: Results) -> str:
    """The p90 of |predicted - true| by class of fix, as analyzers can take it over."""
    lines = [
        f'    "{name}": ({_literally(gain)}, {_literally(step)}),  # {count} predictions'
        for name, (count, gain, step) in class_errors(results).items()
    ]
    about = "p90 of |predicted - true|: as a share of the predicted gain, and of the step."
    return "\n".join([about, "", "```python", "ERRORS = {", *lines, "}", "```"])


def _literally(share: float) -> str:
    return "None" if isnan(share) else f"{share:.3f}"


def as_json(results: Results, command: str) -> dict[str, Any]:
    """Scores and class errors, and every run they are made of."""
    return {
        "schema": "perfkit.accuracy/1",
        "command": command,
        "perfkit_version": __version__,
        "scores": [asdict(row) for row in rows(results)],
        "class_errors": {name: _finite(*found) for name, found in class_errors(results).items()},
        "skipped": skipped(results),
        "results": asdict(results),
    }


def _finite(count: int, gain: float, step: float) -> dict[str, float | None]:
    """JSON has no nan."""
    shares = {"of_gain": gain, "of_step": step}
    return {"predictions": count, **{k: None if isnan(v) else v for k, v in shares.items()}}
