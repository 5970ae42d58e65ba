"""One client's connection as applications see it: send, subscribe, close.

Invariant: `send` never blocks and never grows beyond the outbox budget; a connection that cannot
keep up is closed with SLOW_CONSUMER and counted. Once `closed`, nothing more is queued and it is
in no channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.hub.channel import Channel, Recovery
from madang.hub.flusher import CLEAN
from madang.hub.history import Position
from madang.hub.outbox import Outbox
from madang.wire.websocket import encode_message

if TYPE_CHECKING:
    from madang.hub.hub import Hub


class TooManyChannelsError(MadangError):
    """A connection asks for more channels than one may have."""


class Link(Protocol):
    """The transport under a connection."""

    writable: bool

    def write(self, data: bytes) -> None:
        """Write framed bytes; the transport takes them whole."""
        ...

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame and end the transport soon, whatever the peer does."""
        ...


class Session(Protocol):
    """What an application makes of one connection."""

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take one whole message; text is valid UTF-8."""
        ...

    def on_close(self, code: int, reason: str) -> None:
        """Take the end of the connection, exactly once."""
        ...


class Connection:
    """A client of this worker.

    `authenticated` is False at first on a route that authenticates inside; the session sets it,
    or the edge closes the connection at its authentication time-out. `dialect` chooses the
    encoding of publications. `farewell` is a last message for one that is closed as too slow.
    """

    __slots__ = (
        "_hub",
        "_link",
        "_outbox",
        "_subscriptions",
        "authenticated",
        "closed",
        "dialect",
        "farewell",
        "id",
        "peer",
        "pending_window_ms",
    )

    def __init__(self, number: int, peer: str, link: Link, hub: Hub) -> None:
        self.id = number
        self.peer = peer
        self.dialect = "json"
        self.farewell: tuple[bytes, bool] | None = None
        self.authenticated = False
        self.closed = False
        self.pending_window_ms = CLEAN
        self._hub = hub
        self._link = link
        self._outbox = Outbox(hub.settings.outbox_bytes_max)
        self._subscriptions: dict[Channel, None] = {}

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._outbox.bytes_waiting

    def send(self, payload: bytes, binary: bool = False) -> None:
        """Queue one message; it leaves at the end of this turn of the loop."""
        if not self.closed and not self.deliver(encode_message(payload, binary), 0):
            self.overflow()

    def deliver(self, frame: bytes, window_ms: int) -> bool:
        """Queue a ready frame; False where the outbox is full."""
        if self.closed:
            return True
        if not self._outbox.append(frame):
            return False
        if window_ms < self.pending_window_ms:
            self._hub.flusher.mark(self, window_ms)
        return True

    def flush(self) -> None:
        """Write what waits; where the transport is full it stays in the outbox until it drains."""
        self.pending_window_ms = CLEAN
        if self._link.writable and self._outbox.bytes_waiting:
            self._link.write(self._outbox.take())

    def overflow(self) -> None:
        """End this connection as a slow consumer."""
        if self.closed:
            return
        self._hub.slow_consumers += 1
        self._outbox.clear()
        if self.farewell is not None:
            self._outbox.append(encode_message(*self.farewell))
        self.close(CloseCode.SLOW_CONSUMER, "slow consumer")

    def close(self, code: int, reason: str = "") -> None:
        """Send what waits and a close frame, leave every channel, end the connection."""
        if self.closed:
            return
        if self._outbox.bytes_waiting:
            self._link.write(self._outbox.take())
        self.release()
        self._link.begin_close(code, reason)

    def release(self) -> None:
        """Leave every channel and drop what waits; the transport calls it when the peer is gone."""
        self.closed = True
        self.pending_window_ms = CLEAN
        self._outbox.clear()
        channels = list(self._subscriptions)
        self._subscriptions.clear()
        for channel in channels:
            channel.remove(self)

    def subscribe(self, channel: Channel, since: Position | None = None) -> Recovery:
        """Join a channel; with `since` everything after it is sent first, complete or not at all.

        To answer the client before the missed messages, look with `channel.recover(since)` and
        send first. Raises TooManyChannelsError.
        """
        if self.closed:
            return Recovery(False, channel.position, ())
        limit = self._hub.settings.channels_per_connection_max
        if channel not in self._subscriptions and len(self._subscriptions) >= limit:
            raise TooManyChannelsError(f"a connection may join {limit} channels", limit=limit)
        self._subscriptions[channel] = None
        return channel.add(self, since)

    def unsubscribe(self, channel: Channel) -> None:
        """Leave a channel; frames already queued still arrive."""
        if channel in self._subscriptions:
            del self._subscriptions[channel]
            channel.remove(self)
