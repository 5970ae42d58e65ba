"""The connections and channels of one worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.connection import Connection, Link
from madang.hub.flusher import Flusher
from madang.hub.settings import ChannelKind, ChannelSettings, HubSettings, SlowPolicy
from madang.hub.state_channel import StateChannel

_STATE = ChannelSettings(kind=ChannelKind.STATE, policy=SlowPolicy.CONFLATE)
_COUNTED = ("publications", "deliveries", "repeats", "dropped", "conflated")


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
        self._states: dict[str, StateChannel] = {}
        self._changed: set[str] = set()
        self._next_id = 1
        self._past: Counter[str] = Counter()

    def channel(self, name: str, settings: ChannelSettings | None = None) -> Channel:
        """Return the channel of that name, made with `settings` where it is new.

        Raises HubFullError.
        """
        found = self._channels.get(name)
        if found is None:
            self._make_room(name)
            found = self._channels[name] = Channel(name, settings or ChannelSettings())
            found.on_count = self._changed.add
        return found

    def state_channel(self, name: str, settings: ChannelSettings = _STATE) -> StateChannel:
        """Return the state channel of that name, made with `settings` where it is new.

        Raises HubFullError.
        """
        found = self._states.get(name)
        if found is None:
            self._make_room(name)
            found = self._states[name] = StateChannel(name, settings)
            found.on_count = self._changed.add
        return found

    def _make_room(self, name: str) -> None:
        """Check the limit and that a name means one channel."""
        limit = self.settings.channels_max
        if len(self._channels) + len(self._states) >= limit:
            raise HubFullError(f"a worker may hold {limit} channels", limit=limit)
        if name in self._channels or name in self._states:
            raise ValueError(f"channel {name} is of the other kind")

    def find(self, name: str) -> Channel | None:
        """Return the channel of that name if it exists."""
        return self._channels.get(name)

    def drop(self, name: str) -> None:
        """Forget a channel; whoever still listens is asked to come back."""
        channel = self._channels.pop(name, None) or self._states.pop(name, None)
        if channel is not None:
            self._past.update(_counts(channel))
            channel.interrupt("channel closed")

    def presence(self) -> dict[str, int]:
        """Return how many connections of this worker listen, by channel; for a worker that came."""
        both: list[Channel | StateChannel] = [*self._channels.values(), *self._states.values()]
        return {channel.name: channel.subscribers for channel in both if channel.subscribers}

    def take_presence_changes(self) -> dict[str, int]:
        """Return the counts of channels whose count changed since the last call, to be told."""
        changed = {name: self._subscribers(name) for name in self._changed}
        self._changed.clear()
        return changed

    def _subscribers(self, name: str) -> int:
        channel = self._channels.get(name) or self._states.get(name)
        return channel.subscribers if channel is not None else 0

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
        counts = self._past.copy()
        both: list[Channel | StateChannel] = [*channels, *self._states.values()]
        for channel in both:
            counts.update(_counts(channel))
        return {
            "connections": len(self.connections),
            "channels": len(channels) + len(self._states),
            **{name: counts[name] for name in _COUNTED},
            "flushes": self.flusher.flushes,
            "slow_consumers": self.slow_consumers,
            "outbox_bytes": sum(c.outbox_bytes for c in self.connections.values()),
            "history_bytes": sum(c.history.bytes_held for c in channels),
        }


def _counts(channel: Channel | StateChannel) -> dict[str, int]:
    return {name: getattr(channel, name, 0) for name in _COUNTED}
