"""The text of systemd units for what a state folder has saved. Pure.

PID 1 opens the ports, so they stay open while the service restarts. Its sockets are root's, and the
kernel lets nobody else join their SO_REUSEPORT group: so each socket unit has one ListenStream for
each instance that there may be, and the supervisor takes them over by FileDescriptorName.
Source: systemd.service(5), systemd.socket(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from madang.cluster.settings import ApplicationSettings, PortSettings

PLAIN = re.compile(r"[A-Za-z0-9_./:=@+,-]+")
UNIT = re.compile(r"[a-z][a-z0-9_-]{0,63}")
WATCHDOG_S = 30
START_S = 300
STOP_MARGIN_S = 15
OPEN_FILES = 1_048_576


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What the units are made of; `user` is empty for a unit of a user's own manager."""

    name: str
    command: Sequence[str]
    reload: Sequence[str]
    directory: Path
    applications: Sequence[ApplicationSettings]
    user: str = ""
    environment: Mapping[str, str] | None = None


def units(plan: ServicePlan) -> dict[str, str]:
    """Return the files by name: the service, and a socket unit for each port."""
    sockets = {
        f"{plan.name}-{port.name}.socket": _socket(plan, application, port)
        for application in plan.applications
        for port in application.ports
        if port.inherit and port.port
    }
    return {f"{plan.name}.service": _service(plan, list(sockets)), **sockets}


def _service(plan: ServicePlan, sockets: list[str]) -> str:
    names = ", ".join(application.name for application in plan.applications)
    stop_s = STOP_MARGIN_S + sum(a.stop_timeout_ms for a in plan.applications) // 1_000
    lines = [
        "[Unit]",
        f"Description=Madang: {names}",
        "After=network-online.target",
        "Wants=network-online.target",
        *([f"Requires={' '.join(sockets)}", f"After={' '.join(sockets)}"] if sockets else ()),
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        *([f"Sockets={' '.join(sockets)}"] if sockets else ()),
        *([f"User={plan.user}"] if plan.user else ()),
        f"WorkingDirectory={str(plan.directory).replace('%', '%%')}",
        *(
            f"Environment={quoted(f'{k}={v}', dollar='$')}"
            for k, v in (plan.environment or {}).items()
        ),
        f"ExecStart={' '.join(quoted(word) for word in plan.command)}",
        f"ExecReload={' '.join(quoted(word) for word in plan.reload)}",
        "KillMode=mixed",
        "Restart=on-failure",
        "RestartSec=1",
        f"WatchdogSec={WATCHDOG_S}",
        f"TimeoutStartSec={START_S}",
        f"TimeoutStopSec={stop_s}",
        f"LimitNOFILE={OPEN_FILES}",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if plan.user else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def _socket(plan: ServicePlan, application: ApplicationSettings, port: PortSettings) -> str:
    scale = application.autoscale
    slots = max(application.instances, scale.maximum if scale else 0)
    host = f"[{port.host}]" if ":" in port.host else port.host
    lines = [
        "[Unit]",
        f"Description=Port {port.name} of Madang's {application.name}, one socket an instance",
        "",
        "[Socket]",
        *[f"ListenStream={host}:{port.port}"] * slots,
        f"FileDescriptorName={port.name}",
        "ReusePort=yes",
        "Backlog=4096",
        f"Service={plan.name}.service",
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return "\n".join(lines) + "\n"


def quoted(word: str, dollar: str = "$$") -> str:
    """Return a word as systemd reads it back: `$$` is a dollar sign in command lines only."""
    word = word.replace("%", "%%")
    if PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", dollar)
    return f'"{escaped}"'
