"""`perfkit explain`."""

from __future__ import annotations

import click


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print the page of a rule, or list the rules.

    CODE is a rule's code, such as dataloader-starvation.
    """
    from perfkit.reports import advice

    if code is not None:
        click.echo(f"{code}: {advice.page(code).text}")
        return
    widest = max(map(len, advice.codes()))
    for known in advice.codes():
        click.echo(f"{known:{widest}}  {advice.page(known).summary}")
