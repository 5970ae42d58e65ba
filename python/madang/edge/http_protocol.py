"""HTTP/1.1 on one connection: parse with limits, answer in order, keep alive, upgrade.

Requests of one connection are handled one after another, so pipelined ones take effect in the order they
were sent; while one waits, at most `pipelined_requests_max` parsed ones and one read are held and
reading stops. Every state has a deadline that the server's sweep enforces.
A refusal (bad syntax, a limit, a time-out) is answered, then input is discarded until the peer ends or
the linger time-out passes, so that the answer is not lost to a reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Any, Final

import httptools

from madang.edge import eager
from madang.edge.errors import ApiError
from madang.edge.request import Headers, Request
from madang.edge.response import Response, encode_head, error_response
from madang.edge.state import ServerState
from madang.edge.websocket_protocol import open_websocket

PIECE_BYTES: Final = 16_384
"""Bytes fed to the parser at a time, so that limits bind inside a large read."""
_JOIN_BYTES_MAX: Final = 65_536
_NEVER: Final = float("inf")
_REQUEST_ID_BYTES_MAX: Final = 64


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
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._phase = Phase.NEW
        self._address = ""
        self._admitted = False
        self._begun = False
        self._raw_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_body = False
        self._refusal: ApiError | None = None
        self._queue: deque[tuple[Request, bool, bool]] = deque()
        self._held = b""
        self._busy = False
        self._upgrading = False
        self._writable = True
        self._reading = True
        self._ended = False
        self._task: asyncio.Task[Response] | None = None

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection or refuse it with 503."""
        self._transport = transport  # type: ignore[assignment]
        name = transport.get_extra_info("peername")
        self._address = str(name[0]) if isinstance(name, tuple) else "local"
        state = self._state
        if state.draining or not state.admit(self._address):
            self._refuse(ApiError(503, "too many connections, try again"))
            state.protocols.add(self)
            return
        self._admitted = True
        state.protocols.add(self)
        self.deadline_s = state.now_s + self._settings.header_timeout_ms / 1000

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a handler that waits goes on, its answer is dropped."""
        self._ended = True
        self._queue.clear()
        self._held = b""
        self._state.protocols.discard(self)
        if self._admitted:
            self._admitted = False
            self._state.leave(self._address)

    def eof_received(self) -> bool:
        """Answer what was asked before the peer's end, then end."""
        if self._phase is Phase.LINGER:
            return False
        waiting = self._busy or bool(self._queue)
        if waiting:
            last = self._queue[-1] if self._queue else None
            if last is not None:
                self._queue[-1] = (last[0], False, last[2])
            self._held = b""
            self._peer_done = True
        return waiting

    _peer_done = False

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
        if self._phase is Phase.LINGER or self._peer_done:
            return
        if self._held:
            self._held += data
        else:
            self._feed(data)

    # deadlines

    def _set_phase(self, phase: Phase) -> None:
        self._phase = phase
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
        if not self._writable or self._phase is Phase.LINGER:
            self._state.counts["cut_connections"] += 1
            self._transport.abort()
        elif self._phase is Phase.HANDLING:
            self.deadline_s = _NEVER
            if self._task is not None:
                self._task.cancel()
        elif self._phase in (Phase.HEAD, Phase.BODY):
            self._refuse(ApiError(408, "the request did not arrive in time"))
        else:
            self._end()

    def on_drain(self) -> None:
        """End now if nothing is under way; answers sent from here on say `connection: close`."""
        if self._phase in (Phase.IDLE, Phase.NEW) and not self._queue:
            self._end()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    # reading

    def _blocked(self) -> bool:
        return (
            len(self._queue) >= self._settings.pipelined_requests_max
            or not self._writable
            or self._upgrading
        )

    def _feed(self, data: bytes) -> None:
        if self._phase in (Phase.IDLE, Phase.NEW):
            self._set_phase(Phase.HEAD)
        at = 0
        size = len(data)
        while at < size:
            if self._phase is Phase.LINGER or self._ended or self._transport.is_closing():
                return
            if self._blocked():
                self._hold(data[at:])
                return
            piece = data if size <= PIECE_BYTES else data[at : at + PIECE_BYTES]
            at += self._parse(piece)
            if self._upgrading:
                self._hold(data[at:])
                self._pump()
                return

    def _hold(self, data: bytes) -> None:
        self._held = data
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _parse(self, piece: bytes) -> int:
        """Feed one piece; return how much of it was taken."""
        self._begun = False
        taken = len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as stop:
            taken = int(stop.args[0])
        except httptools.HttpParserError:
            if self._refusal is None:
                self._refusal = ApiError(400, "this is not HTTP/1.1")
        if not self._begun:
            self._raw_bytes += taken
            self._check_raw()
        if self._refusal is not None and not self._busy:
            self._refuse(self._refusal)
        return taken

    def _check_raw(self) -> None:
        settings = self._settings
        if self._phase is Phase.HEAD and self._raw_bytes > settings.header_bytes_max:
            self._refusal = self._refusal or _header_too_large(settings.header_bytes_max)
        elif self._phase is Phase.BODY and self._raw_bytes > 8 * (
            settings.body_bytes_max + settings.header_bytes_max
        ):
            self._refusal = self._refusal or _body_too_large(settings.body_bytes_max)

    # parser callbacks (httptools)

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begun = True
        self._raw_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0
        self._in_body = False
        if not self._busy and self._phase is Phase.IDLE:
            self._set_phase(Phase.HEAD)

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header (a trailer is counted and dropped)."""
        self._count_head(len(name) + len(value) + 4)
        if self._in_body:
            return
        key = name.lower()
        headers = self._headers
        if key in headers:
            if key == b"host":
                self._refusal = self._refusal or ApiError(400, "more than one Host header")
            headers[key] += (b"; " if key == b"cookie" else b", ") + value
        else:
            headers[key] = value

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._settings.header_bytes_max and self._refusal is None:
            self._refusal = _header_too_large(self._settings.header_bytes_max)

    def on_headers_complete(self) -> None:
        """Check what the headers promise before any of the body is taken."""
        self._in_body = True
        headers = self._headers
        length = headers.get(b"content-length")
        if self._refusal is not None:
            return
        if length is not None and int(length) > self._settings.body_bytes_max:
            self._refusal = _body_too_large(self._settings.body_bytes_max)
        elif b"host" not in headers and self._parser.get_http_version() != "1.0":
            self._refusal = ApiError(400, "the Host header is missing")
        elif length is not None or b"transfer-encoding" in headers:
            if not self._busy:
                self._set_phase(Phase.BODY)
            expect = headers.get(b"expect")
            if expect is not None:
                self._expect(expect)

    def _expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            self._refusal = ApiError(417, "only 100-continue can be expected")
        elif not self._busy and not self._queue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.body_bytes_max:
            self._refusal = self._refusal or _body_too_large(self._settings.body_bytes_max)
            self._body = []
        elif self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Handle the request, or queue it behind the one that waits."""
        if self._refusal is not None or self._ended or self._phase is Phase.LINGER:
            return
        parser = self._parser
        target = self._url
        if not target.startswith(b"/"):
            target = _origin_form(target)
        path, _, query = target.partition(b"?")
        method = parser.get_method().decode("latin-1")
        request = Request(method, path.decode("latin-1"), query, Headers(self._headers))
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
        keep_alive = parser.should_keep_alive() and parser.get_http_version() == "1.1"
        upgrading = parser.should_upgrade()
        self._upgrading = upgrading  # what follows may not be HTTP: handled when this feed ends
        if self._busy or self._queue or upgrading:
            self._queue.append((request, keep_alive, upgrading))
        else:
            self._handle(request, keep_alive, upgrading)

    # handling

    def _handle(self, request: Request, keep_alive: bool, upgrading: bool) -> None:
        state = self._state
        offered_id = request.headers.get("x-request-id")
        request.id = (
            offered_id
            if offered_id is not None and _is_plain(offered_id)
            else state.next_request_id()
        )
        forwarded_for = request.headers.get("x-forwarded-for")
        request.peer = (
            self._address
            if forwarded_for is None
            else state.proxies.client(self._address, forwarded_for)
        )
        request.query_fields_max = self._settings.query_fields_max
        if upgrading:
            self._upgrading = False
            if self._try_upgrade(request):
                return
            keep_alive = False
        self._call(request, keep_alive)

    def _call(self, request: Request, keep_alive: bool) -> None:
        state = self._state
        task: asyncio.Task[Response] | None = None
        try:
            outcome: Any = state.dispatcher.call(request)
            if not isinstance(outcome, Response):
                if state.in_flight >= self._settings.requests_in_flight_max:
                    outcome.close()
                    raise ApiError(503, "busy: nothing was done, try again").with_headers(
                        ("retry-after", "1")
                    )
                outcome, task = eager.start(self._loop, outcome)
        except Exception as error:  # outermost frame of a request
            outcome = state.dispatcher.failed(request, error)
        if task is None:
            self._respond(request, outcome, keep_alive)
            return
        state.in_flight += 1
        self._busy = True
        self._task = task
        self._set_phase(Phase.HANDLING)
        task.add_done_callback(lambda done: self._on_done(done, request, keep_alive))

    def _on_done(self, task: asyncio.Task[Response], request: Request, keep_alive: bool) -> None:
        state = self._state
        state.in_flight -= 1
        self._busy = False
        self._task = None
        if task.cancelled():
            response = error_response(
                ApiError(503, "no answer in time: the outcome is unknown, ask for it", 50_310_001)
            )
        else:
            error = task.exception()
            response = (
                task.result() if error is None else state.dispatcher.failed(request, error)
            )
        if not self._ended:
            self._respond(request, response, keep_alive)
            self._pump()

    def _respond(self, request: Request, response: Response, keep_alive: bool) -> None:
        state = self._state
        close = not keep_alive or state.draining or (self._peer_done and not self._queue)
        try:
            head = encode_head(response, state.date, request.id, close)
        except (ValueError, AttributeError, TypeError) as error:
            response = state.dispatcher.failed(request, error)
            head = encode_head(response, state.date, request.id, close)
        state.responses[response.status] += 1
        body = response.body
        if request.method == "HEAD" or response.status in (204, 304):
            self._transport.write(head)
        elif len(body) <= _JOIN_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        if close:
            self._end()
        else:
            self._set_phase(Phase.IDLE)

    def _pump(self) -> None:
        """Go on with what was queued and held."""
        while self._queue and not self._busy and self._writable and not self._ended:
            if self._phase is Phase.LINGER or self._transport.is_closing():
                return
            self._handle(*self._queue.popleft())
        if self._busy or self._ended or self._transport.is_closing():
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
            return
        if not self._blocked() and not self._reading:
            held, self._held = self._held, b""
            if held:
                self._feed(held)
            if not self._held and not self._ended and not self._transport.is_closing():
                self._reading = True
                self._transport.resume_reading()

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
        except Exception as error:  # outermost frame of a request
            self._respond(request, state.dispatcher.failed(request, error), keep_alive=False)
            return True
        state.responses[101] += 1
        state.protocols.discard(self)
        self._ended = True
        rest, self._held = self._held, b""
        transport = self._transport
        transport.set_protocol(successor)
        successor.start(transport, self._address, rest)
        self._admitted = False
        if not transport.is_closing():
            transport.resume_reading()
        return True

    # endings

    def _refuse(self, error: ApiError) -> None:
        """Answer outside of a request, then let the peer finish."""
        state = self._state
        response = error_response(error)
        state.responses[error.status] += 1
        self._refusal = None
        self._transport.write(
            encode_head(response, state.date, state.next_request_id(), close=True) + response.body
        )
        self._linger()

    def _linger(self) -> None:
        self._set_phase(Phase.LINGER)
        self._held = b""
        self._queue.clear()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self) -> None:
        if not self._transport.is_closing():
            self._transport.close()


def _header_too_large(limit: int) -> ApiError:
    return ApiError(431, f"the request's head is larger than {limit} bytes")


def _body_too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than {limit} bytes")


def _is_plain(text: str) -> bool:
    return 0 < len(text) <= _REQUEST_ID_BYTES_MAX and text.replace("-", "").isalnum() and text.isascii()


def _origin_form(target: bytes) -> bytes:
    """Return path and query of an absolute target; anything else leads nowhere."""
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserError:
        return target
    path = parsed.path or b"/"
    return path + (b"?" + parsed.query if parsed.query else b"")
