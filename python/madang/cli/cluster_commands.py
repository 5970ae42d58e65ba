"""Commands on what runs: ls, stop, restart, reload, scale, delete, reset, signal, send, env.

Each takes a name everywhere in the same forms: application "web", instance "web-0", or "all".
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from madang.cli.asking import Answer, ask, operate, tell
from madang.cli.completing import applications, names, signals
from madang.cli.listing import list_instances
from madang.cli.place import DEMO_STATE as DEMO_STATE
from madang.cli.place import control_path
from madang.cli.place import find_runtime_dir as find_runtime_dir
from madang.cli.place import find_state_dir as find_state_dir
from madang.cluster.control import request_until_end

STOP_TIMEOUT_MS = 120_000

State = Annotated[
    str | None,
    typer.Option("--state", help="State folder; else that of madang.toml, else of the demo."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TimeoutMs = Annotated[int, typer.Option("--timeout-ms", min=1, help="Longest wait for the end.")]
Names = Annotated[
    list[str],
    typer.Argument(help='Applications or instances, or "all".', autocompletion=names),
]
Name = Annotated[str, typer.Argument(help="Application or instance.", autocompletion=names)]
Applications = Annotated[
    list[str], typer.Argument(help='Applications, or "all".', autocompletion=applications)
]


def ls(state: State = None, as_json: AsJson = False) -> None:
    """List every instance: state, pid, generation, uptime, restarts, CPU, memory, connections.

    Example: madang ls --json
    """
    raise typer.Exit(list_instances(state, as_json=as_json))


def stop(
    name: Annotated[
        list[str] | None,
        typer.Argument(help="What to stop; without any, everything ends.", autocompletion=names),
    ] = None,
    state: State = None,
    timeout_ms: TimeoutMs = STOP_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Stop gracefully and wait until it is down; what is named stays listed as stopped.

    Examples: madang stop web, madang stop web-1, madang stop
    """
    if name:
        raise typer.Exit(operate(control_path(state), "stop", name, as_json=as_json))
    raise typer.Exit(stop_all(state, timeout_ms, as_json=as_json))


def stop_all(state: str | None, timeout_ms: int, *, as_json: bool) -> int:
    """End everything, the supervisor too, and wait for it; return the exit code."""
    return tell(
        lambda: request_until_end(control_path(state), {"command": "stop"}, timeout_ms),
        as_json=as_json,
        render=lambda answer: f"stopped (supervisor {answer['supervisor']})",
    )


def restart(name: Names, state: State = None, as_json: AsJson = False) -> None:
    """Stop and start, one instance after the other; `reload` does it without a gap.

    Examples: madang restart web-1, madang restart all
    """
    raise typer.Exit(operate(control_path(state), "restart", name, as_json=as_json))


def reload(name: Names, state: State = None, as_json: AsJson = False) -> None:
    """Bring new code in without a gap; if it fails, the old code serves on (exit code 1).

    Examples: madang reload web, madang reload all
    """
    raise typer.Exit(operate(control_path(state), "reload", name, as_json=as_json))


def scale(
    name: Annotated[str, typer.Argument(help="Application.", autocompletion=applications)],
    instances: Annotated[str, typer.Argument(help="4, +2, -1 or max.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Have more or fewer instances; those that go finish what they have.

    Examples: madang scale web 4, madang scale web +2, madang scale web -1
    """
    path = control_path(state)
    raise typer.Exit(operate(path, "scale", [name], as_json=as_json, instances=instances))


def delete(name: Applications, state: State = None, as_json: AsJson = False) -> None:
    """Stop applications and forget them.

    Example: madang delete web
    """
    raise typer.Exit(operate(control_path(state), "delete", name, as_json=as_json))


def reset(name: Names, state: State = None, as_json: AsJson = False) -> None:
    """Count restarts from zero again.

    Example: madang reset web
    """

    def work() -> Answer:
        return {"reset": [n for one in name for n in ask(path, "reset", name=one)["reset"]]}

    path = control_path(state)
    code = tell(work, as_json=as_json, render=lambda answer: f"reset {', '.join(answer['reset'])}")
    raise typer.Exit(code)


def signal(
    name: Name,
    number: Annotated[
        str, typer.Argument(metavar="SIGNAL", help="USR1, SIGHUP, …", autocompletion=signals)
    ],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal to the processes of an application or instance.

    Example: madang signal web-0 USR1
    """
    path = control_path(state)
    code = tell(
        lambda: ask(path, "signal", name=name, signal=number),
        as_json=as_json,
        render=lambda answer: f"signalled {', '.join(map(str, answer['pids'])) or 'nobody'}",
    )
    raise typer.Exit(code)


def send(
    name: Name,
    text: Annotated[list[str] | None, typer.Argument(help="Else what comes on stdin.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Write a line to the standard input of a program.

    Examples: madang send worker-0 reopen, echo quit | madang send worker
    """
    words = " ".join(text) + "\n" if text else sys.stdin.read()
    path = control_path(state)
    code = tell(
        lambda: ask(path, "send", name=name, text=words),
        as_json=as_json,
        render=lambda answer: f"sent to {', '.join(answer['sent'])}",
    )
    raise typer.Exit(code)


def env(name: Name, state: State = None, as_json: AsJson = False) -> None:
    """Show the environment that a process was started with.

    Example: madang env web-0
    """

    def lines(answer: dict[str, Any]) -> str:
        return "\n".join(f"{key}={value}" for key, value in sorted(answer["environment"].items()))

    path = control_path(state)
    raise typer.Exit(tell(lambda: ask(path, "env", name=name), as_json=as_json, render=lines))
