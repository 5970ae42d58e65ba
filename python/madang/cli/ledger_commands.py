"""`madang ledger …`: the history in SQL, which the log can always make again."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from madang.cli import session
from madang.exchange.ledger.rebuild import rebuild as make_anew

app = typer.Typer(help="The history of orders, fills and transfers.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """The history of orders, fills and transfers."""


@app.command()
def rebuild(
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where the log no longer has its beginning.")
    ] = False,
    state: Annotated[str | None, typer.Option("--state", help="State folder.")] = None,
) -> None:
    """Make ledger.db anew from the log; nothing may run meanwhile."""
    done = asyncio.run(make_anew(session.market_folder(state), partial=partial))
    typer.echo(
        f"commands {done.first_sequence} to {done.last_sequence}: {done.orders} orders, "
        f"{done.fills} fills, {done.transfers} transfers"
    )
