"""`perfkit doctor`."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from perfkit.model.capture import Sight

_SCHEMA = "perfkit.doctor/1"
_WIDEST = 100
_INDENT = 4


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
def doctor(as_json: bool) -> None:
    """Say what perfkit can see on this machine, and how to make it see the rest.

    One block for each collector: "ok" sees all it can, " !" a part, "--" nothing. Every sentence
    below it ends in what to do. The exit status is 0 whatever is missing.
    """
    from perfkit.collectors.checkup import checkup, facts

    known, sights = facts(), checkup()
    if as_json:
        click.echo(_json(known, sights))
        return
    for line in (*_head(known), "", *(line for sight in sights for line in _block(sight))):
        click.echo(line, color=False if os.environ.get("NO_COLOR") else None)


def _json(known: dict[str, Any], sights: list[Sight]) -> str:
    import msgspec

    document = {
        "schema": _SCHEMA,
        "environment": known,
        "collectors": [
            {"name": s.collector, "active": s.active, "sees": s.sees, "missing": s.missing}
            for s in sights
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _head(known: dict[str, Any]) -> Iterator[str]:
    torch = known.get("torch")
    yield (
        f"perfkit {known['perfkit']}, Python {known['python']}, "
        + (f"torch {torch}" if torch else "no torch")
    )
    cores = f"{known.get('cores', '?')} of {known.get('cpu_count', '?')} cores"
    yield ", ".join(part for part in (known.get("os"), known.get("cpu"), cores) if part)
    names = [gpu["name"] for gpu in known.get("gpus", [])]
    if names:
        counted = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
        yield f"{counted}, driver {known.get('driver', 'unknown')}"


def _block(sight: Sight) -> Iterator[str]:
    """The mark, the name and what is seen; then a paragraph for each thing that is missing."""
    mark = "--" if not sight.active else " !" if sight.missing else "ok"
    color = "green" if mark == "ok" else "yellow"
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    text = f"{sight.collector}: {', '.join(sight.sees)}" if sight.sees else sight.collector
    first, *rest = _wrapped(text, width)
    yield f"{click.style(mark, fg=color)}  {first.lstrip()}"
    yield from rest
    for sentence in sight.missing:
        yield from _wrapped(sentence, width)


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * _INDENT
    return textwrap.wrap(
        text, max(width, 40), initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
