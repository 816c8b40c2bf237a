"""`perfkit analyze`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.trace.source import Progress

_WIDEST = 120


@click.command()
@click.argument("path")
@click.option("--html", metavar="FILE", help="Write the report as one HTML file.")
@click.option("--json", metavar="FILE", help="Write the diagnosis as JSON ('-' is stdout).")
@click.option("--markdown", metavar="FILE", help="Write a pull-request comment ('-' is stdout).")
@click.option("--open", "show", is_flag=True, help="Open the HTML report in a browser.")
@click.option("--rank", type=click.IntRange(0), help="This rank of a recorded run.")
@click.option("--window", type=click.IntRange(1), help="This profiled window of it, from 1.")
@click.option("--rule", multiple=True, metavar="CODE", help="Only this advice; repeatable.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not this advice; repeatable.")
def analyze(
    path: str,
    html: str | None,
    json: str | None,
    markdown: str | None,
    show: bool,
    rank: int | None,
    window: int | None,
    rule: tuple[str, ...],
    ignore: tuple[str, ...],
) -> None:
    """Say where every step of a trace went and what to do about it.

    PATH is a PyTorch Profiler trace (.json or .json.gz), its address (s3://...), or the folder
    that a run recorded by perfkit has left.
    """
    from perfkit.api import analyze as run

    if [html, json, markdown].count("-") > 1:
        raise PerfkitError("Only one report can go to standard output: give the others a file.")
    if show and html in (None, "-"):
        raise PerfkitError("--open needs a file to open: add --html report.html.")
    _refuse_overwriting(path, [target for target in (html, json, markdown) if target])
    with _progress() as progress:
        diagnosis = run(
            path, progress=progress, rules=rule or None, ignore=ignore, rank=rank, window=window
        )
    for target, render in ((html, _html), (json, _json), (markdown, _markdown)):
        if target is not None:
            _write(target, render(diagnosis))
    if "-" not in (html, json, markdown):
        click.echo(_terminal(diagnosis), nl=False)
    if show and html is not None:
        _open(html)


def _refuse_overwriting(path: str, targets: list[str]) -> None:
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


def _html(diagnosis: Diagnosis) -> str:
    from perfkit.reports.html import render

    return render(diagnosis)


def _json(diagnosis: Diagnosis) -> str:
    return diagnosis.to_json() + "\n"


def _markdown(diagnosis: Diagnosis) -> str:
    from perfkit.reports.markdown import render

    return render(diagnosis)


def _terminal(diagnosis: Diagnosis) -> str:
    import os
    import shutil

    from perfkit.reports.terminal import render

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return render(diagnosis, width=min(shutil.get_terminal_size().columns, _WIDEST), color=color)


def _write(target: str, text: str) -> None:
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


def _open(html: str) -> None:
    import webbrowser
    from pathlib import Path

    webbrowser.open(Path(html).resolve().as_uri())


@contextmanager
def _progress() -> Iterator[Progress | None]:
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
