"""`madang up`: settings in, supervisor on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from madang import __version__
from madang.cli.app import compose, demo_lines, demo_venue, free_port, prepare_state
from madang.cli.place import DEMO_STATE, FILE
from madang.cli.settings import Settings, load
from madang.cluster.foreground import become_supervisor
from madang.cluster.settings import ClusterSettings
from madang.core.errors import SettingsError
from madang.exchange.demo.beginning import begin_history, is_new
from madang.exchange.engine import engine_name

LOOPBACK = "127.0.0.1"
REGISTRATION = "MADANG_ACCOUNTS_REGISTRATION"
"""Open in a demo, which nobody else can reach, unless it is set to something else."""
OWNER_ONLY = 0o077
"""Whatever a process of ours writes, libraries included, is nobody else's to read."""

Flags = Mapping[str, Mapping[str, object]]


def find_settings(config: Path | None, flags: Flags, *, demo: bool) -> Settings:
    """Return the settings that a start in this folder has."""
    if demo:
        cluster = {"state_dir": DEMO_STATE, **_given(flags["cluster"])}
        edge = {"host": LOOPBACK, **_given(flags["edge"])}
        if edge["host"] != LOOPBACK:
            raise SettingsError("--demo", "--host", f"the demo listens on {LOOPBACK} only")
        if edge.get("port") == 0:
            edge["port"] = free_port(LOOPBACK)
        environment = {REGISTRATION: "open", **os.environ}
        settings = load(None, environment, {"cluster": cluster, "edge": edge})
        return msgspec.structs.replace(settings, venue=demo_venue(settings.venue))
    path = config or Path(FILE)
    if not path.exists():
        raise SettingsError(
            str(path),
            "file",
            "is not here: `madang init` writes one, `madang up --demo` needs none",
        )
    return load(path, os.environ, flags)


def _given(flags: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in flags.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start in a folder means: the supervisor's settings, and what a person is told."""

    settings: ClusterSettings
    lines: tuple[str, ...]
    umask: int | None


def plan(config: Path | None, flags: Flags, *, demo: bool) -> Plan:
    """Return what is to run and prepare its folder; `{http}` in a line stands for the address."""
    settings = find_settings(config, flags, demo=demo)
    prepare_state(settings.state_dir)
    if not settings.has_market:
        return Plan(compose(settings, demo=False), (), None)
    scheme = "https" if settings.edge.tls_cert else "http"
    address = f"{scheme}://{{http}}"
    os.umask(OWNER_ONLY)
    lines = [
        f"madang {__version__} is up: {settings.cluster.worker_count()} workers, "
        f"engine {engine_name(settings.venue.engine)}",
        f"  address   {address}",
    ]
    if demo:
        lines += demo_lines(settings.state_dir, address)
        if is_new(settings.state_dir):
            begin_history(settings.state_dir, settings.venue)
    return Plan(compose(settings, demo=demo), tuple(lines), OWNER_ONLY)


def run(config: Path | None, flags: Flags, *, demo: bool) -> NoReturn:
    """Become the supervisor of everything; the exit code is its own."""
    found = plan(config, flags, demo=demo)
    state_dir = found.settings.state_dir
    names = ", ".join(application.name for application in found.settings.applications)
    lines = [
        *(found.lines or (f"madang {__version__} is up: {names}",)),
        f"  state     {state_dir}",
        f"  log       {state_dir / 'logs'}",
        "  Ctrl-C stops it",
    ]
    become_supervisor(found.settings, "\n".join(lines) + "\n")
