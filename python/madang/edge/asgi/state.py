"""What all connections of one ASGI process share: settings, limits in use, counts, the clock.

`now_s` and the lines of `defaults` move with the server's sweep, so that a request costs no clock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import Context
from email.utils import formatdate
from typing import Any, Protocol

from madang.cluster.scoreboard import Scores
from madang.core import log
from madang.edge.asgi.loading import AsgiApplication
from madang.edge.asgi.settings import AsgiSettings
from madang.edge.asgi.stepper import Stepper
from madang.edge.guard import Proxies
from madang.edge.hub_front import HubFront
from madang.edge.state import Swept


class AsgiConnection(Swept, Protocol):
    """A connection of an ASGI process."""

    is_websocket: bool


class AsgiState:
    """Shared by every connection of one process; owned by its event loop."""

    def __init__(
        self, application: AsgiApplication, settings: AsgiSettings, context: Context, scores: Scores
    ) -> None:
        self.application = application
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.stepper = Stepper(self.loop, context)
        self.scores = scores
        self.app_state: dict[str, Any] = {}
        self.hub: HubFront | None = None  # serves the WebSocket endpoints of the application's hub
        self.proxies = Proxies(settings.trusted_proxies)
        self.reads_forwarded = bool(settings.trusted_proxies)
        self.log = log.get("asgi")
        self.access = log.get("access") if settings.access_log else None
        self.idle_s = settings.idle_timeout_ms / 1000
        self.root_path = settings.root_path
        self.root_path_raw = settings.root_path.encode()
        self.now_s = 0.0
        self.date = b""
        self.defaults = (b"", b"server: madang\r\n" if settings.server_header else b"")
        self.draining = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.protocols: set[AsgiConnection] = set()
        self.addresses: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.requests = 0
        self.errors = 0
        self.succeeded = self.redirected = self.refused = 0
        self.websockets = 0

    def tick(self, wall_s: float) -> None:
        """Move the coarse clock, and show the counts."""
        self.now_s = self.loop.time()
        date = f"date: {formatdate(wall_s, usegmt=True)}\r\n".encode()
        self.defaults = (date, self.defaults[1])
        self.show()

    def show(self) -> None:
        """Write the counts to the scoreboard."""
        scores = self.scores
        self._show_connections()
        scores.websockets = self.websockets + self._clients()
        scores.requests = self.requests
        scores.errors = self.errors
        scores.succeeded = self.succeeded
        scores.redirected = self.redirected
        scores.refused = self.refused
        if self.hub is not None:
            found = self.hub.statistics()
            scores.outbox_bytes = found["outbox_bytes"]
            scores.slow_consumers = found["slow_consumers"]
        scores.in_flight = len(self.tasks) - self.websockets if self.tasks else 0

    def enter(self, protocol: AsgiConnection) -> None:
        """Take a connection up; how many there are is shown at once, for who shares them out."""
        self.protocols.add(protocol)
        self._show_connections()

    def forget(self, protocol: AsgiConnection) -> None:
        """Let a connection go."""
        self.protocols.discard(protocol)
        self._show_connections()

    def _clients(self) -> int:
        return self.hub.websockets if self.hub is not None else 0

    def _show_connections(self) -> None:
        self.scores.connections = len(self.protocols) + self._clients()

    def admit(self, address: str) -> bool:
        """Count a new connection in, or refuse it."""
        settings = self.settings
        if len(self.protocols) >= settings.connections_max:
            self.counts["refused_connections_max"] += 1
            return False
        limit = settings.connections_per_address_max
        if self.addresses[address] >= limit and not self.proxies.trusts(address):
            self.counts["refused_connections_per_address_max"] += 1
            return False
        self.addresses[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count an admitted connection out."""
        self.addresses[address] -= 1
        if self.addresses[address] <= 0:
            del self.addresses[address]
