"""`perfkit run`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from perfkit.cli.numbers import Whole
from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from perfkit.collectors.session import Options


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-o", "--out", default="perfkit-run", show_default=True, help="Folder of the Capture."
)
@click.option("-m", "--module", is_flag=True, help="SCRIPT is a module, as with python -m.")
@click.option(
    "--wait", type=Whole(0), default=5, show_default=True, help="Steps before the profiled window."
)
@click.option(
    "--warmup", type=Whole(0), default=3, show_default=True, help="Steps to warm the profiler up."
)
@click.option(
    "--active", type=Whole(1), default=20, show_default=True, help="Steps of the profiled window."
)
@click.option("--repeat", type=Whole(0), default=1, show_default=True, help="Profiled windows.")
@click.option("--ranks", metavar="0,8", help="Ranks that open windows; all, unless given.")
@click.option("--shapes", is_flag=True, help="Record the operators' input shapes.")
@click.option("--stacks", is_flag=True, help="Record Python stacks: findings then name lines.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    out: str,
    module: bool,
    wait: int,
    warmup: int,
    active: int,
    repeat: int,
    ranks: str | None,
    shapes: bool,
    stacks: bool,
    script: str,
    arguments: tuple[str, ...],
) -> int:
    """Collect a Capture of a training script that has no perfkit line in it.

    SCRIPT runs as python would run it, with its ARGUMENTS and its exit status. Steps are found by
    themselves: where the optimizer steps, else where the next batch is asked for. Under torchrun:
    torchrun ... -m perfkit run train.py. Then: perfkit analyze perfkit-run.
    """
    from pathlib import Path

    from perfkit.collectors.session import Options
    from perfkit.model.capture import Schedule

    if not module and not Path(script).is_file():
        raise PerfkitError(f"There is no script {script}: check the path.")
    options = Options(
        folder=Path(out).absolute(),
        schedule=Schedule(wait=wait, warmup=warmup, active=active, repeat=repeat),
        ranks=_numbers(ranks),
        record_shapes=shapes,
        with_stack=stacks,
    )
    return _collected(script, list(arguments), options, module)


def _collected(script: str, arguments: list[str], options: Options, is_module: bool) -> int:
    """The exit status of the script."""
    from perfkit.collectors.guard import disabled
    from perfkit.collectors.script import run_script

    try:
        return run_script(script, arguments, None if disabled() else options, is_module=is_module)
    except KeyboardInterrupt:
        # as an interrupted python ends, so that a shell loop around it ends too
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGINT)
        return 130


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise PerfkitError(f"--ranks takes numbers such as 0,8, not {text!r}.") from None
