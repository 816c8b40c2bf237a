"""Write simulated traces and the truth about them: `python sample_traces/simulate.py --out DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sample_traces.simulator import SCENARIOS, simulate, write


def main() -> None:
    """Read the command line, simulate, write."""
    parser = argparse.ArgumentParser(description="Write simulated Kineto traces with their truth.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), action="append", help="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="instead of the scenario's own number")
    asked = parser.parse_args()
    for name in asked.scenario or SCENARIOS:
        print(write(simulate(name, asked.seed, asked.steps), asked.out))


if __name__ == "__main__":
    main()
