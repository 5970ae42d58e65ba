"""`madang upgrade`: the running supervisor becomes the code that is installed."""

from __future__ import annotations

import sys

import typer

from madang.cli.asking import EXIT_FAILED, Answer, begin, follow, outcome, print_line, silent, tell
from madang.cli.cluster_commands import AsJson, State
from madang.cli.place import control_path


def upgrade(state: State = None, as_json: AsJson = False) -> None:
    """Have the supervisor become the installed version; no process ends, no connection is lost.

    Applications go on with the code that they have; `madang reload` brings theirs in. Code that
    cannot take over is refused with the reason (exit code 1), and the old supervisor goes on.

    Example: pip install --upgrade madang && madang upgrade
    """
    path = control_path(state)
    failed = False

    def work() -> Answer:
        nonlocal failed
        found = follow(path, begin(path, "upgrade"), silent if as_json else print_line)
        failed = found["state"] != "done"
        if not as_json:
            print(outcome(found), file=sys.stderr if failed else sys.stdout, flush=True)
        return {"operations": [found]}

    code = tell(work, as_json=as_json, render=lambda _: "")
    raise typer.Exit(code or (EXIT_FAILED if failed else 0))
