"""What a cluster runs: applications, their ports and every limit of the supervisor.

Plain frozen data, validated once by `check`; the composition root builds it from `madang.toml`.
The order of `applications` is the start order, its reverse the stop order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from madang.core.errors import SettingsError

INSTANCES_MAX = 256
PORTS_MAX = 16
OPTIONS_BYTES_MAX = 64 * 1024
UNIX_PATH_MAX = 107
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class PortSettings:
    """A public port: one kept-open socket per slot. Port 0 lets the kernel choose."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ApplicationSettings:
    """One application: `target` is "package.module:function", `async def function(process)`."""

    name: str
    target: str
    instances: int = 1
    ports: tuple[PortSettings, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    stop_timeout_ms: int = 10_000
    nice: int = 0
    preload: tuple[str, ...] = ()
    start_timeout_ms: int = 60_000

    def instance_name(self, slot: int) -> str:
        """Return "venue" for a single instance without ports, else "worker-0"."""
        return self.name if self.instances == 1 and not self.ports else f"{self.name}-{slot}"


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """When a child that ended comes back, and when it does not."""

    min_uptime_ms: int = 1_000
    max_restarts: int = 16
    backoff_ms: int = 100
    backoff_max_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """Heartbeats: after `stall_ms` of silence no new connections, after `abort_ms` the end."""

    heartbeat_ms: int = 500
    stall_ms: int = 2_000
    abort_ms: int = 10_000
    kill_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Output of the children: a file a day of at most `file_bytes`, `files` kept for `days`.

    `terminal` copies it to standard error.
    """

    file_bytes: int = 10 * 1024 * 1024
    files: int = 10
    days: int = 30
    terminal: bool = True


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Everything one supervisor needs to know."""

    state_dir: Path
    runtime_dir: Path
    applications: tuple[ApplicationSettings, ...]
    restart: RestartSettings = RestartSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    log: LogSettings = LogSettings()
    backlog: int = 4096
    stop_on_boot_failure: bool = True


def check(settings: ClusterSettings) -> None:
    """Raise SettingsError naming the first setting that cannot be used."""
    names = [application.name for application in settings.applications]
    if not names or len(set(names)) != len(names):
        raise SettingsError("cluster", "applications", "expected at least one, with unique names")
    for application in settings.applications:
        _check_application(application)
    ports = [port for application in settings.applications for port in application.ports]
    addresses = [(port.host, port.port) for port in ports if port.port]
    if len(set(addresses)) != len(addresses) or len({port.name for port in ports}) != len(ports):
        raise SettingsError("cluster", "ports", "expected each name, and each address, once")
    watchdog = settings.watchdog
    if not 0 < watchdog.heartbeat_ms < watchdog.stall_ms < watchdog.abort_ms:
        raise SettingsError("cluster", "watchdog", "expected heartbeat_ms < stall_ms < abort_ms")
    socket_path = settings.runtime_dir / "control.sock"
    if len(str(socket_path.absolute()).encode()) > UNIX_PATH_MAX:
        limit = UNIX_PATH_MAX - len("/control.sock")
        raise SettingsError("cluster", "runtime_dir", f"expected a path of at most {limit} bytes")


def _check_application(application: ApplicationSettings) -> None:
    where = f"applications.{application.name}"
    if not NAME.fullmatch(application.name):
        raise SettingsError("cluster", where, f"expected a name matching {NAME.pattern}")
    if not TARGET.fullmatch(application.target):
        raise SettingsError("cluster", f"{where}.target", 'expected "package.module:function"')
    if not 1 <= application.instances <= INSTANCES_MAX:
        raise SettingsError("cluster", f"{where}.instances", f"expected 1 to {INSTANCES_MAX}")
    if application.stop_timeout_ms <= 0 or application.start_timeout_ms <= 0:
        raise SettingsError("cluster", where, "expected time-outs above 0 ms")
    if len(application.ports) > PORTS_MAX:
        raise SettingsError("cluster", f"{where}.ports", f"expected at most {PORTS_MAX}")
    try:
        options = json.dumps(dict(application.options))
    except (TypeError, ValueError) as error:
        raise SettingsError("cluster", f"{where}.options", "expected plain JSON data") from error
    if len(options) > OPTIONS_BYTES_MAX:
        text = f"expected at most {OPTIONS_BYTES_MAX} bytes of JSON"
        raise SettingsError("cluster", f"{where}.options", text)
    for port in application.ports:
        if not 0 <= port.port <= 65_535 or not NAME.fullmatch(port.name):
            raise SettingsError(
                "cluster", f"{where}.ports", "expected a name and a port 0 to 65535"
            )
