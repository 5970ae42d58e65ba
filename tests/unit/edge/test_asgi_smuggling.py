"""What an ASGI process refuses to read: what two parsers may read differently, other tongues."""

from __future__ import annotations

import pytest

from madang.edge.asgi.loading import Receive, Scope, Send
from tests.support.asgi import run, serving
from tests.unit.edge.test_asgi_http import describe, say

HOST = b"Host: h\r\n"
REFUSED = {
    "length and chunked": (400, HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "chunked and length": (400, HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    "two lengths": (400, HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    "a list of lengths": (400, HOST + b"Content-Length: 5, 5\r\n"),
    "a signed length": (400, HOST + b"Content-Length: +5\r\n"),
    "coding identity": (501, HOST + b"Transfer-Encoding: identity\r\n"),
    "chunked not last": (400, HOST + b"Transfer-Encoding: chunked, identity\r\n"),
    "coding gzip": (501, HOST + b"Transfer-Encoding: gzip, chunked\r\n"),
    "two codings": (400, HOST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    "coding with a tab": (400, HOST + b"Transfer-Encoding:\x0bchunked\r\n"),
    "space before the colon": (400, HOST + b"Transfer-Encoding : chunked\r\n"),
    "a folded header": (400, HOST + b"X: a\r\n b\r\n"),
    "a bare return": (400, HOST + b"X: a\rY: b\r\n"),
    "a zero byte": (400, HOST + b"X: a\0b\r\n"),
    "no name": (400, HOST + b": b\r\n"),
    "no host": (400, b"X: y\r\n"),
    "two hosts": (400, HOST + HOST),
}


@pytest.mark.parametrize("shape", list(REFUSED))
def test_shapes_that_two_parsers_may_read_differently_are_refused(shape: str) -> None:
    async def main() -> None:
        status, headers = REFUSED[shape]
        called: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            called.append(scope["path"])
            await say(send, b"")

        async with serving(application) as served:
            smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
            peer = await served.open()
            peer.send(b"POST / HTTP/1.1\r\n" + headers + b"\r\n" + smuggled)
            data = await peer.rest()
            assert data.startswith(b"HTTP/1.1 %d " % status), data
            assert data.count(b"HTTP/1.1 ") == 1
            assert called == []

    run(main)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 501),
        (b"GET / HTTP/2.0\r\nHost: h", 505),
        (b"GET / HTTP/1.1\nHost: h\n", 400),
        (b"NONSENSE / HTTP/1.1\r\nHost: h", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_other_versions_and_other_languages_are_refused(line: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(describe) as served:
            peer = await served.open()
            peer.send(line + b"\r\n\r\n")
            assert (await peer.rest()).startswith(b"HTTP/1.1 %d " % status)

    run(main)
