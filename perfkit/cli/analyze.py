"""`perfkit analyze`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from perfkit.cli.memory import one_report
from perfkit.cli.numbers import Price, Whole
from perfkit.cli.output import progress_bar, refuse_overwriting, write
from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from perfkit.model.diagnosis import Audience, Diagnosis
    from perfkit.model.settings import Settings

_WIDEST = 120


@click.command()
@click.argument("path")
@click.option("--html", metavar="FILE", help="Write the report as one HTML file.")
@click.option("--json", metavar="FILE", help="Write the diagnosis as JSON ('-' is stdout).")
@click.option("--markdown", metavar="FILE", help="Write a pull-request comment ('-' is stdout).")
@click.option("--open", "show", is_flag=True, help="Open the HTML report in a browser.")
@click.option("--rank", type=Whole(0), help="This rank of a recorded run.")
@click.option("--window", type=Whole(1), help="This profiled window of it, from 1.")
@click.option("--gpus", type=Whole(1), help="GPUs of the job: what idle time costs a day.")
@click.option(
    "--gpu-hour-price", type=Price(), metavar="X", help="Price of an hour of one of them."
)
@click.option("--rule", multiple=True, metavar="CODE", help="Only this advice; repeatable.")
@click.option("--ignore", multiple=True, metavar="CODE", help="Not this advice; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Small findings too (below 0.5 % a step).")
@click.option(
    "--audience",
    type=click.Choice(["researcher", "infrastructure"]),
    help="Only what this one can act on.",
)
@one_report()
def analyze(
    path: str,
    html: str | None,
    json: str | None,
    markdown: str | None,
    show: bool,
    rank: int | None,
    window: int | None,
    gpus: int | None,
    gpu_hour_price: float | None,
    rule: tuple[str, ...],
    ignore: tuple[str, ...],
    everything: bool,
    audience: Audience | None,
) -> None:
    """Say where every step of a trace went and what to do about it.

    PATH is a PyTorch Profiler trace (.json or .json.gz), its address (s3://...), or the folder
    that a run recorded by perfkit has left. The table [tool.perfkit] of the nearest
    pyproject.toml may ignore rules, set their limits, and add rates of devices.
    """
    from perfkit.api import analyze as run

    if show and html in (None, "-"):
        raise PerfkitError("--open needs a file to open: add --html report.html.")
    if gpu_hour_price is not None and gpus is None:
        raise PerfkitError("--gpu-hour-price needs the number of GPUs: add --gpus 8.")
    _check_targets(path, html, json, markdown)
    settings = _settings(everything)
    with progress_bar() as progress:
        diagnosis = run(
            path, progress=progress, rules=rule or None, ignore=ignore, audience=audience,
            settings=settings, rank=rank, window=window,
        )  # fmt: skip
    if gpus is not None:
        diagnosis = _with_money(diagnosis, gpus, gpu_hour_price)
    _report(diagnosis, html, json, markdown, everything)
    if show and html is not None:
        _open(html)


def _check_targets(path: str, *targets: str | None) -> None:
    if targets.count("-") > 1:
        raise PerfkitError("Only one report can go to standard output: give the others a file.")
    refuse_overwriting(path, [target for target in targets if target])


def _report(
    diagnosis: Diagnosis,
    html: str | None,
    json: str | None,
    markdown: str | None,
    everything: bool,
) -> None:
    for target, render in ((html, _html), (json, _json), (markdown, _markdown)):
        if target is not None:
            write(target, render(diagnosis))
    if "-" not in (html, json, markdown):
        click.echo(_terminal(diagnosis, everything), nl=False)


def _settings(everything: bool) -> Settings:
    from pathlib import Path

    import msgspec

    from perfkit.cli.settings import settings_near

    settings = settings_near(Path.cwd())
    return msgspec.structs.replace(settings, least_share=0.0) if everything else settings


def _with_money(diagnosis: Diagnosis, gpus: int, price: float | None) -> Diagnosis:
    from perfkit.reports.money import with_money

    return with_money(diagnosis, gpus, price)


def _html(diagnosis: Diagnosis) -> str:
    from perfkit.reports.html import render

    return render(diagnosis)


def _json(diagnosis: Diagnosis) -> str:
    return diagnosis.to_json() + "\n"


def _markdown(diagnosis: Diagnosis) -> str:
    from perfkit.reports.markdown import render

    return render(diagnosis)


def _terminal(diagnosis: Diagnosis, everything: bool) -> str:
    import os
    import shutil

    from perfkit.reports.terminal import render

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    return render(diagnosis, width=width, color=color, everything=everything)


def _open(html: str) -> None:
    import webbrowser
    from pathlib import Path

    webbrowser.open(Path(html).resolve().as_uri())
