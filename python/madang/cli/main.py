"""The `madang` command. A command imports what it needs when it runs, so that `ls` is quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from madang import __version__
from madang.cli import cluster_commands, log_commands
from madang.core.errors import MadangError

EXIT_USAGE = 2
EXIT_FAILED = 1
QUICK_COMMANDS = ("ls", "stop", "logs", "flush")
"""These know the control socket or the logs alone: the market is not imported for them."""

app = typer.Typer(
    name="madang",
    help="A real-time platform: a cluster of processes, and on it a market.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command()(cluster_commands.ls)
app.command()(cluster_commands.stop)
app.command("logs")(log_commands.show)
app.command()(log_commands.flush)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file; madang.toml if it is here.")
]
StateOption = Annotated[
    str | None, typer.Option("--state", help="State folder, instead of state_dir in madang.toml.")
]


@app.command()
def version() -> None:
    """Print the version and the engine that would run."""
    from madang.exchange.engine import engine_name

    typer.echo(f"madang {__version__}, engine {engine_name()}")


@app.command()
def doctor(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Look at this machine: interpreter, engine, disk, limits; exit code 1 with any advice."""
    from madang.cli import doctor as examination
    from madang.cli.session import state_folder

    findings = examination.examine(state_folder(state))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"{'ok ' if finding.good else 'BAD'} {finding.check:<14} {finding.found}")
            if finding.advice:
                typer.echo(f"{'':<18} {finding.advice}")
    raise typer.Exit(0 if all(finding.good for finding in findings) else EXIT_FAILED)


@app.command()
def up(
    config: ConfigOption = None,
    state: StateOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Eight simulated symbols, on the loopback address.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (0: any free one).")] = None,
    workers: Annotated[str | None, typer.Option(help='"max" or a number.')] = None,
) -> None:
    """Start everything in the foreground; Ctrl-C stops it."""
    from madang.cli import up as starting

    flags: dict[str, dict[str, object]] = {
        "cluster": {"state_dir": state, "workers": _workers(workers)},
        "edge": {"host": host, "port": port},
    }
    starting.run(config, flags, demo=demo)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Login name of the administrator.")] = "admin",
    folder: Annotated[Path, typer.Option(help="Where madang.toml goes.")] = Path(),
) -> None:
    """Write madang.toml and make the administrator; the secrets are printed once."""
    from madang.cli import first

    for line in first.init(folder, name):
        typer.echo(line)


def _workers(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def add_market_commands() -> None:
    """Add the commands that speak with the venue."""
    from madang.cli import (
        account_commands,
        balancer_commands,
        ledger_commands,
        replay_commands,
        sim_commands,
        venue_commands,
    )

    app.add_typer(venue_commands.app, name="venue")
    app.add_typer(account_commands.app, name="account")
    app.add_typer(ledger_commands.app, name="ledger")
    app.add_typer(balancer_commands.app, name="balancer")
    app.command()(sim_commands.sim)
    app.command()(replay_commands.replay)


def main() -> None:
    """Run the command; an operating error is one line on stderr and exit code 1."""
    if sys.platform != "linux":
        sys.stderr.write("madang: runs on Linux only\n")
        raise SystemExit(EXIT_USAGE)
    if sys.argv[1:2] not in [[command] for command in QUICK_COMMANDS]:
        add_market_commands()
    try:
        app()
    except MadangError as error:
        sys.stderr.write(f"madang: {error}\n")
        raise SystemExit(EXIT_FAILED) from error


if __name__ == "__main__":
    main()
