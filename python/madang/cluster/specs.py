"""What a child is told when it is started, and the limits that the policy holds it to."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from madang.cluster import escaped
from madang.cluster.application import Child
from madang.cluster.execute import inherited_environment
from madang.cluster.launch import VARIABLE
from madang.cluster.policy import MS, Limits
from madang.cluster.settings import (
    ASGI_MAIN,
    ApplicationSettings,
    ClusterSettings,
    Kind,
)

LAUNCHER = str(Path(__file__).with_name("launch.py"))
FOREIGN_STALL_PART = 0.6


def limits(application: ApplicationSettings, settings: ClusterSettings) -> Limits:
    """Return the policy's limits for one application."""
    restart, watchdog = settings.restart, settings.watchdog
    # A program of its own speaks as seldom as WATCHDOG_USEC allows.
    foreign_stall_ms = int(watchdog.abort_ms * FOREIGN_STALL_PART)
    return Limits(
        start_ns=application.start_timeout_ms * MS,
        stop_ns=application.stop_timeout_ms * MS,
        stall_ns=(foreign_stall_ms if application.is_foreign else watchdog.stall_ms) * MS,
        abort_ns=watchdog.abort_ms * MS,
        kill_ns=watchdog.kill_ms * MS,
        busy_ns=watchdog.busy_ms * MS,
        min_uptime_ns=_own(application.min_uptime_ms, restart.min_uptime_ms) * MS,
        backoff_ns=_own(application.backoff_ms, restart.backoff_ms) * MS,
        backoff_max_ns=_own(application.backoff_max_ms, restart.backoff_max_ms) * MS,
        max_restarts=_own(application.max_restarts, restart.max_restarts),
    )


def _own(own: int | None, common: int) -> int:
    return common if own is None else own


def exit_text(status: int) -> str:
    """Return "exit 1" or "SIGKILL" for a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


def child_variables(settings: ClusterSettings, child: Child) -> dict[str, str]:
    """Return what every child finds in its environment, whatever it is."""
    application = child.application
    variables = {
        **application.settings.environment,
        "MADANG_NAME": child.name,
        "MADANG_INSTANCE": str(child.slot.index),
        "MADANG_GENERATION": str(child.generation),
        escaped.FOLDER: os.path.abspath(settings.runtime_dir),
        escaped.LIFE: escaped.life(os.getpid(), child.name, child.incarnation),
    }
    port = application.own_port(child.slot.index)
    if port is not None:
        variables.setdefault("PORT", str(port))
    return variables


def child_table(settings: ClusterSettings, child: Child, notify_address: str) -> dict[str, object]:
    """Return what a role is told: the plain form of `child.ChildSpec`.

    That is not imported here because it brings the event loop with it.
    """
    application = child.application
    own = application.settings
    identity = {
        "name": child.name,
        "role": own.name,
        "slot": child.slot.index,
        "generation": child.generation,
        "incarnation": child.incarnation,
    }
    is_asgi = own.kind is Kind.ASGI
    return {
        "identity": identity,
        "target": ASGI_MAIN if is_asgi else own.target,
        "options": {"app": own.target, **own.options} if is_asgi else dict(own.options),
        "state_dir": str(settings.state_dir.absolute()),
        "runtime_dir": str(settings.runtime_dir.absolute()),
        "ports": list(application.spec_ports()),
        "notify_path": notify_address,
        "heartbeat_ms": settings.watchdog.heartbeat_ms,
        "nice": own.nice,
        "supervisor": os.getpid(),
        "directory": own.directory,
        "user": own.user,
        "environment": child_variables(settings, child),
        "accepting": child.accepting,
        "row": child.row,
    }


def command_line(application: ApplicationSettings) -> list[str]:
    """Return the words that start a program of its own."""
    words = [application.target, *application.arguments]
    if application.kind is Kind.COMMAND:
        return words
    if application.target.startswith("-m "):
        words = ["-m", application.target.removeprefix("-m "), *application.arguments]
    return [sys.executable, *words]


def launch_variables(
    settings: ClusterSettings, child: Child, notify_address: str
) -> dict[str, str]:
    """Return the environment of the launcher of a program of its own.

    systemd's protocols: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
    """
    own = child.application.settings
    ports = child.application.spec_ports()
    told = {
        "argv": command_line(own),
        "directory": own.directory,
        "user": own.user,
        "nice": own.nice,
        "supervisor": os.getpid(),
        "pid_variables": ["WATCHDOG_PID", *(["LISTEN_PID"] if ports else [])],
    }
    variables = {
        **inherited_environment(whole=own.inherits_environment),
        **child_variables(settings, child),
        "NOTIFY_SOCKET": notify_address,
        "WATCHDOG_USEC": str(settings.watchdog.abort_ms * 1_000),
        VARIABLE: json.dumps(told),
    }
    if own.kind is Kind.PYTHON:
        variables.setdefault("PYTHONUNBUFFERED", "1")
    if ports:
        variables["LISTEN_FDS"] = str(len(ports))
        variables["LISTEN_FDNAMES"] = ":".join(ports)
    return variables
