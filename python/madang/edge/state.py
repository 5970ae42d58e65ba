"""What all connections of one worker share: settings, limits in use, counters, the coarse clock.

`now_s` and `date` move with the server's sweep, so that a request costs no clock call.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from madang.cluster.scoreboard import Scores
from madang.core import log
from madang.edge.dispatch import Dispatcher
from madang.edge.guard import Proxies
from madang.edge.settings import EdgeSettings
from madang.hub import Hub


class Swept(Protocol):
    """A connection with a deadline."""

    deadline_s: float

    def on_deadline(self, now_s: float) -> None:
        """Act on a deadline that has passed, and set the next."""
        ...

    def on_drain(self) -> None:
        """Finish what is under way and end."""
        ...

    def abort(self) -> None:
        """End at once."""
        ...


def sweep(connections: Iterable[Swept], now_s: float, log: FilteringBoundLogger) -> None:
    """Act on every deadline that has passed."""
    for connection in [one for one in connections if one.deadline_s <= now_s]:
        try:
            connection.on_deadline(now_s)
        except Exception:  # one connection must not end the sweep of all
            log.exception("deadline failed")


class ServerState:
    """Shared by every connection of one worker; owned by its event loop."""

    def __init__(
        self, dispatcher: Dispatcher, settings: EdgeSettings, hub: Hub, scores: Scores
    ) -> None:
        self.settings = settings
        self.scores = scores
        self.dispatcher = dispatcher
        self.hub = hub
        self.proxies = Proxies(settings.trusted_proxies)
        self.log = log.get("edge")
        self.now_s = 0.0
        self.date = ""
        self.draining = False
        self.in_flight = 0
        self.protocols: set[Swept] = set()
        self.addresses: Counter[str] = Counter()
        self.responses: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.websockets = 0
        self._id_prefix = os.urandom(6).hex()
        self._id_next = 0

    def next_request_id(self) -> str:
        """Return an id no other request of any worker has."""
        self._id_next += 1
        return f"{self._id_prefix}-{self._id_next:x}"

    def answered(self, status: int) -> None:
        """Count an answer; a reload is judged by the part of them that failed."""
        self.responses[status] += 1
        scores = self.scores
        if status >= 200:
            scores.requests += 1
        if status >= 500:
            scores.errors += 1
        elif status >= 400:
            scores.refused += 1
        elif status >= 300:
            scores.redirected += 1
        elif status >= 200:
            scores.succeeded += 1

    def show(self) -> None:
        """Write the counts that nobody needs at once to the scoreboard."""
        scores, hub = self.scores, self.hub.statistics()
        scores.websockets = self.websockets
        scores.in_flight = self.in_flight
        scores.outbox_bytes = hub["outbox_bytes"]
        scores.slow_consumers = hub["slow_consumers"]

    def admit(self, address: str) -> bool:
        """Count a new connection in, or refuse it."""
        settings = self.settings
        if len(self.protocols) >= settings.connections_max:
            self.counts["refused_connections_max"] += 1
            return False
        if self.addresses[
            address
        ] >= settings.connections_per_address_max and not self.proxies.trusts(address):
            self.counts["refused_connections_per_address_max"] += 1
            return False
        self.addresses[address] += 1
        self.counts["connections"] += 1
        self.scores.connections += 1  # at once: new connections are shared out by it
        return True

    def leave(self, address: str) -> None:
        """Count an admitted connection out."""
        self.scores.connections -= 1
        self.addresses[address] -= 1
        if self.addresses[address] <= 0:
            del self.addresses[address]
