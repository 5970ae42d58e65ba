"""HTTP/1.1 on one connection: answer in order, keep alive, upgrade, end.

Requests of one connection are handled one after another, so pipelined ones take effect in the order
they were sent. While one waits, what follows it is held: at most `pipelined_requests_max`
requests and one read, then reading stops. Every phase has a deadline that the server's sweep
enforces. A refusal (bad syntax, a limit, a time-out) is answered, then input is discarded until
the peer ends or the linger time-out passes, so that the answer is not lost to a reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, Final

from madang.edge import eager
from madang.edge.errors import OUTCOME_UNKNOWN, ApiError
from madang.edge.request import Request
from madang.edge.request_reader import PIECE_BYTES, Incoming, RequestReader
from madang.edge.response import Response, encode_head, error_response
from madang.edge.state import ServerState
from madang.edge.websocket_protocol import open_websocket

_JOIN_BYTES_MAX: Final = 65_536
_NEVER: Final = float("inf")
_REQUEST_ID_BYTES_MAX: Final = 64
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """Where a connection is; each has its time-out."""

    NEW = auto()
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    HANDLING = auto()
    LINGER = auto()


class HttpProtocol(asyncio.Protocol):
    """One accepted connection until it ends or becomes a WebSocket."""

    def __init__(self, state: ServerState) -> None:
        self.deadline_s = _NEVER
        self._state = state
        self._settings = state.settings
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(state.settings)
        self._transport: asyncio.Transport
        self._phase = Phase.NEW
        self._address = ""
        self._admitted = False
        self._queue: deque[Incoming] = deque()
        self._held = b""
        self._busy = False  # a handler waits: nothing else is started
        self._switching = False  # an upgrade is queued: what follows may not be HTTP
        self._writable = True
        self._reading = True
        self._peer_ended = False
        self._ended = False
        self._task: asyncio.Task[Response] | None = None

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection or refuse it with 503."""
        self._transport = transport  # type: ignore[assignment]
        self._address = self.peer_name(transport)
        state = self._state
        self._admitted = state.admit(self._address)
        state.protocols.add(self)
        if self._admitted:
            self._set_phase(Phase.NEW)
        else:
            self._refuse(ApiError(503, "too many connections, try again"))

    def peer_name(self, transport: asyncio.BaseTransport) -> str:
        """Return whose connection it is."""
        name = transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else "local"

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a handler that waits goes on, its answer is dropped."""
        self._ended = True
        self._queue.clear()
        self._held = b""
        if self._task is None:  # else the handler's deadline still needs the sweep
            self._state.protocols.discard(self)
        if self._admitted:
            self._admitted = False
            self._state.leave(self._address)

    def eof_received(self) -> bool:
        """Answer what was asked before the peer's end, then end."""
        if self._phase is Phase.LINGER:
            return False
        self._peer_ended = True
        return self._busy or bool(self._queue)

    def pause_writing(self) -> None:
        """Stop reading while the peer does not take our answers."""
        self._writable = False
        self.deadline_s = self._state.now_s + self._settings.send_timeout_ms / 1000

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._set_phase(self._phase)
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._phase is Phase.LINGER or self._peer_ended:
            return
        if self._held:
            self._held += data
        else:
            self._feed(data)

    # deadlines

    def _set_phase(self, phase: Phase) -> None:
        self._phase = phase
        if not self._writable and phase is not Phase.LINGER:
            return  # the deadline is that of a peer that does not read
        settings = self._settings
        if phase is Phase.IDLE:
            timeout_ms = settings.idle_timeout_ms
        elif phase is Phase.HANDLING:
            timeout_ms = settings.handler_timeout_ms
        elif phase is Phase.BODY:
            timeout_ms = settings.body_timeout_ms
        elif phase is Phase.LINGER:
            timeout_ms = settings.linger_timeout_ms
        else:
            timeout_ms = settings.header_timeout_ms
        self.deadline_s = self._state.now_s + timeout_ms / 1000

    def on_deadline(self, now_s: float) -> None:
        """Act on a time-out of the present phase."""
        self.deadline_s = _NEVER
        if self._task is not None and (self._writable or self._ended):
            self._task.cancel()
        elif not self._writable or self._phase is Phase.LINGER:
            self._state.counts["cut_connections"] += 1
            self._transport.abort()
        elif self._phase in (Phase.HEAD, Phase.BODY):
            self._refuse(ApiError(408, "the request did not arrive in time"))
        else:
            self._transport.close()

    def on_drain(self) -> None:
        """End now if nothing is under way; answers sent from here on say `connection: close`."""
        if self._phase in (Phase.IDLE, Phase.NEW) and not self._queue:
            self._transport.close()

    def abort(self) -> None:
        """End at once; a handler that waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # reading

    def _is_over(self) -> bool:
        return self._ended or self._phase is Phase.LINGER or self._transport.is_closing()

    def _is_blocked(self) -> bool:
        return (
            len(self._queue) >= self._settings.pipelined_requests_max
            or not self._writable
            or self._switching
            or self._reader.refusal is not None
        )

    def _feed(self, data: bytes) -> None:
        """Parse and handle piece by piece; hold the rest where something must end first."""
        if self._phase in (Phase.IDLE, Phase.NEW):
            self._set_phase(Phase.HEAD)
        at = 0
        size = len(data)
        while at < size:
            if self._is_blocked():
                self._hold(data[at:])
                break
            piece = data if size <= PIECE_BYTES else data[at : at + PIECE_BYTES]
            at += self._reader.feed(piece)
            complete = self._reader.complete
            if complete:
                self._reader.complete = []
                self._queue.extend(complete)
                if complete[-1].upgrading:
                    self._switching = True
                    self._hold(data[at:])
                self._handle_queue()
            if self._is_over():
                return
        self._after_feed()

    def _after_feed(self) -> None:
        reader = self._reader
        if self._busy or self._queue:
            return
        if reader.refusal is not None:
            self._refuse(reader.refusal)
        elif reader.in_message:
            if reader.in_body and self._phase is not Phase.BODY:
                self._set_phase(Phase.BODY)
            elif self._phase is Phase.IDLE:
                self._set_phase(Phase.HEAD)
            if reader.wants_continue:
                reader.wants_continue = False
                self._transport.write(_CONTINUE)

    def _hold(self, data: bytes) -> None:
        self._held = data
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    # handling

    def _handle_queue(self) -> None:
        while self._queue and not self._busy and self._writable and not self._is_over():
            incoming = self._queue.popleft()
            request = incoming.request
            self._identify(request)
            if not incoming.upgrading:
                self._call(request, incoming.keep_alive)
            else:
                self._switching = False
                if not self._try_upgrade(request):
                    self._call(request, keep_alive=False)

    def _pump(self) -> None:
        """Go on with what was queued and held."""
        self._handle_queue()
        if self._is_over():
            return
        if self._is_blocked():
            self._after_feed()
            return
        if not self._reading:
            held, self._held = self._held, b""
            if held:
                self._feed(held)
            if not self._held and not self._is_over():
                self._reading = True
                self._transport.resume_reading()

    def _identify(self, request: Request) -> None:
        state = self._state
        offered_id = request.headers.get("x-request-id")
        if offered_id is not None and _is_plain(offered_id):
            request.id = offered_id
        else:
            request.id = state.next_request_id()
        request.peer = self._address
        request.query_fields_max = self._settings.query_fields_max
        if self._settings.trusted_proxies:
            forwarded_for = request.headers.get("x-forwarded-for")
            request.peer = state.proxies.client(self._address, forwarded_for)

    def _call(self, request: Request, keep_alive: bool) -> None:
        state = self._state
        task: asyncio.Task[Response] | None = None
        try:
            outcome: Any = state.dispatcher.call(request)
            if type(outcome) is not Response:
                outcome, task = self._begin(outcome)
        except Exception as error:  # noqa: BLE001 - outermost frame of a request
            outcome = state.dispatcher.failed(request, error)
        if task is None:
            self._respond(request, outcome, keep_alive)
            return
        state.in_flight += 1
        self._busy = True
        self._task = task
        self._set_phase(Phase.HANDLING)
        task.add_done_callback(lambda done: self._on_done(done, request, keep_alive))

    def _begin(
        self, coroutine: Coroutine[Any, Any, Response]
    ) -> tuple[Response | None, asyncio.Task[Response] | None]:
        if self._state.in_flight >= self._settings.requests_in_flight_max:
            coroutine.close()
            self._state.counts["refused_requests_in_flight_max"] += 1
            raise ApiError(503, "busy: nothing was done, try again").with_headers(
                ("retry-after", "1")
            )
        return eager.start(self._loop, coroutine)

    def _on_done(self, task: asyncio.Task[Response], request: Request, keep_alive: bool) -> None:
        state = self._state
        state.in_flight -= 1
        self._busy = False
        self._task = None
        if task.cancelled():
            response = error_response(
                ApiError(503, "no answer in time: the outcome is unknown, ask", OUTCOME_UNKNOWN)
            )
        else:
            error = task.exception()
            response = task.result() if error is None else state.dispatcher.failed(request, error)
        if self._ended:
            state.protocols.discard(self)
            return
        self._respond(request, response, keep_alive)
        self._pump()

    def _respond(self, request: Request, response: Response, keep_alive: bool) -> None:
        state = self._state
        close = not keep_alive or state.draining or (self._peer_ended and not self._queue)
        try:
            head = encode_head(response, state.date, request.id, close)
        except (ValueError, AttributeError, TypeError) as error:
            response = state.dispatcher.failed(request, error)
            head = encode_head(response, state.date, request.id, close)
        state.answered(response.status)
        body = response.body
        if request.method == "HEAD" or response.status in (204, 304):
            self._transport.write(head)
        elif len(body) <= _JOIN_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        if close:
            self._transport.close()
        else:
            self._set_phase(Phase.IDLE)

    def _try_upgrade(self, request: Request) -> bool:
        """Become a WebSocket, or answer why not; False where none was asked for here."""
        state = self._state
        if "websocket" not in (request.headers.get("upgrade") or "").lower():
            return False
        try:
            route = state.dispatcher.find_websocket(request)
            if route is None:
                return False
            successor = open_websocket(state, request, route)
        except Exception as error:  # noqa: BLE001 - outermost frame of a request
            self._respond(request, state.dispatcher.failed(request, error), keep_alive=False)
            return True
        state.answered(101)
        state.protocols.discard(self)
        self._ended = True
        self._admitted = False  # the successor counts the connection out
        rest, self._held = self._held, b""
        transport = self._transport
        transport.set_protocol(successor)
        successor.start(transport, self._address, rest)
        if not transport.is_closing():
            transport.resume_reading()
        return True

    def _refuse(self, error: ApiError) -> None:
        """Answer outside of a request, then let the peer finish."""
        state = self._state
        response = error_response(error)
        state.answered(error.status)
        head = encode_head(response, state.date, state.next_request_id(), close=True)
        transport = self._transport
        transport.write(head + response.body)
        self._set_phase(Phase.LINGER)
        self._held = b""
        self._queue.clear()
        if not self._reading:
            self._reading = True
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()


def _is_plain(text: str) -> bool:
    short = 0 < len(text) <= _REQUEST_ID_BYTES_MAX
    return short and text.isascii() and text.replace("-", "").isalnum()
