"""`madang save` and `madang resurrect`: the list of applications, kept over restarts.

The list is `saved.json` of the state folder, for its owner alone because it holds the values of
environments. It is replaced whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from madang.cli import daemon
from madang.cli.asking import EXIT_OK, Answer, ask, print_line, tell
from madang.cli.place import CONTROL, control_path, find_state_dir, own_state_dir, runtime_dir
from madang.cli.start import Resting, start_entries
from madang.cli.targets import Entry
from madang.cluster.entries import decode_application
from madang.cluster.foreground import become_supervisor
from madang.cluster.settings import ApplicationSettings, LogSettings
from madang.core.errors import MadangError

FILE = "saved.json"
VERSION = 1
OWNER_ONLY = 0o077

State = Annotated[str | None, typer.Option("--state", help="State folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class NothingSaved(MadangError):
    """There is no saved list, or it cannot be used."""


def save(state: State = None, as_json: AsJson = False) -> None:
    """Keep the list of what runs, with all settings, for `madang resurrect`.

    Example: madang save
    """
    state_dir = find_state_dir(state)

    def work() -> Answer:
        answer = ask(control_path(state), "dump")
        entries = answer["applications"]
        path = write_saved(state_dir, entries, answer.get("stopped", []))
        return {"saved": [entry["name"] for entry in entries], "file": str(path)}

    def text(answer: Answer) -> str:
        return f"saved {', '.join(answer['saved']) or 'nothing'} in {answer['file']}"

    raise typer.Exit(tell(work, as_json=as_json, render=text))


def resurrect(
    state: State = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="As a service does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start what was saved and does not run; what was stopped then is listed as stopped.

    Example: madang resurrect
    """
    state_dir = own_state_dir(state)
    applications = read_saved(state_dir)
    stopped = frozenset(_table(state_dir).get("stopped", ()))
    if foreground:
        _serve(state_dir, applications, stopped)
    there: dict[str, int] = {}
    if daemon.is_running(state_dir):
        answer = ask(runtime_dir(state_dir) / CONTROL, "ls")
        there = {a["name"]: a["ready"] for a in answer["applications"]}
    entries: list[Entry | str | Resting] = []
    for entry in _entries(state_dir):
        name = str(entry["name"])
        if name not in stopped and not there.get(name):
            entries.append(entry)
        elif name in stopped and name not in there:
            entries.append(Resting(entry))
    if not entries and not as_json:
        print_line("everything that was saved runs")
        raise typer.Exit(EXIT_OK)
    raise typer.Exit(start_entries(state_dir, entries, as_json=as_json))


def write_saved(state_dir: Path, entries: list[Entry], stopped: Sequence[str] = ()) -> Path:
    """Replace the saved list. Raises NothingSaved where that is not possible."""
    path = state_dir / FILE
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            table = {"version": VERSION, "applications": entries, "stopped": list(stopped)}
            json.dump(table, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NothingSaved(f"cannot write {path}: {error.strerror}", path=str(path)) from error
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_saved(state_dir: Path) -> tuple[ApplicationSettings, ...]:
    """Return the saved applications. Raises NothingSaved, SettingsError."""
    return tuple(decode_application(entry) for entry in _entries(state_dir))


def _entries(state_dir: Path) -> list[Entry]:
    return [dict(entry) for entry in _table(state_dir)["applications"]]


def _table(state_dir: Path) -> dict[str, Any]:
    path = state_dir / FILE
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] != VERSION:
            raise ValueError(f"version {table['version']}")
        for entry in table["applications"]:
            dict(entry)
        frozenset(table.get("stopped", ()))
    except FileNotFoundError as error:
        text = f"{path} is not there: `madang save` writes it"
        raise NothingSaved(text, path=str(path)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{path} is damaged ({error}): `madang save` writes it anew"
        raise NothingSaved(text, path=str(path)) from error
    return table


def _serve(
    state_dir: Path, applications: tuple[ApplicationSettings, ...], stopped: Collection[str]
) -> None:
    """Become the supervisor of the saved list; what cannot be started is left errored."""
    settings = replace(
        daemon.settings_of(state_dir),
        applications=applications,
        stopped=tuple(sorted(stopped)),
        log=LogSettings(terminal=False),
    )
    names = ", ".join(a.name for a in applications if a.name not in stopped)
    become_supervisor(settings, f"{names} is up")
