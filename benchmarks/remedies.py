"""Whether the printed remedy returns what perfkit says: applied to a script, and measured again.

    python benchmarks/remedies.py [--device cuda] [--rounds 4] [--out docs/remedies.md]

Each training script with a known fault (sample_traces/scenarios) has a recording, or is recorded
where it has none. The remedy of its first finding is done: DataLoader options that it prints
replace the script's, and a remedy in words is done as the scenario's repaired form does it. Then
the step is measured without a profiler, with the fault and with the remedy in turns. Only input-,
sync- and launch-bound findings are tried; the last two need a GPU, since a CPU has no queue to run
ahead of.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.scoring import remedies
from benchmarks.scoring.remedies import Tried
from perfkit.version import __version__
from sample_traces.scenarios.runs import RunError, device_name

_FEWEST_STEPS = 30  # a profiled window must fit in
_HOW = """\
# Remedies, applied and measured

Made by `{command}` on {date} with perfkit {version}, on
{device} and {cores} cores, in {seconds:.0f} s. Do not edit.

Of training scripts with a known fault (`sample_traces/scenarios`) the recordings were diagnosed.
What the first finding prints was done, and the step measured without a profiler, with the fault and
with the remedy in turns ({rounds} rounds; medians, and the smallest and largest in brackets). The
predicted gain is the one that the finding prints. It is for a cause that is gone and all else as it
was; where the measured gain lies outside of its interval, the last column says by a recording of
the remedied run what was left of the cause, and what became of all else.
"""
_NO_GPU = """\
Not tried here: findings on synchronizing calls and on launches, since a CPU has no queue to run
ahead of. `python benchmarks/remedies.py --device cuda` tries them where a GPU is.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print the table, write the document; exit status 1 if the device cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=4, help="of both forms (default 4)")
    parser.add_argument("--steps", type=int, default=_FEWEST_STEPS, help="of each run")
    parser.add_argument("--out", type=Path, help="write the document here, as Markdown")
    asked = parser.parse_args(arguments)
    if asked.steps < _FEWEST_STEPS or asked.rounds < 1:
        parser.error(f"--steps must be at least {_FEWEST_STEPS} and --rounds at least 1")
    began = time.perf_counter()
    try:
        device, found = device_name(asked.device), _tried(asked)
    except RunError as error:
        print(f"It did not run: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    text = _text(asked, device, found, time.perf_counter() - began)
    print(text)
    if asked.out:
        asked.out.write_text(text, "utf-8")
    return 0


def _tried(asked: argparse.Namespace) -> list[Tried]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for scenario in remedies.scenarios(asked.device):
            found.append(
                remedies.tried(scenario, asked.device, asked.steps, asked.rounds, Path(folder))
            )
            print(f"{scenario.name}: {found[-1].verdict}", file=sys.stderr, flush=True)
    return found


def _text(asked: argparse.Namespace, device: str, found: list[Tried], seconds: float) -> str:
    options = "" if asked.device == "cpu" else f" --device {asked.device}"
    how = _HOW.format(
        command=f"python benchmarks/remedies.py{options} --rounds {asked.rounds}",
        date=date.today().isoformat(),
        version=__version__,
        device=device,
        cores=os.cpu_count(),
        seconds=seconds,
        rounds=asked.rounds,
    )
    parts = [how, remedies.rows(found), *([_NO_GPU] if asked.device == "cpu" else [])]
    parts += ["## What was printed, and what was done", remedies.remedies(found)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
