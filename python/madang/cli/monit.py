"""`madang monit`: what runs, live in the terminal, with keys to act on it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from madang.cli.asking import EXIT_FAILED, ask, tell_error
from madang.cli.place import CONTROL, find_state_dir, runtime_dir
from madang.core.errors import MadangError


def monit(
    state: Annotated[str | None, typer.Option("--state", help="State folder.")] = None,
) -> None:
    """Watch processes, rates and logs, and reload, restart or scale with a key.

    Example: madang monit
    """
    state_dir = find_state_dir(state)
    try:
        ask(runtime_dir(state_dir) / CONTROL, "ls")
    except MadangError as error:
        raise typer.Exit(tell_error(error, as_json=False)) from error
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("monit needs a terminal; `madang ls` and `madang logs -f` do not\n")
        raise typer.Exit(EXIT_FAILED)
    from madang.cli.monit_screen import Monitor

    Monitor(state_dir).run()
