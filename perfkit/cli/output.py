"""Where the commands' reports go, and the bar while they read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.trace.source import Progress


def refuse_overwriting(path: str, targets: Sequence[str]) -> None:
    """PerfkitError where a report would replace what is read, or another report."""
    from pathlib import Path

    files = [Path(target).resolve() for target in targets if target != "-"]
    if Path(path).resolve() in files:
        raise PerfkitError(f"The report would overwrite the trace {path}: choose another file.")
    for target in files:
        if _is_recorded(target, Path(path).resolve()):
            raise PerfkitError(f"The report would overwrite {target}: choose another file.")
    if len(set(files)) < len(files):
        raise PerfkitError("Two reports would go to the same file: give each its own.")


def _is_recorded(target: Path, folder: Path) -> bool:
    """Whether the file is part of the Capture that is being analyzed."""
    recorded = target.name == "capture.json" or target.parent.name.startswith("rank")
    return recorded and target.is_file() and folder in (target.parent, target.parent.parent)


def write(target: str, text: str) -> None:
    """Write all of it or nothing: a reader never meets half a report."""
    from pathlib import Path

    if target == "-":
        click.echo(text, nl=False)
        return
    path = Path(target)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise PerfkitError(
            f"Cannot write {target} ({error.strerror}): choose a folder you may write to."
        ) from error


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A progress bar on a terminal, nothing when piped."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1, label="Reading", file=sys.stderr) as bar:
        yield _updater(bar.update, bar)


def _updater(update: Callable[[int], None], bar: object) -> Progress:
    done = 0

    def progress(read: int, total: int) -> None:
        nonlocal done
        bar.length = max(total, read)  # type: ignore[attr-defined]
        update(read - done)
        done = read

    return progress
