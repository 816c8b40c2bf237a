"""Write simulated traces and the truth about them: `python sample_traces/simulate.py --out DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sample_traces.simulator import INJECTIONS, SCENARIOS, inject, simulate, write


def main() -> None:
    """Read the command line, simulate, write."""
    parser = argparse.ArgumentParser(description="Write simulated Kineto traces with their truth.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", help="all")
    parser.add_argument(
        "--inject",
        type=_fault,
        action="append",
        metavar="FAULT=DOSE",
        help="instead of scenarios, one run with these faults: " + ", ".join(INJECTIONS),
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="FAULT", help="repair an injected fault"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="instead of the scenario's own number")
    asked = parser.parse_args()
    if not asked.inject:
        for name in asked.scenario or SCENARIOS:
            print(write(simulate(name, asked.seed, asked.steps), asked.out))
        return
    try:
        run = inject(dict(asked.inject), asked.seed, asked.steps, without=asked.without)
    except ValueError as error:
        parser.error(str(error))
    print(write(run, asked.out))


def _fault(text: str) -> tuple[str, float]:
    name, _, dose = text.partition("=")
    try:
        return name, float(dose)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FAULT=DOSE, such as collate=0.5"
        ) from None


if __name__ == "__main__":
    main()
