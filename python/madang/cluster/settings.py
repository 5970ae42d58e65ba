"""What a cluster runs: applications, their ports and every limit of the supervisor.

Plain frozen data; `entries` reads its JSON form, `checks` refuses what cannot be used.
The order of `applications` is the start order, its reverse the stop order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

INSTANCES_MAX = 256
PORTS_MAX = 16
OPTIONS_BYTES_MAX = 64 * 1024
ASGI_MAIN = "madang.edge.asgi.process:main"


class Kind(StrEnum):
    """What `ApplicationSettings.target` names."""

    ROLE = "role"
    """`package.module:function`, an `async def function(process)`."""
    ASGI = "asgi"
    """`package.module:app` or `file.py:app`, run by the ASGI role."""
    PYTHON = "python"
    """A script, or `-m module`; `arguments` follow."""
    COMMAND = "command"
    """A program; `arguments` follow."""


class Balance(StrEnum):
    """How new connections are shared out over the instances."""

    EVEN = "even"
    WEIGHTS = "weights"
    LEAST_CONNECTIONS = "least_connections"


@dataclass(frozen=True, slots=True)
class PortSettings:
    """A public port. Port 0 lets the kernel choose.

    With `inherit` the supervisor keeps one socket per slot open and hands it to the instance. A
    program that cannot take sockets binds for itself instead: instance i gets PORT = `port` + i.
    """

    name: str
    host: str
    port: int
    inherit: bool = True


@dataclass(frozen=True, slots=True)
class AutoscaleSettings:
    """Between which numbers of instances to stay, and what counts as too much and too little.

    CPU is the mean over the ready instances in percent of a core, lag the worst of their loops.
    """

    minimum: int
    maximum: int
    cpu_high_percent: int = 70
    cpu_low_percent: int = 40
    lag_high_ms: int = 100
    up_after_ms: int = 3_000
    down_after_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class ApplicationSettings:
    """One application. A limit of 0, an empty text or None means: none, or the cluster's own."""

    name: str
    target: str
    instances: int = 1
    ports: tuple[PortSettings, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    stop_timeout_ms: int = 10_000
    nice: int = 0
    preload: tuple[str, ...] = ()
    start_timeout_ms: int = 60_000
    kind: Kind = Kind.ROLE
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    inherits_environment: bool = True  # the supervisor's, below its own
    directory: str = ""
    user: str = ""
    ready: str = "notify"
    stop_signal: str = "SIGTERM"
    exclusive: bool = False
    autoscale: AutoscaleSettings | None = None
    min_uptime_ms: int | None = None
    max_restarts: int | None = None
    backoff_ms: int | None = None
    backoff_max_ms: int | None = None
    watch_ms: int = 3_000
    error_rate_max: float = 0.1
    hand_over_ms: int = 10_000
    balance: Balance = Balance.EVEN
    weights: tuple[int, ...] = ()
    memory_max_bytes: int = 0
    age_max_s: int = 0
    requests_max: int = 0
    restart_schedule: str = ""
    watch_files: tuple[str, ...] = ()

    def instance_name(self, slot: int) -> str:
        """Return "venue" for what is one by nature, else "worker-0".

        One by nature is a role without ports of which a single instance is wanted.
        """
        return self.name if self.is_single else f"{self.name}-{slot}"

    @property
    def is_single(self) -> bool:
        """Whether the only instance bears the application's own name."""
        alone = self.instances == 1 and not self.ports and self.autoscale is None
        return self.kind is Kind.ROLE and alone

    @property
    def is_foreign(self) -> bool:
        """Whether the children are programs of their own rather than roles in our runner."""
        return self.kind in (Kind.PYTHON, Kind.COMMAND)

    @property
    def in_place(self) -> bool:
        """Whether the old instance must have ended before its successor may start."""
        return self.exclusive or any(not port.inherit for port in self.ports)


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """When a child that ended comes back, and when it does not."""

    min_uptime_ms: int = 1_000
    max_restarts: int = 16
    backoff_ms: int = 100
    backoff_max_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """Heartbeats: after `stall_ms` of silence no new connections, after `abort_ms` the end.

    Silence of a child that waits for the interpreter or for a processor is excused, up to
    `busy_ms` of it.
    """

    heartbeat_ms: int = 100
    stall_ms: int = 300
    abort_ms: int = 10_000
    kill_ms: int = 2_000
    busy_ms: int = 60_000


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
    stopped: tuple[str, ...] = ()
    """Applications that are listed and not started."""
