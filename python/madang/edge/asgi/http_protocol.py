"""HTTP/1.1 on one connection of an ASGI process: answer in order, keep alive, upgrade, end.

The application is called inside the read that brought the request; requests behind it wait until
its answer is complete. Every phase has a deadline that the server's sweep enforces. A refusal (bad
syntax, a limit, a time-out) is answered, then input is discarded until the peer ends or the linger
time-out passes, so that the answer is not lost to a reset.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Final

import httptools

from madang.edge.asgi.http_call import ClientGone, HttpCall
from madang.edge.asgi.http_reader import NEVER, PIECE_BYTES, HttpReader
from madang.edge.asgi.hub_upgrade import give_to_hub
from madang.edge.asgi.response_head import HEAD, HTTP_10, UNTIL_CLOSE, plain_answer
from madang.edge.asgi.state import AsgiState
from madang.edge.asgi.websocket_protocol import WebSocketProtocol
from madang.wire.proxy_protocol import ProxyHeaderError, parse_proxy_header

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpProtocol(HttpReader):
    """One accepted connection until it ends or becomes a WebSocket."""

    is_websocket = False

    def __init__(self, state: AsgiState) -> None:
        super().__init__(state)
        self._proxied: bytes | None = b"" if state.settings.proxy_protocol else None
        self._admitted = False
        self._is_new = True
        self._task: asyncio.Task[Any] | None = None
        self._held = b""
        self._reading = True
        self._lingering = False
        self._peer_ended = False
        self._lost = False
        self._pumping = False
        self._successor: WebSocketProtocol | None = None
        self._waiters: list[asyncio.Future[None]] = []

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection or refuse it with 503."""
        self._transport = transport  # type: ignore[assignment]
        state = self._state
        limit = self._settings.write_buffer_bytes
        self._transport.set_write_buffer_limits(high=limit)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._client = (str(peer[0]), int(peer[1]))
        here = transport.get_extra_info("sockname")
        if isinstance(here, tuple):
            self._server = (str(here[0]), int(here[1]))
        elif here:
            self._server = (str(here), None)
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        self._address = self._client[0] if self._client else "local"
        self._admitted = state.admit(self._address)
        state.enter(self)
        if self._admitted:
            self._expect(self._settings.header_timeout_ms)
        else:
            self._refuse(503, "too many connections, try again")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, forget the connection."""
        self._lost = True
        state = self._state
        state.forget(self)
        if self._admitted:
            self._admitted = False
            state.leave(self._address)
        self._cut_off()

    def eof_received(self) -> bool:
        """Tell the application; what was asked before may still be answered."""
        self._peer_ended = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._deaf = True
            incoming.disconnect()
            if incoming is self._active:
                self._active = None
        if self._active is not None:
            self._active.end()
        busy = self._active is not None or bool(self._queue)
        return busy and self._scheme == "http"

    def pause_writing(self) -> None:
        """Let `send` wait while the peer does not read."""
        self.writable = False
        self._expect(self._settings.send_timeout_ms)

    def resume_writing(self) -> None:
        """Go on."""
        self.writable = True
        if self._incoming is not None:
            self._expect(self._settings.body_timeout_ms)
        elif self._active is not None:
            self.deadline_s = self._request_deadline()
        else:
            self.deadline_s = self._state.now_s + self._state.idle_s
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._pump_soon()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._deaf:
            return
        if self._proxied is not None:
            data = self._take_proxy_header(self._proxied + data)
        if self._held:
            self._held += data
        elif len(data) <= PIECE_BYTES and self._reading:
            self._feed(data)
        else:
            self._feed_large(data)

    # deadlines

    def on_deadline(self, now_s: float) -> None:
        """Act on a time-out of the present phase."""
        self.deadline_s = NEVER
        if self._lingering or not self.writable:
            self._state.counts["cut_connections"] += 1
            self._transport.abort()
        elif self._incoming is not None or self._url:
            self._refuse(408, "the request did not arrive in time")
        elif self._task is not None and self._active is not None:
            self._state.counts["request_timeouts"] += 1
            self._task.cancel()
        else:
            self._transport.close()

    def on_drain(self) -> None:
        """End now if nothing is under way; answers sent from here on say `connection: close`."""
        if self._active is None and self._incoming is None and not self._queue and not self._url:
            if self._is_new and not self._lingering:
                self._expect(self._settings.drain_grace_ms)  # its request may be on its way
            else:
                self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    # what the peer sends

    def _feed(self, data: bytes | memoryview) -> None:
        self._piece_bytes = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._upgrade(bytes(data[stop.args[0] :]))
            return
        except httptools.HttpParserError as error:
            if not self._deaf:
                cause = error.__context__
                if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
                    self._state.log.error("a request could not be taken", exc_info=cause)
                self._refuse(400, "this is not HTTP/1.1")
            return
        if self._incoming is not None:
            self._after_body_piece()
        elif self._url:
            self._after_head_piece(len(data))

    def _after_body_piece(self) -> None:
        call = self._incoming
        assert call is not None
        if call.body_bytes == self._seen_bytes:  # chunk extensions come without a callback
            self._count_framing(self._piece_bytes)
        self._seen_bytes = call.body_bytes
        if self._deaf:
            return
        if self._active is None and not self._queue and not call.complete and not call.gone:
            self._begin(call)
            if self._incoming is not call or self._deaf:
                return
        if call.buffered > self._settings.body_buffer_bytes:
            self._stop_reading()

    def _after_head_piece(self, size: int) -> None:
        if self._head_bytes == 0 and self.writable and self._active is None:
            self._expect(self._settings.header_timeout_ms)
        self._head_bytes += size
        if self._head_bytes > self._settings.header_bytes_max:
            self._refuse_head()

    def _feed_large(self, data: bytes) -> None:
        """Parse piece by piece; hold the rest where something must end first."""
        at = 0
        view = memoryview(data)
        while at < len(data) and not self._deaf:
            if self._is_blocked():
                self._held = data[at:]
                self._stop_reading()
                return
            self._feed(view[at : at + PIECE_BYTES])
            at += PIECE_BYTES
            if self._successor is not None:
                if at < len(data):
                    self._successor.data_received(data[at:])
                return

    def _is_blocked(self) -> bool:
        call = self._incoming
        return (
            len(self._queue) >= self._settings.pipelined_requests_max
            or (not self.writable and call is None)
            or (call is not None and call.buffered > self._settings.body_buffer_bytes)
        )

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()
            if self.writable:
                self.deadline_s = NEVER  # it is us who do not read

    def _take_proxy_header(self, data: bytes) -> bytes:
        trusted = self._settings.trusted_proxies
        try:
            if trusted and not self._state.proxies.trusts(self._address):
                raise ProxyHeaderError("this peer may not say whom it forwards")
            header = parse_proxy_header(data)
        except ProxyHeaderError as error:
            self._proxied = None
            self._refuse(400, error.message)
            return b""
        if header is None:
            self._proxied = data
            return b""
        self._proxied = None
        if header.source is not None:
            self._client = header.source
            self._server = header.destination
        return data[header.size :]

    # calls

    def _request_deadline(self) -> float:
        """Return when the application's time is over."""
        limit_ms = self._settings.request_timeout_ms
        return self._state.now_s + limit_ms / 1000 if limit_ms else NEVER

    def _begin(self, call: HttpCall) -> None:
        """Call the application."""
        state = self._state
        self._active = call
        self._is_new = False
        self._task = None
        if len(state.tasks) >= self._settings.requests_in_flight_max:
            state.counts["refused_requests_in_flight_max"] += 1
            self._fail(call, 503, "busy: nothing was done, try again")
            return
        if state.access is not None:
            call.started_s = state.loop.time()
        state.requests += 1
        try:
            coroutine = state.application(call.scope, call.receive, call.send)
            task = state.stepper.start(coroutine)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - outermost
            self._returned(call, error)
            return
        if task is None:
            if not call.complete:
                self._returned(call, None)
            return
        state.tasks.add(task)
        if self._active is call:
            self._task = task
            if not call.more_body and self.writable:
                self.deadline_s = self._request_deadline()
        task.add_done_callback(functools.partial(self._on_done, call))

    def _on_done(self, call: HttpCall, task: asyncio.Task[Any]) -> None:
        self._state.tasks.discard(task)
        if self._task is task:
            self._task = None
        if task.cancelled():
            if not call.complete and not call.gone and not self._lost:
                self._fail(call, 503, "no answer in time")
        else:
            error = task.exception()
            if error is not None or not call.complete:
                self._returned(call, error)

    def _returned(self, call: HttpCall, error: BaseException | None) -> None:
        """Deal with an application that failed, or ended without a whole answer."""
        state = self._state
        if error is not None:
            if isinstance(error, ClientGone) and call.gone:
                return
            path = call.scope["path"]
            state.log.error("the application failed", path=path, exc_info=error)
        elif not call.gone:
            text = "the application returned without a whole answer"
            state.log.error(text, path=call.scope["path"], started=call.started)
        if not call.complete and not call.gone and not self._lost:
            self._fail(call, 500, "Internal Server Error")

    def _fail(self, call: HttpCall, status: int, text: str) -> None:
        """Answer for the application where nothing was sent; else end the connection at once."""
        call.complete = True
        if call.has_head:
            self._state.errors += 1
            self._deaf = True
            self._active = None
            if call.left == UNTIL_CLOSE:
                self._transport.abort()  # a plain end would look like a whole answer
            else:
                self._transport.close()
            return
        call.status = status
        going_on = call.keep_alive and not call.more_body and not self._state.draining
        call.keep_alive = going_on and status == 500 and not call.shape & HTTP_10
        answer = plain_answer(status, text, self._state.defaults, not call.keep_alive)
        if call.shape & HEAD:
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self._transport.write(answer)
        self.on_complete(call)

    # what a call asks for

    def write(self, data: bytes) -> None:
        """Write to the peer."""
        self._transport.write(data)

    async def drained(self) -> None:
        """Return when the peer takes bytes again; raises ClientGone."""
        waiter = self._state.loop.create_future()
        self._waiters.append(waiter)
        await waiter
        if self._lost:
            raise ClientGone("the client has gone")

    def wants_body(self, call: HttpCall) -> None:
        """Read on: the application waits for the body."""
        if call.expects_continue:
            call.expects_continue = False
            self._transport.write(_CONTINUE)
        if not self._reading:
            self._expect(self._settings.body_timeout_ms)
            self._pump_soon()

    def on_complete(self, call: HttpCall) -> None:
        """Take the connection back: the answer is whole."""
        state = self._state
        status = call.status
        if status < 300:
            state.succeeded += 1
        elif status >= 500:
            state.errors += 1
        elif status >= 400:
            state.refused += 1
        else:
            state.redirected += 1
        if state.access is not None:
            state.access.info("request", **call.describe())
        self._active = None
        self._task = None
        if call.waiter is not None:
            call.wake()
        if not call.keep_alive:
            self._end(call)
            return
        if self._incoming is not call:
            self._ready_for_next()
        elif not self._reading:
            self._pump_soon()

    def _ready_for_next(self) -> None:
        """Wait for the next request."""
        if self.writable:
            self.deadline_s = self._state.now_s + self._state.idle_s
        if self._queue or not self._reading or self._peer_ended:
            self._pump_soon()
        elif self._state.draining:
            self._transport.close()

    def _end(self, call: HttpCall) -> None:
        self._deaf = True
        self._queue.clear()
        if call.more_body and not self._peer_ended:
            self._linger()
        else:
            self._transport.close()

    # going on

    def _pump_soon(self) -> None:
        if not self._pumping and not self._lost:
            self._pumping = True
            self._state.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Go on with what was queued and held."""
        self._pumping = False
        while self._queue and self._active is None and self.writable and not self._lost:
            self._begin(self._queue.popleft())
        if self._lost or self._transport.is_closing():
            return
        if self._peer_ended and self._active is None and not self._queue:
            self._transport.close()
            return
        if self._reading or self._is_blocked():
            return
        held, self._held = self._held, b""
        self._reading = True
        if held:
            self._feed_large(held)
        if self._reading and not self._transport.is_closing():
            self._transport.resume_reading()

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection to a WebSocket; any other upgrade is answered as if not asked."""
        call = self._incoming
        if call is None or self._deaf:
            return
        self._incoming = None
        headers = call.scope["headers"]
        wanted = b",".join(value for name, value in headers if name == b"upgrade")
        if b"websocket" not in wanted.lower() or self._active is not None or self._queue:
            call.keep_alive = False  # llhttp reads nothing behind it
            self._deaf = True
            self._upgrading = False
            if self._active is None and not self._queue:
                self._begin(call)
            else:
                self._queue.append(call)
            return
        state = self._state
        state.forget(self)
        self._lost = True
        self._admitted = False  # the successor counts the connection out
        if give_to_hub(state, self._transport, self._address, call.scope, rest):
            return
        successor = WebSocketProtocol(state, self._transport, self._address)
        self._successor = successor
        self._transport.set_protocol(successor)
        successor.open(call.scope, rest)

    def _refuse(self, status: int, text: str) -> None:
        """Answer outside of a call, then let the peer finish."""
        if self._lingering:
            return
        self._lingering = True
        self._deaf = True
        state = self._state
        state.counts[f"refused_{status}"] += 1
        busy = self._active
        self._cut_off()
        if busy is None or not busy.has_head:
            self._transport.write(plain_answer(status, text, state.defaults, close=True))
            self._linger()
        else:
            self._transport.abort()

    def _linger(self) -> None:
        """Say that nothing follows, and discard input, so that no reset destroys the answer."""
        self._lingering = True
        self._expect(self._settings.linger_timeout_ms)
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _cut_off(self) -> None:
        """Tell every call of this connection that nobody listens."""
        calls = [*self._queue, self._active, self._incoming]
        self._queue.clear()
        self._held = b""
        self._active = self._incoming = None
        for call in calls:
            if call is not None:
                call.disconnect()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
