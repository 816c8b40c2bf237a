"""Failures a user can cause: each is one sentence that ends in the remedy."""

from __future__ import annotations

from collections.abc import Iterable


class PerfkitError(Exception):
    """The user's input was wrong; the message says what to do. The command line exits with 2."""


def closest(word: str, names: Iterable[str]) -> str | None:
    """The name that was meant: one spelt much the same, else one that has the word in it."""
    import difflib

    said, known = word.lower().replace("_", "-"), list(names)
    alike = difflib.get_close_matches(said, known, 1)
    return next(iter([*alike, *(name for name in known if said and said in name)]), None)
