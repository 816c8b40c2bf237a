"""`perfkit whatif`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from perfkit.cli.memory import one_report
from perfkit.cli.numbers import Whole
from perfkit.cli.output import progress_bar, refuse_overwriting, write
from perfkit.errors import PerfkitError


@click.command()
@click.argument("path", required=False)
@click.option("--fix", multiple=True, metavar="NAME", help="This fix; repeat for several at once.")
@click.option("--json", metavar="FILE", help="Write the diagnosis as JSON ('-' is stdout).")
@click.option("--rank", type=Whole(0), help="This rank of a recorded run.")
@click.option("--window", type=Whole(1), help="This profiled window of it, from 1.")
@click.option("--list", "listed", is_flag=True, help="List the fixes.")
@one_report()
def whatif(
    path: str | None,
    fix: tuple[str, ...],
    json: str | None,
    rank: int | None,
    window: int | None,
    listed: bool,
) -> None:
    """Predict the step with a fix, by replaying the trace with it.

    PATH is what `perfkit analyze` takes. Without --fix, every fix that returns something is
    predicted. Several fixes are predicted each alone and all together, since gains do not add.
    """
    if listed:
        click.echo("\n".join(_fixes()))
        return
    if path is None:
        raise PerfkitError("Say which trace: perfkit whatif trace.json.gz --fix sync.")
    _predict(path, fix, json, rank, window)


def _predict(
    path: str, fixes: tuple[str, ...], json: str | None, rank: int | None, window: int | None
) -> None:
    from perfkit.api import analyze
    from perfkit.reports.whatif import render

    refuse_overwriting(path, [json] if json else [])
    with progress_bar() as progress:
        diagnosis = analyze(path, progress=progress, rank=rank, window=window, fixes=fixes)
    if json is not None:
        write(json, diagnosis.to_json() + "\n")
    if json != "-":
        click.echo(render(diagnosis), nl=False)


def _fixes() -> Iterator[str]:
    """A line a fix; K is a factor, CLASS a class of kernels."""
    from perfkit.analyzers.whatif.fixes import CATALOGUE
    from perfkit.model.kernel import KernelKind

    lines = []
    for name, entry in CATALOGUE.items():
        said = entry.text.format(k="K", what="all")
        lines.append((f"{name}=K" if entry.scales else name, said))
    classes = ", ".join(KernelKind)
    lines.append(("kernels:CLASS=K", f"the same for one CLASS: {classes}"))
    widest = max(len(name) for name, _ in lines)
    yield from (f"{name:{widest}}  {said}" for name, said in lines)
