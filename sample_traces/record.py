"""Record runs with a known fault: `python sample_traces/record.py --device cpu --out DIR`.

Each scenario's step times are measured without a profiler, with and without its fault in turns,
before perfkit records it; every run has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sample_traces.scenarios import DOSES, FORMS, SCENARIOS, Form, Scenario
from sample_traces.scenarios.publish import publish
from sample_traces.scenarios.runs import Run, RunError, device_name, measure, record
from sample_traces.scenarios.truth import Machine, Measured, truth, write_truth

_FEWEST_STEPS = 30
_ROUNDS = 2


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and record; exit status 1 if any scenario failed."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.list:
        _list(asked.device)
        return 0
    if asked.out is None:
        parser.error("--out DIR is needed: it is where the Captures go")
    if asked.steps < _FEWEST_STEPS:
        parser.error(f"--steps must be at least {_FEWEST_STEPS}: a profiled window must fit in")
    return _record_all(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Record training runs with a known fault.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--scenario", nargs="+", choices=sorted(SCENARIOS), metavar="NAME")
    parser.add_argument("--form", choices=(*FORMS, "both"), default="both")
    parser.add_argument("--dose", nargs="+", type=_dose, default=[1.0], metavar="X",
                        help=f"of the fault, such as {', '.join(map(str, DOSES))}")  # fmt: skip
    parser.add_argument("--steps", type=int, default=_FEWEST_STEPS, metavar="N")
    parser.add_argument("--publish", action="store_true",
                        help="take this machine's names and paths out of the Captures")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the scenarios and leave")
    return parser


def _dose(text: str) -> float:
    dose = float(text)
    if not 0.1 <= dose <= 10:
        raise argparse.ArgumentTypeError("a dose lies between 0.1 and 10")
    return dose


def _list(device: str) -> None:
    for scenario in SCENARIOS.values():
        skipped = scenario.skip.get(device)
        what = f"skipped: {skipped}" if skipped else scenario.injected
        print(f"{scenario.name:16} {what}")


def _record_all(asked: argparse.Namespace) -> int:
    began, failed = time.monotonic(), []
    try:
        name = device_name(asked.device)
    except RunError as error:
        print(f"{asked.device} cannot be used here: {_last_line(error)}", file=sys.stderr)
        return 1
    machine = Machine(asked.device, name, os.cpu_count() or 1)
    for scenario in (SCENARIOS[name] for name in asked.scenario or SCENARIOS):
        if asked.device in scenario.skip:
            print(f"{scenario.name}: skipped, {scenario.skip[asked.device]}", flush=True)
            continue
        failed += [
            f"{scenario.name} at dose {dose:g}"
            for dose in asked.dose
            if not _survived(asked, scenario, dose, machine)
        ]
    print(f"{time.monotonic() - began:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _survived(asked: argparse.Namespace, scenario: Scenario, dose: float, machine: Machine) -> bool:
    """Whether the scenario was recorded; what went wrong is printed."""
    try:
        _record_one(asked, scenario, dose, machine)
    except (RunError, OSError) as error:
        print(f"{scenario.name} at dose {dose:g} failed:\n{error}", file=sys.stderr, flush=True)
        return False
    return True


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _record_one(
    asked: argparse.Namespace, scenario: Scenario, dose: float, machine: Machine
) -> None:
    where = asked.out.absolute() / machine.device
    where.mkdir(parents=True, exist_ok=True)
    run = Run(scenario.name, machine.device, "fixed", dose, asked.steps, where)
    measured = _measured(run, scenario.forms)
    folder = Path(scenario.name if dose == 1 else f"{scenario.name}-x{dose:g}")
    for form in (f for f in scenario.forms if asked.form in (f, "both")):
        capture = folder / form
        shutil.rmtree(where / capture, ignore_errors=True)
        record(replace(run, form=form), capture, scenario.active)
        document = truth(scenario, form, dose, asked.steps, machine, measured)
        write_truth(document, where / capture)
        if asked.publish:
            publish(where / capture)
    print(f"{folder}: {_told(measured)}", flush=True)


def _measured(run: Run, forms: Iterable[Form]) -> Measured:
    """Step times of the forms in turns, so that a slow minute of the machine meets both."""
    measured = Measured([], [])
    for _ in range(_ROUNDS):
        for form in forms:
            measured.of(form).append(measure(replace(run, form=form)))
    return measured


def _told(measured: Measured) -> str:
    parts = {"faulty": measured.faulty, "fixed": measured.fixed}
    return ", ".join(
        f"{form} {' '.join(f'{t:.1f}' for t in times)} ms a step"
        for form, times in parts.items()
        if times
    )


if __name__ == "__main__":
    sys.exit(main())
