"""`madang logs` and `madang flush`: what the processes said, read from the logger's files.

They need no running supervisor: the files are there after a crash too. One that runs knows the
names of those that have not written anything yet.
"""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from madang.cli.asking import ask
from madang.cli.completing import names
from madang.cli.place import CONTROL, find_state_dir, runtime_dir
from madang.cluster import logs
from madang.cluster.logs import Follower, LogLine, LogQuery
from madang.core.errors import MadangError

FOLDER = "logs"
LINES = 20
LINES_MAX = 1_000_000
LOOK_S = 0.1
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
AGE = re.compile(r"(\d{1,6})([smhd])")

State = Annotated[str | None, typer.Option("--state", help="State folder.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Applications or instances; without any, all.", autocompletion=names),
]
Applications = Annotated[
    list[str] | None,
    typer.Option(
        *("--app", "--instance"),
        help="Only this application or instance; may repeat.",
        autocompletion=names,
    ),
]


class NoLogsError(MadangError):
    """There are no logs where they were looked for, or none of that name."""


def show(
    name: Names = None,
    app: Applications = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    since: Annotated[
        str | None, typer.Option(help="30s, 10m, 2h, 3d, or a time like 2026-01-31T10:00.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, max=LINES_MAX, help="The newest lines.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    state: State = None,
) -> None:
    """Show what the processes said.

    Examples: madang logs web -f, madang logs --since 10m, madang logs --instance web-0 --json
    """
    folder = _folder(state)
    wanted = frozenset([*(name or ()), *(app or ())])
    _check_names(folder, wanted)
    begin = since_stamp(since, datetime.now(UTC)) if since else ""
    most = lines if lines is not None else (LINES_MAX if since else LINES)
    query = LogQuery(wanted, begin, most)
    follower = Follower(folder, query)
    follower.begin()
    try:
        for line in follower.recent():
            _print(line, as_json)
        while follow:
            for line in follower.look():
                _print(line, as_json)
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # `madang logs -f | head` has enough
        sys.stderr.close()


def flush(
    name: Names = None,
    state: State = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Empty the logs.

    Examples: madang flush, madang flush web
    """
    folder = _folder(state)
    wanted = frozenset(name or ())
    _check_names(folder, wanted)
    gone = logs.flush(folder, wanted)
    typer.echo(json.dumps({"bytes": gone}) if as_json else f"{gone} bytes of logs are gone")


def since_stamp(text: str, now: datetime) -> str:
    """Return the time that `text` means, as the logs write times. Raises typer.BadParameter."""
    age = AGE.fullmatch(text)
    try:
        if age:
            at = now - timedelta(seconds=int(age[1]) * UNITS_S[age[2]])
        else:
            at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        hint = "expected an age like 10m or a time like 2026-01-31T10:00"
        raise typer.BadParameter(hint, param_hint="--since") from error
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _folder(state: str | None) -> Path:
    folder = find_state_dir(state) / FOLDER
    if not folder.is_dir():
        raise NoLogsError(f"{folder}: no logs here; give --state", folder=str(folder))
    return folder


def _check_names(folder: Path, names: frozenset[str]) -> None:
    """Refuse names that nothing has, so that a slip does not look like silence."""
    known = logs.applications(folder)
    unknown = [n for n in sorted(names) if n not in known and n.rpartition("-")[0] not in known]
    silent = _listed(folder.parent) if unknown else set()
    for name in unknown:
        if name not in silent:
            text = f"no logs of {name}; there are {', '.join(known) or 'none'}"
            raise NoLogsError(text, name=name)


def _listed(state_dir: Path) -> set[str]:
    """Return the names that the supervisor lists; it may have some that never wrote a line."""
    try:
        answer = ask(runtime_dir(state_dir) / CONTROL, "ls")
    except MadangError:
        return set()
    return {found["name"] for found in [*answer["applications"], *answer["rows"]]}


def _print(line: LogLine, as_json: bool) -> None:
    if not as_json:
        print(f"{line.at} {line.instance} | {line.text}", flush=True)
        return
    record: dict[str, object] = {"at": line.at, "instance": line.instance, "text": line.text}
    try:
        structured = json.loads(line.text)
    except ValueError:
        structured = None
    if isinstance(structured, dict):
        record["record"] = structured
    print(json.dumps(record), flush=True)
