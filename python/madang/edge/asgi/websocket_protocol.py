"""A WebSocket of an ASGI application on one connection.

Nothing is written before the application accepts, refuses (403) or answers with a response of its
own. Messages wait for `receive` in a bounded queue; when it is full, reading stops. `send` waits
while the peer does not read. However it ends, `receive` says websocket.disconnect with the code,
behind all messages that came before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Any, Final

from madang.core.closecodes import CloseCode
from madang.edge.asgi.http_call import ClientGone, HttpCall
from madang.edge.asgi.loading import Message, Scope
from madang.edge.asgi.response_head import plain_answer
from madang.edge.asgi.state import AsgiState
from madang.wire.websocket import (
    Decoder,
    Event,
    HandshakeError,
    Opcode,
    WebSocketError,
    check_handshake,
    encode_close,
    encode_frame,
    encode_handshake,
    parse_close,
)

ABNORMAL: Final = 1006
EARLY_BYTES_MAX: Final = 65_536
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_PING: Final = encode_frame(Opcode.PING, b"")


class Phase(Enum):
    """Where a WebSocket is."""

    CONNECTING = auto()
    DENYING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class WebSocketProtocol(asyncio.Protocol):
    """One connection from its upgrade request to its end."""

    is_websocket = True

    def __init__(self, state: AsgiState, transport: asyncio.Transport, address: str) -> None:
        self.deadline_s = float("inf")
        self.writable = True
        self._state = state
        self._settings = state.settings
        self._transport = transport
        self._address = address
        self._decoder = Decoder(state.settings.websocket_message_bytes_max)
        self._phase = Phase.CONNECTING
        self._accept = ""
        self._denial: HttpCall | None = None
        self._scope: Scope = {}
        self._messages: deque[Message] = deque()
        self._ending: tuple[int, str] | None = None  # what websocket.disconnect will say
        self._told_connect = False
        self._waiter: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._reading = True
        self._heard = True
        self._pinged = False
        self._task: asyncio.Task[Any] | None = None

    def open(self, scope: Scope, rest: bytes) -> None:
        """Check the handshake and call the application; `rest` came behind the request."""
        state = self._state
        state.enter(self)
        state.websockets += 1
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        try:
            self._accept = check_handshake(scope["method"], headers.get)
        except HandshakeError as error:
            self._answer(error.status, error.message)
            return
        del scope["method"]
        offered = headers.get("sec-websocket-protocol", "")
        scope["type"] = "websocket"
        scope["asgi"] = _ASGI.copy()
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["subprotocols"] = [word.strip() for word in offered.split(",") if word.strip()]
        scope["extensions"] = {"websocket.http.response": {}}
        self._scope = scope
        self._plan(self._settings.websocket_open_timeout_ms)
        if rest:
            self.data_received(rest)
        self._run(scope)

    def _run(self, scope: Scope) -> None:
        state = self._state
        try:
            task = state.stepper.start(state.application(scope, self.receive, self.send))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - outermost
            self._returned(error)
            return
        if task is None:
            self._returned(None)
            return
        self._task = task
        state.tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._state.tasks.discard(task)
        self._returned(None if task.cancelled() else task.exception())

    def _returned(self, error: BaseException | None) -> None:
        """End what the application left open."""
        self._task = None
        gone = isinstance(error, ClientGone) and self._ending is not None
        if error is not None and not gone:
            path = self._scope.get("path", "")
            self._state.log.error("the application failed", path=path, exc_info=error)
        if self._phase is Phase.CONNECTING:
            self._state.errors += 1
            self._answer(500, "Internal Server Error")
        elif self._phase is Phase.DENYING:
            if self._denial is not None and not self._denial.complete:
                self._transport.abort()
        elif self._phase is Phase.OPEN:
            code = CloseCode.NORMAL if error is None else CloseCode.INTERNAL_ERROR
            self._begin_close(code, "")

    # the application's side

    async def receive(self) -> Message:
        """Return the next message of the connection."""
        if not self._told_connect:
            self._told_connect = True
            return {"type": "websocket.connect"}
        while True:
            if self._messages:
                message = self._messages.popleft()
                if not self._reading:
                    self._read_on()
                return message
            if self._ending is not None:
                code, reason = self._ending
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
            if self._waiter is None:
                self._waiter = self._state.loop.create_future()
            await asyncio.shield(self._waiter)

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        kind = message["type"]
        phase = self._phase
        if phase is Phase.OPEN and kind == "websocket.send":
            await self._send_message(message)
        elif phase is Phase.OPEN and kind == "websocket.close":
            reason = message.get("reason") or ""
            self._begin_close(message.get("code", CloseCode.NORMAL), reason)
        elif phase is Phase.CONNECTING and kind == "websocket.accept":
            self._accept_with(message)
        elif phase is Phase.CONNECTING and kind == "websocket.close":
            self._answer(403, "Forbidden")
        elif phase in (Phase.CONNECTING, Phase.DENYING) and kind.startswith("websocket.http."):
            await self._deny(message)
        elif phase in (Phase.CLOSING, Phase.CLOSED):
            if self._ending is not None and kind in ("websocket.send", "websocket.close"):
                raise ClientGone("the WebSocket has been closed")
            raise RuntimeError(f"unexpected ASGI message {kind!r}: the WebSocket was closed")
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} while {phase.name.lower()}")

    async def _send_message(self, message: Message) -> None:
        text = message.get("text")
        data = message.get("bytes")
        if text is not None:
            self._transport.write(encode_frame(Opcode.TEXT, text.encode()))
        elif data is not None:
            self._transport.write(encode_frame(Opcode.BINARY, data))
        else:
            raise RuntimeError("websocket.send needs text or bytes")
        if not self.writable:
            await self.drained()

    def _accept_with(self, message: Message) -> None:
        head = encode_handshake(self._accept, message.get("subprotocol"))[:-2]
        count = head.count(b"\n")
        for name, value in message.get("headers", ()):
            if name.lower() == b"sec-websocket-protocol":
                raise ValueError("name the subprotocol in websocket.accept, not in a header")
            head += b"%b: %b\r\n" % (name, value)
            count += 1
        if head.count(b"\n") != count or head.count(b"\r") != count or b"\0" in head:
            raise ValueError("a header holds a line break or a zero byte")
        self._transport.write(head + b"".join(self._state.defaults) + b"\r\n")
        self._phase = Phase.OPEN
        self._plan(self._settings.ping_interval_ms)
        self._take_events()
        if not self._reading:
            self._read_on()

    async def _deny(self, message: Message) -> None:
        if self._denial is None:
            self._phase = Phase.DENYING
            self._ending = (ABNORMAL, "")
            self._plan(self._settings.send_timeout_ms)
            self._denial = HttpCall(self, self._state, self._scope, keep_alive=False)
            self._denial.more_body = False
        await self._denial.send({**message, "type": message["type"].removeprefix("websocket.")})

    # what the denial's call asks of its connection

    def write(self, data: bytes) -> None:
        """Write to the peer."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Return when the peer takes bytes again; raises ClientGone."""
        writer = self._state.loop.create_future()
        self._writers.append(writer)
        await writer
        if self._phase is Phase.CLOSED:
            raise ClientGone("the WebSocket has been closed")

    def wants_body(self, call: HttpCall) -> None:
        """Know nothing of a body: an upgrade request has none."""

    def on_complete(self, call: HttpCall) -> None:
        """End the connection behind the denial."""
        self._transport.close()

    def _answer(self, status: int, text: str) -> None:
        """Refuse the upgrade."""
        self._phase = Phase.DENYING
        self._end(ABNORMAL, "")
        answer = plain_answer(status, text, self._state.defaults, close=True)
        if status == 426:
            answer = answer.replace(b"\r\n\r\n", b"\r\nsec-websocket-version: 13\r\n\r\n", 1)
        self._transport.write(answer)
        self._transport.close()

    # asyncio callbacks

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._heard = True
        if self._phase in (Phase.CLOSED, Phase.DENYING):
            return
        self._decoder.feed(data)
        if self._phase is Phase.CONNECTING:
            if self._decoder.buffered_bytes > EARLY_BYTES_MAX:
                self._stop_reading()
            return
        self._take_events()

    def _take_events(self) -> None:
        decoder = self._decoder
        limit = self._settings.websocket_queue_messages
        try:
            while self._phase in (Phase.OPEN, Phase.CLOSING):
                if len(self._messages) >= limit:
                    self._stop_reading()
                    return
                event = decoder.next_event()
                if event is None:
                    return
                self._take(event)
        except WebSocketError as failure:
            self._fail(failure.code, failure.reason)

    def _take(self, event: Event) -> None:
        opcode, payload = event
        if opcode is Opcode.CLOSE:
            self._take_close(payload)
        elif self._phase is not Phase.OPEN:
            return
        elif opcode is Opcode.TEXT:
            self._messages.append({"type": "websocket.receive", "text": payload.decode()})
            self._wake()
        elif opcode is Opcode.BINARY:
            self._messages.append({"type": "websocket.receive", "bytes": payload})
            self._wake()
        elif opcode is Opcode.PING and self.writable:
            self._transport.write(encode_frame(Opcode.PONG, payload))

    def _take_close(self, payload: bytes) -> None:
        code, reason = parse_close(payload)
        if self._phase is Phase.OPEN:
            self._transport.write(encode_frame(Opcode.CLOSE, payload[:2]))
        self._phase = Phase.CLOSED
        self._end(code, reason)
        self._plan(self._settings.close_timeout_ms)
        self._transport.close()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _read_on(self) -> None:
        self._take_events()
        if len(self._messages) < self._settings.websocket_queue_messages and not self._reading:
            self._reading = True
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def eof_received(self) -> bool:
        """End: a half of a WebSocket is of no use."""
        return False

    def pause_writing(self) -> None:
        """Let `send` wait while the peer does not read."""
        self.writable = False
        self._plan(self._settings.send_timeout_ms)

    def resume_writing(self) -> None:
        """Go on."""
        self.writable = True
        self._pinged = False
        closing = self._phase is not Phase.OPEN
        settings = self._settings
        self._plan(settings.close_timeout_ms if closing else settings.ping_interval_ms)
        self._release_writers()

    def _release_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, forget the connection."""
        state = self._state
        state.forget(self)
        state.leave(self._address)
        state.websockets -= 1
        self._phase = Phase.CLOSED
        if self._denial is not None:
            self._denial.disconnect()
        self._end(ABNORMAL, "")
        self._release_writers()

    # endings

    def _plan(self, timeout_ms: int) -> None:
        self.deadline_s = self._state.now_s + timeout_ms / 1000

    def on_deadline(self, now_s: float) -> None:
        """Act on a time-out: open, ping, pong, a peer that does not read, an unanswered close."""
        self.deadline_s = float("inf")
        settings = self._settings
        if self._phase is Phase.CONNECTING:
            self._answer(503, "the application did not decide in time")
            if self._task is not None:
                self._task.cancel()
        elif self._phase is not Phase.OPEN or not self.writable:
            self._state.counts["cut_websockets"] += 1
            self._transport.abort()
        elif not self._reading or (self._pinged and self._heard):
            self._pinged = False
            self._plan(settings.ping_interval_ms)
        elif self._pinged:
            self._fail(CloseCode.INTERNAL_ERROR, "no pong in time")
        else:
            self._pinged, self._heard = True, False
            self._transport.write(_PING)
            self._plan(settings.pong_timeout_ms)

    def on_drain(self) -> None:
        """Send the peer elsewhere: 1012 is the code to come back upon."""
        if self._phase is Phase.OPEN:
            self._fail(CloseCode.SERVICE_RESTART, "service restart")
        elif self._phase is Phase.CONNECTING:
            self._answer(503, "the server is going down, try again")

    def abort(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def _fail(self, code: int, reason: str) -> None:
        """Close because of the peer or of us; the application is told the code."""
        if self._phase is Phase.OPEN:
            self._begin_close(code, reason)
        self._end(code, reason)

    def _begin_close(self, code: int, reason: str) -> None:
        self._phase = Phase.CLOSING
        self._transport.write(encode_close(code, reason))
        self._plan(self._settings.close_timeout_ms)
        self._messages.clear()
        if not self._reading:
            self._read_on()

    def _end(self, code: int, reason: str) -> None:
        if self._ending is None:
            self._ending = (code, reason)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
