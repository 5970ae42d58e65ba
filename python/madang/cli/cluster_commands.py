"""`madang ls` and `madang stop`: questions to the supervisor over its control socket.

Exit codes: 0 done, 1 the supervisor refused or took too long, 3 nothing runs here. With `--json`
the answer, or `{"error": ...}`, is one JSON object on standard output. Imports little on purpose:
`ls` answers in well under 300 ms.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from madang.cluster.control import SOCKET_NAME, request, request_until_end
from madang.cluster.errors import ControlRefused, NotRunning

EXIT_OK = 0
EXIT_REFUSED = 1
EXIT_NOT_RUNNING = 3
STOP_TIMEOUT_MS = 120_000
DEMO_STATE = ".madang/demo"
COLUMNS = ("name", "state", "pid", "restarts", "up", "memory", "last exit", "status")

State = Annotated[
    str | None,
    typer.Option("--state", help="State folder; else that of madang.toml, else of the demo."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
TimeoutMs = Annotated[int, typer.Option("--timeout-ms", min=1, help="Longest wait for the end.")]


def ls(state: State = None, as_json: AsJson = False) -> None:
    """List every instance with its state, restarts, memory and last exit."""
    raise typer.Exit(list_instances(find_runtime_dir(state), as_json))


def stop(
    state: State = None,
    timeout_ms: TimeoutMs = STOP_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Stop everything gracefully and wait until it is down."""
    raise typer.Exit(stop_cluster(find_runtime_dir(state), as_json, timeout_ms))


def find_runtime_dir(state: str | None) -> Path:
    """Return the folder of the control socket of the state folder that is meant."""
    from madang.cli.settings import runtime_dir

    return runtime_dir(find_state_dir(state))


def find_state_dir(state: str | None) -> Path:
    """Return the state folder that is meant: `state`, else that of the settings here.

    Where these have no running cluster but the demo has, it is the demo that is meant.
    """
    from madang.cli.settings import FILE, load, runtime_dir

    path = Path(FILE) if Path(FILE).exists() else None
    found = load(path, os.environ, {"cluster": {"state_dir": state}}).state_dir
    demo = Path(DEMO_STATE).absolute()
    runs = (runtime_dir(found) / SOCKET_NAME).exists()
    if state is None and not runs and (runtime_dir(demo) / SOCKET_NAME).exists():
        return demo
    return found


def list_instances(runtime_dir: Path, as_json: bool) -> int:
    """Print the instances; return the exit code."""
    return _ask(lambda: request(runtime_dir / SOCKET_NAME, {"command": "ls"}), as_json, _table)


def stop_cluster(runtime_dir: Path, as_json: bool, timeout_ms: int = STOP_TIMEOUT_MS) -> int:
    """Stop the cluster and wait for its end; return the exit code."""
    path = runtime_dir / SOCKET_NAME
    return _ask(
        lambda: request_until_end(path, {"command": "stop"}, timeout_ms),
        as_json,
        lambda answer: f"stopped (supervisor {answer['supervisor']})",
    )


def _ask(
    question: Callable[[], Mapping[str, object]],
    as_json: bool,
    render: Callable[[Mapping[str, object]], str],
) -> int:
    try:
        answer = question()
    except (NotRunning, ControlRefused) as error:
        if as_json:
            print(json.dumps({"error": error.message}))
        else:
            print(error.message, file=sys.stderr)
        return EXIT_NOT_RUNNING if isinstance(error, NotRunning) else EXIT_REFUSED
    print(json.dumps(answer) if as_json else render(answer))
    return EXIT_OK


def _table(answer: Mapping[str, object]) -> str:
    rows = answer["rows"]
    assert isinstance(rows, list)
    lines = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(COLUMNS))]
    text = [_aligned(line, widths) for line in lines]
    for row in rows:
        text += [f"{row['name']}: {line}" for line in row["tail"]]
    return "\n".join(text)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    return (
        str(row["name"]),
        str(row["state"]),
        str(row["pid"] or "-"),
        str(row["restarts"]),
        _duration(int(str(row["uptime_s"]))),
        f"{int(str(row['rss'])) / 1_048_576:.1f} MB",
        str(row["last_exit"] or "-"),
        str(row["status"]),
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    shown = [f"{value}{unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0s"
