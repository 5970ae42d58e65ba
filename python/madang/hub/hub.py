"""The connections and channels of one worker."""

from __future__ import annotations

from collections.abc import Mapping

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.connection import Connection, Link
from madang.hub.flusher import Flusher
from madang.hub.settings import ChannelSettings, HubSettings


class HubFullError(MadangError):
    """The worker holds as many channels as it may."""


class Hub:
    """Registry of connections and channels; owned by one event loop."""

    def __init__(self, settings: HubSettings | None = None) -> None:
        self.settings = settings or HubSettings()
        self.flusher = Flusher()
        self.slow_consumers = 0
        self.connections: dict[int, Connection] = {}
        self._channels: dict[str, Channel] = {}
        self._next_id = 1
        self._dropped_publications = 0
        self._dropped_deliveries = 0

    def channel(self, name: str, settings: ChannelSettings | None = None) -> Channel:
        """Return the channel of that name, made with `settings` where it is new.

        Raises HubFullError.
        """
        found = self._channels.get(name)
        if found is None:
            limit = self.settings.channels_max
            if len(self._channels) >= limit:
                raise HubFullError(f"a worker may hold {limit} channels", limit=limit)
            found = self._channels[name] = Channel(name, settings or ChannelSettings())
        return found

    def find(self, name: str) -> Channel | None:
        """Return the channel of that name if it exists."""
        return self._channels.get(name)

    def drop(self, name: str) -> None:
        """Forget a channel; whoever still listens is asked to come back."""
        channel = self._channels.pop(name, None)
        if channel is not None:
            self._dropped_publications += channel.publications
            self._dropped_deliveries += channel.deliveries
            channel.interrupt("channel closed")

    def connect(self, peer: str, link: Link) -> Connection:
        """Register a new connection."""
        connection = Connection(self._next_id, peer, link, self)
        self._next_id += 1
        self.connections[connection.id] = connection
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Forget a connection whose transport has ended."""
        self.connections.pop(connection.id, None)
        connection.release()

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Close every connection."""
        for connection in list(self.connections.values()):
            connection.close(code, reason)

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start and present sizes."""
        channels = self._channels.values()
        return {
            "connections": len(self.connections),
            "channels": len(self._channels),
            "publications": self._dropped_publications + sum(c.publications for c in channels),
            "deliveries": self._dropped_deliveries + sum(c.deliveries for c in channels),
            "flushes": self.flusher.flushes,
            "slow_consumers": self.slow_consumers,
            "outbox_bytes": sum(c.outbox_bytes for c in self.connections.values()),
            "history_bytes": sum(c.history.bytes_held for c in channels),
        }
