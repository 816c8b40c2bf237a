"""Run the whole command on damaged traces: exit 0 or 2, never a traceback, never long.

    python benchmarks/fuzz.py [--count 2000] [--seed 0] [--limit 20] [--keep DIR]

Real traces from ../shared/traces, where they are, and simulated ones are mutated. Every failing
case is written to --keep with what happened.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from perfkit.cli import main as perfkit_main
from perfkit.trace import document
from sample_traces.simulator import SCENARIOS, simulate, trace_text

PUBLIC = Path(__file__).resolve().parents[2] / "shared" / "traces"
LARGEST_SEED = 1_200_000
# As they are, and so small that blocks end everywhere.
BLOCKS: tuple[dict[str, Any], ...] = ({}, {"BLOCK_BYTES": 30_000, "_LAST_BYTES": 4_000})
NUMBERS = (
    *(b"0", b"-1", b"-0.0", b"1e308", b"-1e308", b"1e-320", b"9223372036854775807"),
    *(b"9223372036854775808", b"-9223372036854775809", b"1" * 40, b"1" * 5000, b"0.0000001"),
    *(b"4611686018427387.903", b"1712169112123456.789", b"inf", b"NaN", b"N/A", b"-1.-500", b'"7"'),
)
VALUES = (
    *(b"null", b"true", b"[]", b"{}", b'""', b'"text"', b"[1, [2]]", b'{"a": {"b": 1}}', b"-7"),
    *(b'"\\ud800"', b'"\xff"', b'"a "b" c"', b"1.5", b"[" * 2000, b'"' + b"x" * 70_000 + b'"'),
)
_NUMBER = re.compile(rb"(?<=[:\[,])\s*-?\d+(?:\.\d+)?(?=\s*[,}\]])")
_VALUE = re.compile(rb'(?<=":)\s*(?:-?[\d.]+|"[^"\\]*")(?=\s*[,}])')
_KEY = re.compile(rb'"(?:ph|cat|name|pid|tid|ts|dur|args|id|correlation|stream|device|bytes)"(?=:)')
_EVENT_END = re.compile(rb"\},(?=\s*\{)")

Mutation = Callable[[random.Random, bytes], bytes]


def _places(rng: random.Random, pattern: re.Pattern[bytes], text: bytes) -> list[re.Match[bytes]]:
    """Some matches, from the last one back."""
    found = list(pattern.finditer(text))
    picked = rng.sample(found, min(len(found), rng.choice((1, 1, 3, 30))))
    return sorted(picked, key=lambda match: -match.start())


def _replaced(
    rng: random.Random, text: bytes, pattern: re.Pattern[bytes], new: tuple[bytes, ...]
) -> bytes:
    for match in _places(rng, pattern, text):
        text = text[: match.start()] + rng.choice(new) + text[match.end() :]
    return text


def flip(rng: random.Random, text: bytes) -> bytes:
    """Any byte becomes any other."""
    data = bytearray(text)
    for _ in range(rng.choice((1, 5, 100))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def delete(rng: random.Random, text: bytes) -> bytes:
    """A stretch is gone."""
    at = rng.randrange(len(text))
    return text[:at] + text[at + rng.choice((1, 2, 50, 5000)) :]


def duplicate(rng: random.Random, text: bytes) -> bytes:
    """A stretch comes twice."""
    at = rng.randrange(len(text))
    return text[: at + rng.choice((1, 50, 5000))] + text[at:]


def truncate(rng: random.Random, text: bytes) -> bytes:
    """The writer was killed."""
    return text[: rng.randrange(len(text))]


def number(rng: random.Random, text: bytes) -> bytes:
    """Numbers no writer means."""
    return _replaced(rng, text, _NUMBER, NUMBERS)


def time_stamps(rng: random.Random, text: bytes) -> bytes:
    """Starts and durations no clock shows."""
    key = re.compile(rb'(?<="%b":)\s*-?[\d.]+' % rng.choice((b"ts", b"dur")))
    return _replaced(rng, text, key, NUMBERS)


def kind(rng: random.Random, text: bytes) -> bytes:
    """Values of another type."""
    return _replaced(rng, text, _VALUE, VALUES)


def swap_keys(rng: random.Random, text: bytes) -> bytes:
    """Fields under each other's names."""
    keys = sorted(set(_KEY.findall(text)))
    return _replaced(rng, text, _KEY, tuple(keys)) if keys else text


def events(rng: random.Random, text: bytes) -> bytes:
    """Records removed, repeated or shuffled."""
    parts = _EVENT_END.split(text)
    inner = parts[1:-1]
    how = rng.randrange(4)
    if how == 0:
        rng.shuffle(inner)
    elif how == 1:
        inner = [part for part in inner if rng.random() < 0.3]
    elif how == 2:
        inner = inner + inner[: len(inner) // 2]
    else:
        word = rng.choice((b'"kernel"', b'"cpu_op"', b'"cuda_runtime"', b"ProfilerStep#", b'"X"'))
        inner = [part for part in inner if word not in part]
    return b"},".join([parts[0], *inner, parts[-1]] if len(parts) > 1 else parts)


def lines(rng: random.Random, text: bytes) -> bytes:
    """Lines in another order."""
    rows = text.split(b"\n")
    at = rng.randrange(len(rows))
    few = rows[at : at + rng.choice((2, 10, 100))]
    rng.shuffle(few)
    return b"\n".join([*rows[:at], *few, *rows[at + len(few) :]])


def layout(rng: random.Random, text: bytes) -> bytes:
    """The same document as another writer prints it."""
    try:
        root = json.loads(text)
    except (ValueError, RecursionError):
        return text
    indent = rng.choice((None, 0, 2))
    return json.dumps(root, indent=indent, sort_keys=rng.random() < 0.5).encode()


MUTATIONS: tuple[Mutation, ...] = (
    *(flip, delete, duplicate, truncate, number, number, time_stamps, time_stamps, kind, kind),
    *(swap_keys, events, events, lines, layout),
)


def squeeze(rng: random.Random, text: bytes) -> bytes:
    """Plain, gzip, or gzip that was damaged too."""
    if rng.random() < 0.6:
        return text
    packed = gzip.compress(text, compresslevel=1)
    if rng.random() < 0.5:
        return packed
    return rng.choice((flip, delete, duplicate, truncate))(rng, packed)


def mutated(rng: random.Random, text: bytes) -> tuple[bytes, str]:
    """A damaged trace and what was done to it."""
    chosen = rng.choices(MUTATIONS, k=rng.choice((1, 1, 1, 2, 4)))
    for mutation in chosen:
        text = mutation(rng, text) or b"{"
    return squeeze(rng, text), "+".join(mutation.__name__ for mutation in chosen)


def seeds(largest: int = LARGEST_SEED) -> list[bytes]:
    """Small traces, real ones where they are, and simulated ones."""
    texts = []
    for path in sorted(PUBLIC.rglob("*.json*")):
        raw = path.read_bytes() if path.stat().st_size < largest else b""
        text = (
            gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" and "rocprof" not in path.name else raw
        )
        if 0 < len(text) < largest:
            texts.append(text)
    for name in ("input_bound", "sync_bound", "communication_bound", "launch_bound", "mixed"):
        run = simulate(name, 0, 3)
        texts.append(trace_text(SCENARIOS[name], run.recording).encode())
    return texts


@dataclass
class Totals:
    """What came of all cases."""

    exits: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: str = ""

    def line(self, seconds: float) -> str:
        """All in one line."""
        exits = ", ".join(f"{count} {what}" for what, count in sorted(self.exits.items()))
        return (
            f"{sum(self.exits.values())} cases: {exits}; {len(self.failures)} failures; "
            f"slowest {self.slowest:.2f} s ({self.slowest_case}); {seconds:.0f} s in all"
        )


class TooLongError(BaseException):
    """Raised in the command by the clock."""


@contextlib.contextmanager
def _clock(limit: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(path: Path, out: Path, limit: float) -> tuple[str, str]:
    """("exit 0" or another short word, details of a failure or "")."""
    arguments = ["analyze", str(path), "--json", str(out / "a.json"), "--html", str(out / "a.html")]
    said, complained = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with (
            _clock(limit),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(complained),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            perfkit_main([*arguments, "--markdown", str(out / "a.md")])
    except SystemExit as ended:
        code = ended.code
    except TooLongError:
        return "too long", f"longer than {limit} s\n{traceback.format_exc()}"
    except BaseException:
        return "exception", traceback.format_exc()
    return f"exit {code}", _complaint(code, complained.getvalue(), out)


def _complaint(code: object, complained: str, out: Path) -> str:
    """What is wrong with how the command ended."""
    if code == 2:
        whole = complained.startswith("perfkit: ") and complained.count("\n") == 1
        return "" if whole and complained.endswith(".\n") else f"not one sentence: {complained!r}"
    if code != 0:
        return f"exit status {code}"
    try:
        json.loads((out / "a.json").read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        return f"the JSON report: {error}"
    return complained


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def fuzz(count: int, seed: int, limit: float, keep: Path, texts: list[bytes]) -> Totals:
    """Run so many cases; the same seed gives the same cases."""
    totals = Totals()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in range(count):
            rng = random.Random(seed * 1_000_003 + case)
            content, how = mutated(rng, rng.choice(texts))
            path = folder / "trace.json"
            path.write_bytes(content)
            start = time.perf_counter()
            with patch.dict(vars(document), rng.choice(BLOCKS)):
                what, failure = outcome(path, folder, limit)
            seconds = time.perf_counter() - start
            totals.exits[what] += 1
            if seconds > totals.slowest:
                totals.slowest, totals.slowest_case = seconds, f"case {case}, {how}"
            if failure:
                totals.failures.append(f"case {case} ({how}): {failure}")
                _keep(keep, f"seed{seed}-case{case}", content, failure)
    return totals


def _keep(folder: Path, name: str, content: bytes, failure: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_bytes(content)
    (folder / f"{name}.txt").write_text(failure, encoding="utf-8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=20, help="seconds a case may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "perfkit-fuzz")
    args = parser.parse_args()
    os.environ["COLUMNS"] = "100"
    start = time.perf_counter()
    totals = fuzz(args.count, args.seed, args.limit, args.keep, seeds())
    for failure in totals.failures[:20]:
        print(failure.strip().splitlines()[0], "...", failure.strip().splitlines()[-1])
    print(totals.line(time.perf_counter() - start))
    sys.exit(bool(totals.failures))


if __name__ == "__main__":
    main()
