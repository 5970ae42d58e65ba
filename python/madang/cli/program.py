"""The `madang` command. A command imports what it needs when it runs, so that `ls` is quick."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from madang import __version__
from madang.cli import (
    cluster_commands,
    describe,
    log_commands,
    monit,
    saved,
    service,
    start,
    upgrade_command,
)
from madang.core.errors import MadangError

EXIT_FAILED = 1
NAME = "madang"
QUICK_COMMANDS = (
    "start", "stop", "restart", "reload", "scale", "delete", "ls", "logs", "flush", "signal",
    "send", "env", "reset", "describe", "monit", "save", "resurrect",
    "service", "upgrade",
)  # fmt: skip
"""These know the control socket or the logs alone: the market is not imported for them."""

app = typer.Typer(
    name=NAME,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
WRONG_USAGE: Any = typer.BadParameter.__mro__[2]
"""The root of what is raised for arguments that cannot be used; Typer does not name it."""
WORDS_LIKE_OPTIONS = {"ignore_unknown_options": True}
"""`scale web -1` has an argument that begins like an option."""

app.command()(start.start)
app.command()(cluster_commands.stop)
app.command()(cluster_commands.restart)
app.command()(cluster_commands.reload)
app.command(context_settings=WORDS_LIKE_OPTIONS)(cluster_commands.scale)
app.command()(cluster_commands.delete)
app.command()(cluster_commands.ls)
app.command()(describe.describe)
app.command()(monit.monit)
app.command()(cluster_commands.signal)
app.command()(cluster_commands.send)
app.command()(cluster_commands.env)
app.command()(cluster_commands.reset)
app.command()(upgrade_command.upgrade)
app.command()(saved.save)
app.command()(saved.resurrect)
app.command()(service.service)
app.command("logs")(log_commands.show)
app.command()(log_commands.flush)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file; madang.toml if it is here.")
]
StateOption = Annotated[
    str | None, typer.Option("--state", help="State folder, instead of state_dir in madang.toml.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def common(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """A real-time platform: a cluster of processes, and on it a market."""


@app.command()
def version() -> None:
    """Print the version and the engine that would run.

    Example: madang version
    """
    from madang.exchange.engine import engine_name

    typer.echo(f"madang {__version__}, engine {engine_name()}")


@app.command()
def doctor(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Look at this machine: interpreter, engine, disk, limits; exit code 1 with any advice.

    Example: madang doctor --json
    """
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
    """Start everything in the foreground; Ctrl-C stops it.

    Examples: madang up, madang up --demo
    """
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
    """Write madang.toml and make the administrator; the secrets are printed once.

    Example: madang init admin
    """
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


def completed() -> list[str]:
    """Return the words whose last one the shell wants completed, without `madang`."""
    words = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return words.split()[1:] if f"_{NAME.upper()}_COMPLETE" in os.environ else []


def run(arguments: list[str]) -> None:
    """Run the command; an operating error is one line on stderr and exit code 1."""
    if (arguments or completed())[:1] not in [[word] for word in (*QUICK_COMMANDS, "--version")]:
        add_market_commands()
    program: list[str] = []
    if arguments[:1] == ["start"] and "--" in arguments:
        # What follows is a program, or arguments of the application, never ours to parse.
        at = arguments.index("--")
        arguments, program = arguments[:at], arguments[at + 1 :]
    as_json = "--json" in arguments
    try:
        code = app(args=arguments, obj=program, prog_name=NAME, standalone_mode=not as_json)
    except MadangError as error:
        if as_json:
            print(json.dumps({"error": error.message}))
        else:
            sys.stderr.write(f"{NAME}: {error}\n")
        raise SystemExit(EXIT_FAILED) from error
    except typer.Abort as error:
        raise SystemExit(EXIT_FAILED) from error
    except WRONG_USAGE as error:
        print(json.dumps({"error": error.format_message()}))
        raise SystemExit(error.exit_code) from error
    raise SystemExit(code)
