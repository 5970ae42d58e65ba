"""One request and its answer: the `receive` and `send` that the application is called with.

The connection feeds the body in and writes the bytes out. Back-pressure works both ways: `send`
waits while the peer does not read, and the connection stops reading while the application does not
receive. After the peer is gone `receive` says http.disconnect and `send` raises ClientGone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from madang.edge.asgi.loading import Message, Scope
from madang.edge.asgi.response_head import CHUNKED, HEAD, KEEP_ALIVE, NO_BODY, UNTIL_CLOSE, Headers
from madang.edge.asgi.response_head import encode_head as encode
from madang.edge.asgi.state import AsgiState

_DISCONNECT: Final = "http.disconnect"


class ClientGone(OSError):
    """The peer has ended the connection: nobody reads what is sent."""


class Wire(Protocol):
    """What a call asks of its connection."""

    writable: bool

    def write(self, data: bytes) -> None:
        """Write to the peer."""
        ...

    async def drained(self) -> None:
        """Return when the peer takes bytes again; raises ClientGone."""
        ...

    def wants_body(self, call: HttpCall) -> None:
        """Read on: the application waits for the body."""
        ...

    def on_complete(self, call: HttpCall) -> None:
        """Take the connection back: the answer is whole."""
        ...


class HttpCall:
    """The state of one exchange; `more_body` while the request is not read to its end."""

    # What most calls never change stands on the class: an instance costs what it sets.
    answer_bytes = 0
    buffered = 0
    body_bytes = 0
    more_body = True
    expects_continue = False
    gone = False  # nobody reads the answer
    ended = False  # the peer has said its last; it may still read
    started = False
    has_head = False
    complete = False
    left = 0  # bytes of the answer still to come, or CHUNKED, UNTIL_CLOSE
    status = 0
    started_s = 0.0
    shape = 0  # of the head: HTTP_10, HEAD; KEEP_ALIVE is added when it is written
    waiter: asyncio.Future[None] | None = None
    _body: list[bytes] | None = None
    _headers: Headers = ()

    def __init__(self, wire: Wire, state: AsgiState, scope: Scope, keep_alive: bool) -> None:
        self._wire = wire
        self.state = state
        self.scope = scope
        self.keep_alive = keep_alive

    # the connection's side

    def feed(self, body: bytes) -> None:
        """Take a piece of the body."""
        self.body_bytes += len(body)
        if self.complete or self.gone:
            return
        self.buffered += len(body)
        if self._body is None:
            self._body = [body]
        else:
            self._body.append(body)
        if self.waiter is not None:
            self.wake()

    def wake(self) -> None:
        """Let `receive` look again."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def disconnect(self) -> None:
        """The peer is gone: nothing more is received."""
        self.gone = True
        self._body = None
        self.buffered = 0
        self.wake()

    def end(self) -> None:
        """Tell the application that the peer sends nothing more; an answer can still reach it."""
        self.ended = True
        self.wake()

    # the application's side

    async def receive(self) -> Message:
        """Return the next message of the request."""
        first = True
        while True:
            if self.gone or self.complete:
                return {"type": _DISCONNECT}
            if self._body:
                return self._take_body()
            if not self.more_body:
                if self._body is None:
                    self._body = []  # said once: the body has ended
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self.ended:
                    return {"type": _DISCONNECT}
            elif first:
                first = False
                self._wire.wants_body(self)
                continue
            if self.waiter is None:
                self.waiter = self.state.loop.create_future()
            await asyncio.shield(self.waiter)

    def _take_body(self) -> Message:
        pieces = self._body
        assert pieces is not None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body = None if self.more_body else []
        self.buffered = 0
        if self.more_body:
            self._wire.wants_body(self)
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Take a message of the answer."""
        kind = message["type"]
        if not self.started:
            if kind != "http.response.start":
                raise RuntimeError(f"expected http.response.start, not {kind!r}")
            self.status = message["status"]
            self._headers = message.get("headers", ())
            self.started = True
            return
        if kind != "http.response.body":
            raise RuntimeError(f"expected http.response.body, not {kind!r}")
        if self.complete:
            raise RuntimeError("the answer is complete: nothing can follow")
        wire = self._wire
        if self.gone:
            raise ClientGone("the client has gone")
        more = message.get("more_body", False)
        data = self._encode(message.get("body", b""), more)
        if data:
            wire.write(data)
            self.has_head = True
        if not more:
            if self.left > 0:
                self.keep_alive = False
                text = "the body is shorter than its content-length"
                self.state.log.error(text, path=self.scope["path"], missing_bytes=self.left)
            self.complete = True
            wire.on_complete(self)
        elif not wire.writable:
            await wire.drained()

    def _encode(self, body: bytes, more: bool) -> bytes:
        """Return the bytes that a piece of the body becomes, behind the head if it is the first."""
        head = b"" if self.has_head else self._begin(len(body), more)
        if self.shape & HEAD:
            self.left = 0
            return head
        left = self.left
        if left == CHUNKED:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        elif left == NO_BODY and body and self.status in (204, 304):
            body = b""
        elif left != UNTIL_CLOSE:
            if len(body) > left:
                self.keep_alive = False
                raise RuntimeError("the body is longer than its content-length")
            self.left = left - len(body)
        self.answer_bytes += len(body)
        return head + body if head else body

    def _begin(self, size: int, more: bool) -> bytes:
        shape = self.shape
        if self.keep_alive and self._may_go_on():
            shape |= KEEP_ALIVE
        whole = -1 if more else size
        head, self.left, self.keep_alive = encode(
            self.status, self._headers, self.state.defaults, shape, whole
        )
        return head

    def _may_go_on(self) -> bool:
        """Tell whether the connection can be used after this answer."""
        if self.state.draining:
            return False
        if not self.more_body:
            return True
        if self.expects_continue:
            return False  # the peer may send its body or not: nobody can tell where it ends
        length = next((v for n, v in self.scope["headers"] if n == b"content-length"), b"")
        limit = self.state.settings.discard_bytes_max
        return length.isdigit() and int(length) - self.body_bytes <= limit

    def describe(self) -> dict[str, Any]:
        """Return the facts of the access log."""
        scope = self.scope
        client = scope["client"]
        return {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "status": self.status,
            "bytes": self.answer_bytes,
            "client": client[0] if client else None,
            "http_version": scope["http_version"],
            "ms": round((self.state.loop.time() - self.started_s) * 1000, 3),
        }
