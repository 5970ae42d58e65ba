"""One client's connection as applications see it: send, subscribe, close.

Invariant: `send` never blocks and never grows beyond the outbox budget; a connection that cannot
keep up is closed with SLOW_CONSUMER and counted. Once `closed`, nothing more is queued and it is
in no channel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.hub.channel import Channel, Recovery
from madang.hub.flusher import CLEAN
from madang.hub.history import Position
from madang.hub.outbox import Outbox
from madang.hub.state_channel import StateChannel
from madang.wire.websocket import encode_message

if TYPE_CHECKING:
    from madang.hub.hub import Hub

CATCH_UP_BYTES: Final = 65_536
"""How much of conflated state is written before the transport is asked again."""


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


class MobileSession(Session, Protocol):
    """A session that can go on in another process."""

    def may_move(self) -> bool:
        """Tell whether it stands still and is plain data at this moment."""
        ...

    def freeze(self) -> bytes:
        """Return it as plain data; here it is over, without `on_close`."""
        ...

    def moved(self, taker: str) -> None:
        """Another process has it; messages for it go there."""
        ...

    def discard(self) -> None:
        """It was thawed and never went on: forget it without `on_close`."""
        ...


class Connection:
    """A client of this worker.

    `authenticated` is False at first on a route that authenticates inside; the session sets it,
    or the edge closes the connection at its authentication time-out. `dialect` chooses the
    encoding of publications. `farewell` is a last message for one that is closed as too slow.
    """

    __slots__ = (
        "_conflated",
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
        self._subscriptions: dict[Channel | StateChannel, None] = {}
        self._conflated: OrderedDict[tuple[StateChannel, str], None] | None = None

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
        outbox = self._outbox
        waiting = outbox.bytes_waiting + len(frame)
        if waiting > outbox.budget_bytes:
            return False
        outbox.frames.append(frame)  # as Outbox.append, without a call for each delivery
        outbox.bytes_waiting = waiting
        if window_ms < self.pending_window_ms:
            self._hub.flusher.mark(self, window_ms)
        return True

    @property
    def behind(self) -> bool:
        """Tell whether the transport is full, or conflated state still waits."""
        return not self._link.writable or self._conflated is not None

    def conflate(self, channel: StateChannel, key: str) -> None:
        """Send the newest of a key once the transport drains; a key that waits keeps its place."""
        if self.closed:
            return
        if self._conflated is None:
            self._conflated = OrderedDict()
        self._conflated.setdefault((channel, key), None)
        if self._link.writable and self.pending_window_ms:
            self._hub.flusher.mark(self, 0)

    def flush(self) -> None:
        """Write what waits; where the transport is full it stays in the outbox until it drains."""
        self.pending_window_ms = CLEAN
        if not self._link.writable:
            return
        if self._outbox.bytes_waiting:
            self._link.write(self._outbox.take())
        if self._conflated is not None:
            self._catch_up(self._conflated)

    def _catch_up(self, conflated: OrderedDict[tuple[StateChannel, str], None]) -> None:
        """Write the newest of the keys that wait, a piece at a time."""
        frames: list[bytes] = []
        size = 0
        while conflated and size < CATCH_UP_BYTES:
            (channel, key), _ = conflated.popitem(last=False)
            if channel in self._subscriptions:
                frames.append(channel.frame(key, self.dialect))
                size += len(frames[-1])
        if not conflated:
            self._conflated = None
        else:
            self._hub.flusher.mark(self, 0)
        if frames:
            self._link.write(b"".join(frames))

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
        self._conflated = None
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
        self._join(channel)
        return channel.add(self, since)

    def watch(self, channel: StateChannel) -> None:
        """Join a state channel; the latest of every key is sent first.

        Raises TooManyChannelsError.
        """
        if not self.closed and channel not in self._subscriptions:
            self._join(channel)
            channel.add(self)

    def check_room(self) -> None:
        """Raise TooManyChannelsError where it may not join one more channel."""
        limit = self._hub.settings.channels_per_connection_max
        if len(self._subscriptions) >= limit:
            raise TooManyChannelsError(f"a connection may join {limit} channels", limit=limit)

    def _join(self, channel: Channel | StateChannel) -> None:
        if channel not in self._subscriptions:
            self.check_room()
        self._subscriptions[channel] = None

    def resume(self, channel: StateChannel, after: Position, missed: Iterable[str]) -> None:
        """Join a state channel where it was left; see `StateChannel.resume`."""
        self._join(channel)
        channel.resume(self, after, missed)

    def missed(self, channel: StateChannel) -> list[str]:
        """Return the keys of a state channel whose newest still waits for this client."""
        return [key for of, key in self._conflated or () if of is channel]

    def take_waiting(self) -> bytes:
        """Return the frames that wait and forget them, for one who writes them elsewhere."""
        return self._outbox.take() if self._outbox.bytes_waiting else b""

    def unsubscribe(self, channel: Channel | StateChannel) -> None:
        """Leave a channel; frames already queued still arrive."""
        if channel in self._subscriptions:
            del self._subscriptions[channel]
            channel.remove(self)
