"""How right perfkit is: one table of scores over runs whose truth is known.

    python benchmarks/accuracy.py [--quick] [--workers 2] [--out docs/accuracy.md] [--json FILE]
    python benchmarks/accuracy.py --rules [--out docs/accuracy.md]

Simulated runs have a fault at several doses, two faults, or a damaged trace, and the simulator's
truth beside them, which says what each fix would have given. Recorded runs are real programs
with a fault and repaired. Simpler methods are scored on the same runs. It takes about eight minutes
of processor time, --quick about one and a half. --rules scores the advice alone, on the labelled
cases of tests/advice/labels and a sample of the simulated ones (some two minutes of processor
time), and renews its part of the document.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.scoring import cases, document, real, runs, told
from benchmarks.scoring.cases import Case
from benchmarks.scoring.results import Results
from benchmarks.scoring.told import Told

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two doses, one seed, few pairs")
    parser.add_argument("--rules", action="store_true", help="what rules say, and nothing else")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--out", type=Path, help="write the document here, as Markdown")
    parser.add_argument("--json", type=Path, help="write all scores here")
    asked = parser.parse_args(arguments)
    if asked.rules:
        _rules(asked)
        return
    began = time.perf_counter()
    results = measured(asked.quick, asked.workers)
    took = time.perf_counter() - began
    command = "python benchmarks/accuracy.py" + (" --quick" if asked.quick else "")
    text = document.text(results, command, _today(), took)
    print(text)
    if asked.out:
        asked.out.write_text(text, "utf-8")
    if asked.json:
        found = document.as_json(results, command)
        asked.json.write_text(json.dumps(found, indent=1, default=sorted), "utf-8")


def _rules(asked: argparse.Namespace) -> None:
    """Print what rules are worth, and renew the part of the document that says it."""
    with ProcessPoolExecutor(max_workers=asked.workers) as pool:
        simulated = _each(pool, "simulated runs", told.simulated, cases.for_rules())
    found = [*simulated, *labelled()]
    made = document.rules(found, "python benchmarks/accuracy.py --rules", _today())
    print(made)
    if asked.out:
        asked.out.write_text(document.with_part(asked.out.read_text("utf-8"), made), "utf-8")


def labelled() -> list[Told]:
    """What rules say of the labelled cases that are not simulated."""
    which = (told.recorded, told.public, told.storage, told.compute, told.host, told.made)
    return [one for source in which for one in source()]


def _today() -> str:
    return date.today().isoformat()


def measured(quick: bool, workers: int, names: Sequence[str] | None = None) -> Results:
    """Everything, in `workers` processes; `names` limits the simulated faults."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        each = partial(_each, pool)
        return Results(
            clean=each("clean runs", runs.measured, cases.clean(quick)),
            singles=each("single faults", _single, cases.singles(quick, names)),
            pairs=each("pairs of faults", runs.measured, cases.pairs(quick)),
            damaged=list(chain(*each("damaged traces", _damaged, cases.damaged(quick)))),
            recorded=list(real.pairs()),
            public=each("public traces", real.unknown, real.public()),
            told=labelled(),
        )


def _single(case: Case) -> runs.Run:
    return runs.measured(case, with_hta=cases.asks_hta(case))


def _damaged(case: Case) -> list[runs.Damaged]:
    return runs.damaged(case, cases.DAMAGES)


def _each(
    pool: ProcessPoolExecutor, what: str, work: Callable[[Item], Answer], items: list[Item]
) -> list[Answer]:
    """Do the work on each item, and say how long it took."""
    began = time.perf_counter()
    found = list(pool.map(work, items))
    took = time.perf_counter() - began
    print(f"{len(found)} {what} in {took:.0f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
