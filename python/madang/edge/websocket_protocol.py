"""A WebSocket on one connection: frames in, session called, frames of the outbox out.

Every wait has a deadline: authentication, the next ping, its pong, the answer to a close frame. A
peer that floods, breaks the protocol, or is silent is told a close code and cut soon after.
`on_close` of the session is called exactly once, when the transport has ended. A connection whose
session can move is frozen with every byte it was not yet sent, a part of a frame included.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

import msgspec

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError
from madang.edge.errors import ApiError
from madang.edge.guard import check_origin
from madang.edge.handover.detach import Detached, is_plain
from madang.edge.handover.packets import Moving
from madang.edge.request import Request, Role
from madang.edge.route import WebSocketRoute
from madang.edge.state import ServerState
from madang.hub import Connection, MobileSession, Session
from madang.wire.websocket import (
    Decoder,
    Event,
    HandshakeError,
    Opcode,
    WebSocketError,
    check_handshake,
    choose_subprotocol,
    encode_close,
    encode_frame,
    encode_handshake,
    parse_close,
)

ABNORMAL: Final = 1006
_PING: Final = encode_frame(Opcode.PING, b"")


def open_websocket(
    state: ServerState, request: Request, route: WebSocketRoute
) -> WebSocketProtocol:
    """Check handshake, role and origin, open the session; ApiError in place of the 101."""
    try:
        accept = check_handshake(request.method, request.headers.get)
    except HandshakeError as error:
        raise ApiError(error.status, error.message).with_headers(
            ("sec-websocket-version", "13")
        ) from None
    state.dispatcher.authorize(request, route)
    check_origin(request, state.settings)
    subprotocol = choose_subprotocol(
        request.headers.get("sec-websocket-protocol"), route.subprotocols
    )
    protocol = WebSocketProtocol(state, encode_handshake(accept, subprotocol), route)
    protocol.open(request)
    return protocol


KIND: Final = "websocket"


class FrozenWebSocket(msgspec.Struct, array_like=True, frozen=True):
    """A WebSocket as it travels; times are relative, `unsent` begins where the peer stopped."""

    path: str
    address: str
    peer: str
    decoder: bytes
    unsent: bytes
    dialect: str
    farewell: tuple[bytes, bool] | None
    closing: tuple[int, str] | None
    session: bytes
    heard: bool
    pinged: bool
    deadline_s: float
    open_s: float
    window_s: float
    window_messages: int


class WebSocketProtocol(asyncio.Protocol):
    """The transport side of a `Connection`."""

    def __init__(self, state: ServerState, handshake: bytes, route: WebSocketRoute) -> None:
        self.writable = False
        self.deadline_s = float("inf")
        self._state = state
        self._settings = state.settings
        self._handshake = handshake
        self._route = route
        self._decoder = Decoder(state.settings.websocket_message_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._connection: Connection
        self._session: Session
        self._heard = True
        self._pinged = False
        self._opened_s = state.now_s
        self._window_s = state.now_s
        self._window_messages = 0
        self._early = b""
        self._tail = b""  # what was written last, from before the transport was full
        self._closing: tuple[int, str] | None = None
        self._deaf = False
        self._paused = False

    def open(self, request: Request) -> None:
        """Make connection and session; raises what the application raises."""
        hub = self._state.hub
        self._connection = hub.connect(request.peer, self)
        self._connection.authenticated = self._route.role is not Role.PUBLIC
        try:
            self._session = self._route.open(request, self._connection)
        except BaseException:
            hub.disconnect(self._connection)
            raise

    def start(self, transport: asyncio.Transport, address: str, rest: bytes) -> None:
        """Take the transport over: send the 101, then what the session has queued."""
        state = self._state
        self._transport = transport
        self._address = address
        # left to itself the kernel takes megabytes for a peer that does not read
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, self._settings.websocket_send_buffer_bytes
        )
        if is_plain(transport):
            # full as soon as the kernel takes no more: what is not sent is the end of the last
            # write. TLS, which cannot move, would call itself full for ever.
            transport.set_write_buffer_limits(high=0)
        self.writable = True
        early, self._early = self._early, b""
        self.write(self._handshake + early)
        state.websockets += 1
        state.counts["websockets"] += 1
        state.protocols.add(self)
        if self._handshake:
            self._opened_s = state.now_s
            self._plan(self._settings.ping_interval_ms)
        if self._closing is not None:
            self._send_close()
        else:
            self._connection.flush()
            if rest:
                self.data_received(rest)

    # Link, called by the hub

    def write(self, data: bytes) -> None:
        """Write framed bytes."""
        if self._transport is None:
            self._early += data
            return
        self._transport.write(data)
        if not self.writable:
            self._tail += data

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame; cut the transport when the peer has answered or the time is over."""
        if self._closing is None:
            self._closing = (code, reason)
            self._state.counts[f"closed_{code}"] += 1
            if self._transport is not None:
                self._send_close()

    def _send_close(self) -> None:
        assert self._transport is not None
        assert self._closing is not None
        self.write(encode_close(*self._closing))
        self._plan(self._settings.close_timeout_ms)

    # Mobile: the hand-over to another process

    @property
    def can_move(self) -> bool:
        """See `Mobile`."""
        transport = self._transport
        return self._route.thaw is not None and transport is not None and is_plain(transport)

    def detach(self) -> Detached | None:
        """See `Mobile`: stop where nothing is half done but frames."""
        transport = self._transport
        if transport is None or self._closing is not None or self._deaf:
            return None
        if not self.can_move or not self._connection.authenticated:
            return None
        if transport.get_write_buffer_size() > len(self._tail):
            return None  # an answer from before the upgrade is still on its way
        if transport.is_closing():
            return None
        if not cast("MobileSession", self._session).may_move():
            if not self._paused:  # so that it comes to an end with what is under way
                self._paused = True
                transport.pause_reading()
            return None
        self._transport = None
        self.writable = False
        self._state.protocols.discard(self)
        return Detached(transport)

    def stay(self) -> None:
        """See `Mobile`."""
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def freeze(self, unsent_bytes: int) -> Moving:
        """See `Mobile`."""
        state, connection = self._state, self._connection
        tail = self._tail[-unsent_bytes:] if unsent_bytes else b""
        session = cast("MobileSession", self._session).freeze()
        frozen = FrozenWebSocket(
            path=self._route.path,
            address=self._address,
            peer=connection.peer,
            decoder=self._decoder.freeze(),
            unsent=tail + self._early + connection.take_waiting(),
            dialect=connection.dialect,
            farewell=connection.farewell,
            closing=self._closing,
            session=session,
            heard=self._heard,
            pinged=self._pinged,
            deadline_s=self.deadline_s - state.now_s,
            open_s=state.now_s - self._opened_s,
            window_s=state.now_s - self._window_s,
            window_messages=self._window_messages,
        )
        state.leave(self._address)
        state.websockets -= 1
        state.hub.disconnect(connection)
        return Moving(KIND, msgspec.msgpack.encode(frozen))

    def moved(self, taker: str) -> None:
        """See `Mobile`."""
        cast("MobileSession", self._session).moved(taker)

    async def thaw(self, frozen: FrozenWebSocket) -> None:
        """Become what was frozen, without a socket yet; raises MadangError."""
        state, thaw = self._state, self._route.thaw
        if thaw is None or state.draining or not state.admit(frozen.address):
            raise MadangError("no more connections are taken")
        connection = self._connection = state.hub.connect(frozen.peer, self)
        connection.dialect, connection.farewell = frozen.dialect, frozen.farewell
        self._address = frozen.address
        self._decoder = Decoder.thaw(frozen.decoder, self._settings.websocket_message_bytes_max)
        self._early = frozen.unsent
        self._heard, self._pinged = frozen.heard, frozen.pinged
        self.deadline_s = state.now_s + frozen.deadline_s
        self._opened_s = state.now_s - frozen.open_s
        self._window_s = state.now_s - frozen.window_s
        self._window_messages = frozen.window_messages
        try:
            self._session = await thaw(connection, frozen.session)
        except BaseException:
            self._leave()
            raise
        if frozen.closing is not None:
            connection.close(*frozen.closing)

    async def go_on(self, sock: socket.socket) -> None:
        """Go on with the socket; raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self, sock)

    def discard(self) -> None:
        """Forget what was thawed: another process has it, or the peer is gone."""
        cast("MobileSession", self._session).discard()
        self._leave()

    def _leave(self) -> None:
        self._state.leave(self._address)
        self._state.hub.disconnect(self._connection)

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on as thawed; a new WebSocket gets its transport from `start`."""
        self.start(cast("asyncio.Transport", transport), self._address, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell hub and session."""
        state = self._state
        self.writable = False
        state.protocols.discard(self)
        state.leave(self._address)
        state.websockets -= 1
        state.hub.disconnect(self._connection)
        code, reason = self._closing or (ABNORMAL, "connection lost")
        try:
            self._session.on_close(code, reason)
        except Exception:  # outermost frame of a callback
            state.log.exception("session failed in on_close", connection=self._connection.id)

    def pause_writing(self) -> None:
        """Keep frames in the outbox from here on: its budget decides."""
        self.writable = False

    def resume_writing(self) -> None:
        """Write what the outbox has gathered."""
        self.writable = True
        self._tail = b""
        if not self._connection.closed:
            self._connection.flush()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._heard = True
        if self._deaf:
            return
        decoder = self._decoder
        decoder.feed(data)
        try:
            while (event := decoder.next_event()) is not None:
                self._take(event)
                if self._deaf:
                    return
        except WebSocketError as failure:
            self._deaf = True
            self._connection.close(failure.code, failure.reason)

    def _take(self, event: Event) -> None:
        if self._is_flooding():
            self._deaf = True
            self._state.counts["flooding"] += 1
            limit = self._messages_per_s_max()
            self._connection.close(CloseCode.FLOODING, f"more than {limit} messages a second")
            return
        opcode = event.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._hand_over(event)
        elif opcode is Opcode.PING:
            if not self._connection.closed and not self._connection.deliver(
                encode_frame(Opcode.PONG, event.payload), 0
            ):
                self._connection.overflow()
        elif opcode is Opcode.CLOSE:
            self._take_close(event.payload)

    def _hand_over(self, event: Event) -> None:
        if self._connection.closed:
            return
        try:
            self._session.on_message(event.payload, event.opcode is Opcode.BINARY)
        except Exception:  # outermost frame of a callback
            self._state.log.exception("session failed", connection=self._connection.id)
            self._connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _take_close(self, payload: bytes) -> None:
        code, reason = parse_close(payload)
        self._deaf = True
        if self._closing is None:
            self._closing = (code, reason)
            if not self._connection.closed:
                self._connection.flush()
            self._connection.release()
            self.write(encode_close(CloseCode.NORMAL if code == 1005 else code))
        if self._transport is not None:
            self._transport.close()
            self._plan(self._settings.close_timeout_ms)

    def _is_flooding(self) -> bool:
        now_s = self._state.now_s
        if now_s - self._window_s >= 1:
            self._window_s = now_s
            self._window_messages = 0
        self._window_messages += 1
        return self._window_messages > self._messages_per_s_max()

    def _messages_per_s_max(self) -> int:
        """Return the route's own limit; whoever has not signed in has the general one."""
        own = self._route.messages_per_s_max
        if own is None or not self._connection.authenticated:
            return self._settings.websocket_messages_per_s_max
        return own

    # deadlines

    def _plan(self, timeout_ms: int) -> None:
        self.deadline_s = self._state.now_s + timeout_ms / 1000
        if self._closing is None and not self._connection.authenticated:
            limit_s = self._settings.websocket_authentication_timeout_ms / 1000
            self.deadline_s = min(self.deadline_s, self._opened_s + limit_s)

    def on_deadline(self, now_s: float) -> None:
        """Ping a quiet peer, give a dead or closing one up."""
        assert self._transport is not None
        settings = self._settings
        if self._closing is not None:
            self._state.counts["cut_connections"] += 1
            self._transport.abort()
        elif (
            not self._connection.authenticated
            and now_s - self._opened_s >= settings.websocket_authentication_timeout_ms / 1000
        ):
            self._connection.close(CloseCode.UNAUTHORIZED, "authentication timeout")
        elif self._heard:
            self._heard = False
            self._pinged = False
            self._plan(settings.ping_interval_ms)
        elif not self._pinged:
            self._pinged = True
            self.write(_PING)
            self._plan(settings.pong_timeout_ms)
        else:
            self._connection.close(CloseCode.IDLE_TIMEOUT, "no answer to a ping")

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def on_drain(self) -> None:
        """Send the client to another worker."""
        self._connection.close(CloseCode.SERVICE_RESTART, "restarting, come back")
