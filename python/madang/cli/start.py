"""`madang start`: an application into the background, or into the foreground.

A supervisor of the state folder is started where none runs. Then the command waits until the
application is ready, or has failed, and says which: exit code 0 or 1, with the last output.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

from madang.cli import daemon, targets
from madang.cli import start_options as options
from madang.cli.asking import (
    EXIT_FAILED,
    EXIT_OK,
    Answer,
    Say,
    ask,
    begin,
    follow,
    print_line,
    print_outcome,
    refusal,
    silent,
    tell,
    tell_error,
)
from madang.cli.changed import changed
from madang.cli.listed import find_listed, refuse_unlisted
from madang.cli.place import CONTROL, FILE, own_state_dir, runtime_dir, working_directory
from madang.cli.targets import Entry
from madang.cluster.checks import check_application
from madang.cluster.entries import decode_application, encode_application
from madang.cluster.errors import NotRunning
from madang.cluster.foreground import become_supervisor, render
from madang.cluster.settings import ApplicationSettings, LogSettings
from madang.core.errors import MadangError, SettingsError

STARTED = "started"
STAY_S = 1.0
"""How long a program that cannot say that it is ready must live before it counts as started."""
POLL_S = 0.05
LINES_SHOWN = 12
END_HINTS = {"exit 0": "; a service must stay in the foreground, not end or fork away"}
UP = frozenset({"ready", "stalled"})


class Refused(NamedTuple):
    """An application that cannot be started, and why; it fails as if it had been tried."""

    name: str
    reason: str


class Resting(NamedTuple):
    """An application that is to be listed as stopped."""

    entry: Entry


def start(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            help="module:app, file.py:app, worker.py, a program; or stopped names, or all."
        ),
    ] = None,
    words: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
    name: options.Name = None,
    module: options.Module = None,
    kind: options.Kind = None,
    state: options.State = None,
    foreground: options.Foreground = False,
    no_wait: options.NoWait = False,
    as_json: options.AsJson = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The market and traders.")] = False,
    instances: options.Instances = "1",
    port: options.Port = None,
    host: options.Host = None,
    inherit: options.Inherit = False,
    balance: options.BalanceName = None,
    weights: options.Weights = None,
    environment: options.Environment = None,
    directory: options.Directory = None,
    user: options.User = None,
    nice: options.Nice = None,
    ready: options.Ready = None,
    start_timeout_ms: options.StartTimeout = None,
    stop_timeout_ms: options.StopTimeout = None,
    stop_signal: options.StopSignal = None,
    max_restarts: options.MaxRestarts = None,
    min_uptime_ms: options.MinUptime = None,
    memory_max: options.MemoryMax = None,
    age_max: options.AgeMax = None,
    requests_max: options.RequestsMax = None,
    cron: options.Cron = None,
    watch: options.Watch = False,
    watch_path: options.WatchPath = None,
    exclusive: options.Exclusive = False,
) -> None:
    """Start an application, or everything in madang.toml, in the background.

    madang start app:app -i max       an ASGI application on all cores
    madang start worker.py -i 2 -- --queue mail
    madang start -m package.module
    madang start -- ./program --flag
    madang start                      what madang.toml describes
    madang start web, madang start all     what is listed and stopped
    """
    program = [*(words or ()), *(ctx.obj or ())]
    given = dict(ctx.params)
    if demo or (target is None and module is None and not program):
        if foreground:
            _up(config, state, given, demo=demo)
        raise typer.Exit(_start_all(config, given, demo=demo))
    state_dir = own_state_dir(state)
    named = [target, *(words or ())] if target and not (module or ctx.obj or foreground) else []
    entries: list[Entry | str] | None = _listed(state_dir, named, as_json=as_json)
    if entries is None:
        folder = working_directory() / (directory or "")
        try:
            found = targets.find_target(target, module, program, folder)
        except SettingsError:
            if named:
                refuse_unlisted(state_dir, named)
            raise
        entries = [entry_of(found, kind, folder, given)]
    if foreground:
        _foreground(state_dir, [e for e in entries if isinstance(e, dict)])
    wait = not no_wait
    raise typer.Exit(start_entries(state_dir, entries, as_json=as_json, wait=wait))


def entry_of(
    found: targets.Target, kind: str | None, folder: Path, given: Mapping[str, Any]
) -> Entry:
    """Return the entry that target and options make, checked as far as that is possible here."""
    kind = kind or found.kind
    name = str(given["name"] or targets.name_of(found))
    ports = targets.ports_of(kind, name, given["host"], given["port"], given["inherit"])
    memory, age, weights = given["memory_max"], given["age_max"], given["weights"]
    entry: Entry = {
        "name": name,
        "kind": kind,
        "target": found.target,
        "arguments": found.arguments,
        "instances": given["instances"],
        "ports": ports,
        "environment": {
            **targets.inherited(os.environ, bool(ports)),
            **targets.assignments(given["environment"] or ()),
        },
        "inherits_environment": False,  # of whoever's shell began the supervisor
        "directory": str(folder),
        "user": given["user"],
        "nice": given["nice"],
        "ready": given["ready"],
        "balance": given["balance"] or ("weights" if weights else None),
        "weights": _numbers(weights) if weights else None,
        "memory_max_bytes": targets.size_bytes(memory, "--memory-max") if memory else None,
        "age_max_s": targets.span_s(age, "--age-max") if age else None,
        "restart_schedule": given["cron"],
        "watch_files": given["watch_path"] or (["."] if given["watch"] else None),
        "exclusive": given["exclusive"] or None,
    }
    for key in ("start_timeout_ms", "stop_timeout_ms", "stop_signal", "max_restarts",
                "min_uptime_ms", "requests_max"):  # fmt: skip
        entry[key] = given[key]
    entry = {key: value for key, value in entry.items() if value is not None}
    return encode_application(decode_application(entry))


def _numbers(text: str) -> list[int]:
    if not all(word.strip().isdecimal() for word in text.split(",")):
        raise SettingsError("start", "--weights", f"expected numbers like 3,1, not {text!r}")
    return [int(word) for word in text.split(",")]


def _listed(state_dir: Path, words: Sequence[str], *, as_json: bool) -> list[Entry | str] | None:
    """Return what is listed under these names; ends the command where `all` has nothing to do."""
    if not words:
        return None
    try:
        found = find_listed(state_dir, words)
    except NotRunning as error:
        raise typer.Exit(tell_error(error, as_json=as_json)) from error
    if found == [] and not as_json:
        print_line("nothing is at rest: `madang ls` shows what runs")
        raise typer.Exit(EXIT_OK)
    return None if found is None else [*found]


def start_entries(
    state_dir: Path,
    entries: Sequence[Entry | str | Refused | Resting],
    *,
    as_json: bool,
    wait: bool = True,
    umask: int | None = None,
) -> int:
    """Start entries, or what is listed already by its name; print and return the exit code."""
    ended: list[Answer] = []
    say = silent if as_json else print_line

    def work() -> Answer:
        path = runtime_dir(state_dir) / CONTROL
        fresh = daemon.ensure(state_dir, umask)
        if fresh:
            say(f"a supervisor runs for {state_dir}")
        alone = len(entries) == 1
        try:
            begun = [_try(path, entry, say, alone=alone) for entry in entries]
        except MadangError:
            if fresh:
                daemon.end_empty(state_dir)
            raise
        for one in begun:
            found = one if isinstance(one, dict) else _end_of(path, one, say, wait=wait)
            ended.append(found)
            if not as_json:
                print_outcome(found)
        rows = ask(path, "ls")
        if fresh and not rows["applications"]:
            daemon.end_empty(state_dir)
        if not as_json:
            _addresses(
                rows,
                [
                    str(found["name"])
                    for found in ended
                    if found["state"] == "done" and found["kind"] == "start"
                ],
            )
        return {"operations": ended, "applications": rows["applications"]}

    code = tell(work, as_json=as_json, render=lambda _: "")
    failed = any(found["state"] not in ("done", "running") for found in ended)
    return EXIT_FAILED if code == EXIT_OK and failed else code


def _try(
    path: Path, entry: Entry | str | Refused | Resting, say: Say, *, alone: bool
) -> int | Answer:
    """Begin to start one; a refusal of one of several is an operation that failed."""
    if isinstance(entry, Refused):
        return refusal("start", entry.name, entry.reason)
    try:
        return _begin(path, entry, say)
    except MadangError as error:
        if alone or isinstance(error, NotRunning):
            raise
        name = entry if isinstance(entry, str) else str(_bare(entry)["name"])
        return refusal("start", name, error.message)


def _end_of(path: Path, number: int, say: Say, *, wait: bool) -> Answer:
    """Return how an operation ended, or, without waiting, how it is."""
    if not wait:
        return ask(path, "operation", id=number)
    found = follow(path, number, say)
    started = found["kind"] == "start" and found["state"] == "done"
    return _stays(path, found) if started else found


def _bare(entry: Entry | Resting) -> Entry:
    return entry.entry if isinstance(entry, Resting) else entry


def _begin(path: Path, entry: Entry | str | Resting, say: Say) -> int:
    """Begin to start one; what is there under that name but does not run is replaced."""
    if isinstance(entry, str):
        return begin(path, "start", name=entry)
    if isinstance(entry, Resting):
        return begin(path, "start", application=entry.entry, stopped=True)
    check_application(decode_application(entry))  # before the old one has gone for it
    name = entry["name"]
    rows = [row for row in ask(path, "ls")["rows"] if row["app"] == name]
    if rows and not any(row["state"] in UP for row in rows):
        follow(path, begin(path, "delete", name=name), say)
    elif rows:
        text = f"runs already; `madang reload {name}` brings new code, `delete` ends it"
        raise SettingsError("start", str(name), text)
    return begin(path, "start", application=entry)


def _stays(path: Path, found: Answer) -> Answer:
    """Return the operation, failed if what counts as ready when started ends at once."""
    names = [str(found["name"])]
    limit_s = time.monotonic() + STAY_S
    settings = ask(path, "describe", name=names[0])["settings"]
    while settings["ready"] == STARTED and time.monotonic() < limit_s:
        rows = [row for row in ask(path, "ls")["rows"] if row["app"] == settings["name"]]
        gone = [row for row in rows if row["state"] not in ("ready", "stalled", "stopped")]
        if gone:
            said = ask(path, "tail", name=gone[0]["name"], lines=LINES_SHOWN)["lines"]
            end = str(gone[0]["last_exit"] or "it ended")
            text = f"{gone[0]['name']} is {gone[0]['state']}: {end}{END_HINTS.get(end, '')}"
            return {**found, "state": "failed", "reason": "\n".join([text, *said])}
        time.sleep(POLL_S)
    return found


def _addresses(answer: Answer, names: list[str]) -> None:
    for application in answer["applications"]:
        if application["name"] in names:
            for address in application["addresses"].values():
                print(f"  {application['name']} listens on {address}")


def _foreground(state_dir: Path, entries: list[Entry]) -> NoReturn:
    settings = replace(
        daemon.settings_of(state_dir),
        applications=tuple(decode_application(entry) for entry in entries),
        log=LogSettings(),
        stop_on_boot_failure=True,
    )
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = ", ".join(application.name for application in settings.applications)
    ports = [port.name for a in settings.applications for port in a.ports]
    addresses = "".join(f"  address   {{{name}}}\n" for name in ports)
    become_supervisor(settings, f"{names} is up\n{addresses}  Ctrl-C stops it")


def _flags(given: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    return {
        "cluster": {"state_dir": given["state"]},
        "edge": {"host": given["host"], "port": given["port"]},
    }


def _up(config: Path | None, state: str | None, given: Mapping[str, Any], *, demo: bool) -> None:
    from madang.cli import up

    up.run(config, _flags(given), demo=demo)


def _start_all(config: Path | None, given: Mapping[str, Any], *, demo: bool) -> int:
    """Start everything that madang.toml, or the demo, describes and that is not there yet."""
    from madang.cli import up

    if not demo and not (config or Path(FILE)).exists():
        text = "expected what to start, or a madang.toml here; `madang start --help` has examples"
        raise typer.BadParameter(text, param_hint="TARGET")
    plan = up.plan(config, _flags(given), demo=demo)
    entries: list[Entry | str | Refused] = [*map(_from_here, plan.settings.applications)]
    state_dir = plan.settings.state_dir
    if daemon.is_running(state_dir):
        path = runtime_dir(state_dir) / CONTROL
        entries = _not_there(path, plan.settings.applications, demo=demo)
        if not entries and not given["as_json"]:
            print_line("everything runs already: `madang reload all` brings new code")
            return EXIT_OK
    # The writer of the demo's past is our child: it must have ended before we do.
    wait = demo or not given["no_wait"]
    code = start_entries(state_dir, entries, as_json=given["as_json"], wait=wait, umask=plan.umask)
    if code == EXIT_OK and not given["as_json"] and plan.lines:
        print_line(render("\n".join(plan.lines), _ports(state_dir)))
    return code


def _from_here(application: ApplicationSettings) -> Entry:
    """Return the entry; paths in it are meant from here, wherever the supervisor may be."""
    here = str(working_directory())
    return encode_application(replace(application, directory=application.directory or here))


def _not_there(
    path: Path, applications: Sequence[ApplicationSettings], *, demo: bool
) -> list[Entry | str | Refused]:
    """Return what does not run yet, and a refusal for what runs with other settings.

    A demo has settings that are made up anew each time, so they are not compared.
    """
    there = {a["name"]: a["ready"] for a in ask(path, "ls")["applications"]}
    running = {entry["name"]: entry for entry in ask(path, "dump")["applications"]}
    found: list[Entry | str | Refused] = []
    for entry in map(_from_here, applications):
        name = str(entry["name"])
        if not there.get(name):
            found.append(entry)
        elif not demo and name in running:
            first = ask(path, "describe", name=name)["settings"]["instances"]
            names = ", ".join(changed(entry, running[name], first))
            text = (
                f"runs with other settings ({names}): `madang delete {name}`, then `madang start`"
            )
            found += [Refused(name, text)] if names else []
    return found


def _ports(state_dir: Path) -> dict[str, tuple[str, int]]:
    """Return where everything listens, by the name of the port."""
    found: dict[str, tuple[str, int]] = {}
    for application in ask(runtime_dir(state_dir) / CONTROL, "ls")["applications"]:
        for name, address in application["addresses"].items():
            host, _, port = address.rpartition(":")
            found[name] = (host, int(port))
    return found
