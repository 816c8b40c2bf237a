"""The command line: one file per command, imported only when it runs."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any, cast

import click

_COMMANDS = {
    "analyze": "Say where every step of a trace went and what to do about it.",
    "whatif": "Predict the step with a fix, by replaying the trace with it.",
    "run": "Collect a Capture of a training script that has no perfkit line in it.",
    "doctor": "Say what perfkit can see on this machine, and how to make it see the rest.",
    "explain": "Print the page of a rule, or list the rules.",
}


class _Commands(click.Group):
    """Commands by name; help needs no import of theirs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return cast("click.Command", getattr(import_module(f"perfkit.cli.{cmd_name}"), cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        from perfkit.errors import PerfkitError

        try:
            return super().invoke(ctx)
        except PerfkitError as error:
            raise click.UsageError(str(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="perfkit")
def _group() -> None:
    """Say why the GPUs are idle and which fix pays."""


def main(args: list[str] | None = None) -> None:
    """Run a command; exit 0, 1 (a gate was crossed) or 2 (one sentence says what was wrong)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal's encoding may lack what names hold
        sys.stdout.reconfigure(errors="replace")
    try:
        code = _group.main(args=args, standalone_mode=False)
    except click.UsageError as error:
        click.echo(f"perfkit: {error.format_message()}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SystemExit:  # click's own, when the reader of our output, such as head, has gone
        sys.exit(0)
    except OSError as error:
        click.echo(
            f"perfkit: Cannot write the output ({error.strerror}): free some space.", err=True
        )
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
