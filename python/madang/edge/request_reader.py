"""Bytes of one connection to requests, with limits that bind while the bytes arrive. Sans-IO.

httptools (llhttp) knows the syntax; this knows what is too much. The first thing wrong ends
reading: it stays in `refusal`, requests completed before it stay in `complete`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import httptools

from madang.edge.errors import ApiError
from madang.edge.request import Headers, Request
from madang.edge.settings import EdgeSettings

PIECE_BYTES: Final = 16_384
"""Bytes to feed at a time, so that limits bind inside a large read."""
_FRAMING_FACTOR: Final = 8
"""How many times its payload a chunked body may take, for clients that send tiny chunks."""


class Incoming(NamedTuple):
    """A complete request, whether the connection may go on, whether it asks to change protocols."""

    request: Request
    keep_alive: bool
    upgrading: bool


class RequestReader:
    """Parses one connection's requests; feed it until `refusal` is set or an upgrade is asked."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.complete: list[Incoming] = []
        self.refusal: ApiError | None = None
        self.in_body = False
        self.in_message = False
        self.wants_continue = False
        self._settings = settings
        self._parser = httptools.HttpRequestParser(self)
        self._begun = False
        self._raw_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def feed(self, piece: bytes) -> int:
        """Take at most PIECE_BYTES; return how many were HTTP (fewer only behind an upgrade)."""
        self._begun = False
        taken = len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as stop:
            taken = int(stop.args[0])
        except httptools.HttpParserError:
            self._refuse(400, "this is not HTTP/1.1")
        if not self._begun:
            self._raw_bytes += taken
            self._check_raw()
        return taken

    def _check_raw(self) -> None:
        """Bound what the parser swallows without calling back: a long header, chunk extensions."""
        settings = self._settings
        if not self.in_body:
            if self._raw_bytes > settings.header_bytes_max:
                self._refuse_head()
        elif self._raw_bytes > _FRAMING_FACTOR * (
            settings.body_bytes_max + settings.header_bytes_max
        ):
            self._refuse_body()

    def _refuse(self, status: int, message: str) -> None:
        if self.refusal is None:
            self.refusal = ApiError(status, message)

    def _refuse_head(self) -> None:
        limit = self._settings.header_bytes_max
        self._refuse(431, f"the request's head is larger than {limit} bytes")

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is larger than {self._settings.body_bytes_max} bytes")

    # called by httptools

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begun = True
        self._raw_bytes = 0
        self._head_bytes = 0
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0
        self.in_body = False
        self.in_message = True

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._url += url
        self._head_bytes += len(url)
        if self._head_bytes > self._settings.header_bytes_max:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; a trailer is counted and dropped."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._settings.header_bytes_max:
            self._refuse_head()
        if self.in_body:
            return
        key = name.lower()
        headers = self._headers
        if key not in headers:
            headers[key] = value
        elif key == b"host":
            self._refuse(400, "more than one Host header")
        else:
            headers[key] += (b"; " if key == b"cookie" else b", ") + value

    def on_headers_complete(self) -> None:
        """Check what the headers promise before any of the body is taken."""
        self.in_body = True
        headers = self._headers
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._settings.body_bytes_max:
            self._refuse_body()
        elif b"host" not in headers and self._parser.get_http_version() != "1.0":
            self._refuse(400, "the Host header is missing")
        expect = headers.get(b"expect")
        if expect is not None:
            if expect.lower() == b"100-continue":
                self.wants_continue = self.refusal is None
            else:
                self._refuse(417, "only 100-continue can be expected")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.body_bytes_max:
            self._refuse_body()
            self._body = []
        elif self.refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Put the request together."""
        self.in_message = False
        self.in_body = False
        self.wants_continue = False
        if self.refusal is not None:
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
        self.complete.append(Incoming(request, keep_alive, parser.should_upgrade()))


def _origin_form(target: bytes) -> bytes:
    """Return path and query of an absolute target; anything else leads nowhere."""
    try:
        parsed = httptools.parse_url(target)
    except httptools.HttpParserError:
        return target
    path: bytes = parsed.path or b"/"
    return path + (b"?" + parsed.query if parsed.query else b"")
