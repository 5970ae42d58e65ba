"""What the peer of one connection sends: bytes to calls, with limits that bind while they arrive.

httptools (llhttp) knows the syntax; what it lets pass and two parsers might read differently is
refused here: a transfer coding other than chunked or with HTTP/1.0, two Host headers, no Host.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

from madang.edge.asgi.forwarding import apply_forwarded
from madang.edge.asgi.http_call import HttpCall
from madang.edge.asgi.response_head import HEAD, HTTP_10
from madang.edge.asgi.state import AsgiState

PIECE_BYTES: Final = 16_384
"""Bytes to parse at a time, so that limits bind inside a large read."""
FRAMING_FACTOR: Final = 8
"""How many times its payload a chunked body may take beside it, for clients with tiny chunks."""
NEVER: Final = float("inf")
_CHUNK_HEAD_BYTES: Final = 5
_SLASH: Final = 0x2F
_WATCHED: Final = frozenset((b"host", b"transfer-encoding", b"expect", b"content-length"))
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE")}


class HttpReader(asyncio.Protocol):
    """The reading half of a connection; the answering half is its subclass."""

    def __init__(self, state: AsgiState) -> None:
        self.deadline_s = NEVER
        self.writable = True
        self._state = state
        self._settings = state.settings
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._address = ""
        self._server: tuple[str, int | None] | None = None
        self._client: tuple[str, int] | None = None
        self._scheme = "http"
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._watched: dict[bytes, bytes] = {}
        self._head_bytes = 0  # of the unfinished head, in earlier pieces
        self._piece_bytes = 0
        self._seen_bytes = 0  # of the body, when the last piece had been read
        self._framing_bytes = 0  # of a body that did not become body: chunk heads, trailers
        self._incoming: HttpCall | None = None  # its body is being read
        self._active: HttpCall | None = None  # its answer is being written
        self._queue: deque[HttpCall] = deque()
        self._deaf = False  # what comes is discarded
        self._upgrading = False
        self._between = True  # the parser has read nothing of the next message

    # the answering half

    def _begin(self, call: HttpCall) -> None:
        """Call the application."""
        raise NotImplementedError

    def _refuse(self, status: int, text: str) -> None:
        """Answer outside of a call and end."""
        raise NotImplementedError

    def _ready_for_next(self) -> None:
        """Wait for the next request."""
        raise NotImplementedError

    def _request_deadline(self) -> float:
        """Return when the application's time is over."""
        raise NotImplementedError

    def _expect(self, timeout_ms: int) -> None:
        self.deadline_s = self._state.now_s + timeout_ms / 1000

    # called by httptools

    def on_message_begin(self) -> None:
        """Note that a message has begun."""
        self._between = False

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; a trailer is dropped."""
        if self._incoming is not None:
            self._count_framing(len(name) + len(value))
            return
        key = name.lower()
        if value and value[-1] <= 32:
            value = value.rstrip(b" \t")
        self._headers.append((key, value))
        if key in _WATCHED:
            watched = self._watched
            if key in watched:
                self._refuse(400, f"more than one {key.decode()} header")
            watched[key] = value

    def on_headers_complete(self) -> None:
        """Make the call; it begins once its body is there or the read has ended."""
        if self._deaf:
            return
        parser = self._parser
        watched = self._watched
        version = parser.get_http_version()
        if len(watched) != 1 or b"host" not in watched or version != "1.1":
            self._check(version)
        if self._head_bytes + self._piece_bytes > self._settings.header_bytes_max:
            self._measure_head()
        if self._deaf:
            return
        call = HttpCall(self, self._state, self._scope(version), parser.should_keep_alive())  # type: ignore[arg-type]
        if version == "1.0":
            call.shape = HTTP_10
        if call.scope["method"] == "HEAD":
            call.shape |= HEAD
        if b"expect" in watched:
            call.expects_continue = True
        self._incoming = call
        self._url = b""
        self._headers = []
        self._watched = {}
        self._head_bytes = 0
        self._framing_bytes = 0
        self._seen_bytes = -1

    def _scope(self, version: str) -> dict[str, object]:
        state = self._state
        url = self._url
        if url[0] != _SLASH:
            url = _origin_form(url)
        raw_path, _, query = url.partition(b"?")
        path = raw_path.decode() if b"%" not in raw_path else _unquote(raw_path)
        if state.root_path:
            path, raw_path = state.root_path + path, state.root_path_raw + raw_path
        method = self._parser.get_method()
        scope: dict[str, object] = {
            "type": "http",
            "asgi": _ASGI.copy(),
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "root_path": state.root_path,
            "method": _METHODS.get(method) or method.decode(),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "state": state.app_state.copy(),
        }
        if state.reads_forwarded:
            apply_forwarded(scope, state.proxies, self._address)
        return scope

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        call = self._incoming
        if call is None or self._deaf:
            return
        call.expects_continue = False
        call.feed(body)
        settings = self._settings
        if call.body_bytes > settings.body_bytes_max:
            self._refuse(413, f"the body is larger than {settings.body_bytes_max} bytes")
        elif self.writable:
            more_s = len(body) / settings.body_bytes_per_s_min
            latest_s = self._state.now_s + settings.body_timeout_ms / 1000
            self.deadline_s = min(latest_s, self.deadline_s + more_s)

    def on_chunk_header(self) -> None:
        """Bound what tiny chunks may cost."""
        self._count_framing(_CHUNK_HEAD_BYTES)

    def on_message_complete(self) -> None:
        """Begin the call, or queue it behind those whose answers are due first."""
        self._between = True
        call = self._incoming
        if call is None or self._deaf:
            return
        call.more_body = False
        call.expects_continue = False
        if self._parser.should_upgrade():
            self._upgrading = True  # the parser stops here and says so
            return
        self._incoming = None
        if not call.keep_alive:
            self._deaf = True  # nothing may follow
        if call is self._active:
            call.wake()
            self.deadline_s = self._request_deadline()
        elif call.complete:
            self._ready_for_next()
        elif self._active is None and not self._queue:
            self._begin(call)
        elif not call.gone:
            self._queue.append(call)

    # checks

    def _check(self, version: str) -> None:
        watched = self._watched
        if version not in ("1.1", "1.0"):
            self._refuse(505, "HTTP/1.1 is spoken here")
        elif b"host" not in watched and version == "1.1":
            self._refuse(400, "the Host header is missing")
        coding = watched.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or version != "1.1"):
            self._refuse(501, "the only transfer coding is chunked, with HTTP/1.1")
        length = watched.get(b"content-length")
        limit = self._settings.body_bytes_max
        if length is not None and int(length) > limit:
            self._refuse(413, f"the body is larger than {limit} bytes")
        expected = watched.get(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            self._refuse(417, "only 100-continue can be expected")
        if self.writable and not self._deaf and self._active is None:
            self._expect(self._settings.body_timeout_ms)

    def _measure_head(self) -> None:
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if size > self._settings.header_bytes_max:
            self._refuse_head()

    def _refuse_head(self) -> None:
        limit = self._settings.header_bytes_max
        self._refuse(431, f"the request's head is larger than {limit} bytes")

    def _count_framing(self, size: int) -> None:
        self._framing_bytes += size
        call = self._incoming
        got = call.body_bytes if call is not None else 0
        if self._framing_bytes > FRAMING_FACTOR * got + self._settings.header_bytes_max:
            self._refuse(413, "the body is mostly framing")


def _unquote(raw_path: bytes) -> str:
    return unquote_to_bytes(raw_path).decode(errors="replace")


def _origin_form(target: bytes) -> bytes:
    """Return path and query of an absolute target; `*` and an authority stay as they are."""
    if b"://" not in target:
        return target
    rest = target.partition(b"://")[2]
    slash, mark = rest.find(b"/"), rest.find(b"?")
    if slash >= 0 and (mark < 0 or slash < mark):
        return rest[slash:]
    return b"/" + (rest[mark:] if mark >= 0 else b"")
