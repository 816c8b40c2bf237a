"""A small part of `benchmarks/fuzz.py --seed 7`: damaged traces end well."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from benchmarks.fuzz import fuzz, mutated, outcome, seeds

CASES = 150
LIMIT = 20.0  # seconds a case; they take a tenth of one


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the time limit needs a timer signal")
def test_damaged_traces_end_with_a_report_or_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    totals = fuzz(CASES, 7, LIMIT, tmp_path, seeds(largest=700_000))
    assert totals.failures == []
    assert sum(totals.exits.values()) == CASES
    assert set(totals.exits) == {"exit 0", "exit 2"}
    assert totals.exits["exit 0"] > CASES // 3


def test_the_same_seed_gives_the_same_cases() -> None:
    import random

    text = b'{"traceEvents": [{"ph": "X", "ts": 1}, {"ph": "X", "ts": 2}]}\n' * 20
    cases = [[mutated(random.Random(i), text) for i in range(40)] for _ in range(2)]
    assert [how for _, how in cases[0]] == [how for _, how in cases[1]]
    assert len({content for content, _ in cases[0]}) > 30


@pytest.mark.parametrize("fault", ["raise", "status", "warn", "loop", "babble"])
def test_a_failure_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def faulty(_: list[str]) -> None:
        import sys
        import warnings

        if fault == "raise":
            raise ZeroDivisionError
        if fault == "status":
            sys.exit(1)
        if fault == "warn":
            warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        if fault == "babble":
            sys.stderr.write("Traceback (most recent call last):\n  x\n")
            sys.exit(2)
        while True:
            pass

    monkeypatch.setattr("benchmarks.fuzz.perfkit_main", faulty)
    assert outcome(tmp_path / "trace.json", tmp_path, 0.2)[1] != ""
