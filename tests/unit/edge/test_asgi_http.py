"""HTTP/1.1 of an ASGI process at the level of bytes: order, framing, endings, limits, refusals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest

from madang.edge.asgi.loading import AsgiApplication, Message, Receive, Scope, Send
from tests.support.asgi import run, serving, until

Headers = Sequence[tuple[bytes, bytes]]
MANY = b"x" * 100_000
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


async def say(send: Send, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def describe(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was asked."""
    body = await read(receive)
    text = f"{scope['method']} {scope['path']} {scope['query_string']!r} {body!r}"
    await say(send, text.encode())


async def describe_later(scope: Scope, receive: Receive, send: Send) -> None:
    """The same, after waiting."""
    await asyncio.sleep(0.001)
    await describe(scope, receive, send)


def bodies(data: bytes) -> list[bytes]:
    """Return the bodies of answers that all have a length."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head).group(1))  # type: ignore[union-attr]
        found.append(rest[:size])
        data = rest[size:]
    return found


STREAM = (
    b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    b"POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"
    b"POST /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    b"DELETE http://h/three?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)
EXPECTED = [
    b"GET /a b b'x=1' b''",
    b"POST /one b'' b'hello world'",
    b"POST /two b'' b'hello world'",
    b"DELETE /three b'q' b''",
]


@pytest.mark.parametrize("application", [describe, describe_later])
def test_pipelined_requests_are_answered_in_order_at_every_split(
    application: AsgiApplication,
) -> None:
    async def main() -> None:
        async with serving(application) as served:
            for cut in range(0, len(STREAM), 1 if application is describe else 3):
                pieces = [STREAM[:cut], STREAM[cut:]]
                assert bodies(await served.exchange(b"", pieces)) == EXPECTED, cut

    run(main)


def test_a_stream_is_answered_byte_by_byte() -> None:
    async def main() -> None:
        async with serving(describe) as served:
            pieces = [STREAM[at : at + 1] for at in range(len(STREAM))]
            assert bodies(await served.exchange(b"", pieces)) == EXPECTED

    run(main)


def test_the_scope_is_that_of_the_specification() -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                scope["state"]["from"] = "lifespan"
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            seen.append(dict(scope))
            scope["state"]["mine"] = True
            await say(send, b"")

        head = b"GET /in%2Fner/%ED%95%9C?a=%20&b HTTP/1.1\r\nHost: h\r\nX-A: 1 \r\nx-a:\r\n\r\n"
        async with serving(application, root_path="/api", lifespan="on") as served:
            peer = await served.open()
            for _ in range(2):
                peer.send(head)
                await peer.answer()
            address = peer.writer.get_extra_info("sockname")
            peer.writer.close()
            expected = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "server": ("127.0.0.1", served.port),
                "client": address,
                "scheme": "http",
                "root_path": "/api",
                "method": "GET",
                "path": "/api/in/ner/한",
                "raw_path": b"/api/in%2Fner/%ED%95%9C",
                "query_string": b"a=%20&b",
                "headers": [(b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"")],
                "state": {"from": "lifespan"},
            }
            for scope in seen:
                scope["state"].pop("mine", None)
                assert scope == expected

    run(main)


def test_a_body_without_length_is_chunked_and_for_http_10_ends_with_the_connection() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"transfer-encoding", b"chunked")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async def main() -> None:
        async with serving(application) as served:
            data = await served.exchange(GET)
            assert data.count(b"transfer-encoding: chunked") == 1
            assert data.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
            old = await served.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert old.endswith(b"connection: close\r\n\r\nonetwo")
            assert b"chunked" not in old

    run(main)


def test_http_10_is_kept_alive_where_it_asks_and_the_length_is_known() -> None:
    async def main() -> None:
        async with serving(describe) as served:
            peer = await served.open()
            for _ in range(2):
                peer.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                _, headers, body = await peer.answer()
                assert headers[b"connection"] == b"keep-alive"
                assert body == b"GET /x b'' b''"
            peer.send(b"GET /x HTTP/1.0\r\n\r\n")
            assert (await peer.rest()).endswith(b"GET /x b'' b''")

    run(main)


def test_head_204_and_304_have_no_body() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        status = int(scope["path"][1:])
        headers = [(b"content-length", b"5")] if status == 304 else []
        await say(send, b"" if status == 204 else b"hello", status=status, headers=headers)

    async def main() -> None:
        async with serving(application) as served:
            head = await served.exchange(b"HEAD /200 HTTP/1.1\r\nHost: h\r\n\r\n" + GET[:0])
            assert head.endswith(b"content-length: 5\r\n\r\n")
            assert (await served.exchange(b"GET /204 HTTP/1.1\r\nHost: h\r\n\r\n")).count(
                b"content-length"
            ) == 0
            assert (await served.exchange(b"GET /304 HTTP/1.1\r\nHost: h\r\n\r\n")).endswith(
                b"content-length: 5\r\n\r\n"
            )

    run(main)


def test_100_continue_is_said_when_the_application_wants_the_body() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/reads":
            await say(send, await read(receive))
        else:
            await say(send, b"no", status=403)

    async def main() -> None:
        async with serving(application) as served:
            rest = b" HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            peer = await served.open()
            peer.send(b"POST /reads" + rest)
            assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            peer.send(b"hi")
            assert (await peer.answer())[2] == b"hi"
            peer.send(b"POST /no" + rest)
            status, headers, _ = await peer.answer()
            assert (status, headers[b"connection"]) == (403, b"close")
            assert await peer.rest() == b""
            wrong = rest.replace(b"100-continue", b"miracle")
            assert (await served.exchange(b"POST /" + wrong)).startswith(b"HTTP/1.1 417 ")

    run(main)


def test_a_body_that_is_left_unread_does_not_disturb_the_next_request() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, scope["path"].encode())

    async def main() -> None:
        async with serving(application, discard_bytes_max=100_000) as served:
            peer = await served.open()
            peer.send(b"POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + b"x" * 9)
            assert (await peer.answer())[2] == b"/one"
            peer.send(b"x" * 89_991 + GET)
            assert (await peer.answer())[2] == b"/a"
            peer.send(b"POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n")
            status, headers, body = await peer.answer()
            assert (status, headers[b"connection"], body) == (200, b"close", b"/two")
            peer.send(b"x" * 300_000)
            assert await peer.rest() == b""

    run(main)


def test_a_body_waits_in_the_kernel_while_the_application_does_not_receive() -> None:
    async def main() -> None:
        go = asyncio.Event()
        sizes: list[int] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            total = 0
            while True:
                message = await receive()
                sizes.append(len(message["body"]))
                total += sizes[-1]
                if not message["more_body"]:
                    break
            await say(send, str(total).encode())

        async with serving(application, body_buffer_bytes=10_000) as served:
            peer = await served.open()
            size = 30_000_000
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            sent = asyncio.create_task(_pour(peer.writer, size))
            await asyncio.sleep(0.2)
            assert not sent.done()
            go.set()
            assert (await peer.answer())[2] == b"30000000"
            await sent
            assert max(sizes) <= 10_000 + 2 * 16_384

    run(main)


async def _pour(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size // 100_000):
        writer.write(b"x" * 100_000)
        await writer.drain()


def test_send_waits_while_the_peer_does_not_read() -> None:
    async def main() -> None:
        sent = 0

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200})
            for _ in range(400):
                await send({"type": "http.response.body", "body": MANY, "more_body": True})
                sent += 1
            await send({"type": "http.response.body"})

        async with serving(application) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1_000)
            writer.write(GET)
            await asyncio.sleep(0.3)
            assert sent < 200
            total = 0
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data = await reader.read(1_000_000)
                total += len(data)
            assert total > 400 * 100_000
            writer.close()

    run(main)


def test_a_disconnect_is_received_and_what_is_sent_then_raises() -> None:
    async def main() -> None:
        seen: list[Any] = []
        over = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(await receive())
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            seen.append((await receive())["type"])
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"a", "more_body": True})
                    await asyncio.sleep(0.001)
            except OSError as error:
                seen.append(type(error).__name__)
                raise
            finally:
                over.set()

        async with serving(application) as served:
            peer = await served.open()
            peer.send(GET)
            await peer.until(b"a\r\n")
            peer.writer.transport.abort()
            await asyncio.wait_for(over.wait(), 5)
            assert seen[1:] == ["http.disconnect", "ClientGone"]
            await until(lambda: not served.server.state.tasks)
            assert not served.server.state.protocols

    run(main)


def test_after_its_answer_an_application_receives_a_disconnect_and_may_go_on() -> None:
    async def main() -> None:
        seen: list[str] = []
        tail = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await say(send, scope["path"].encode())
            if scope["path"] == "/a":
                seen.append((await receive())["type"])
                await tail.wait()
                seen.append("tail")

        async with serving(application) as served:
            peer = await served.open()
            peer.send(GET)
            assert (await peer.answer())[2] == b"/a"
            peer.send(GET.replace(b"/a", b"/b"))
            assert (await peer.answer())[2] == b"/b"  # while the tail of the first still runs
            tail.set()
            await until(lambda: seen == ["http.disconnect", "tail"])
            peer.writer.close()

    run(main)


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    await read(receive)
    how = scope["path"]
    if how.endswith("late"):
        await asyncio.sleep(0)
    if how.startswith("/before"):
        raise LookupError("before")
    await send({"type": "http.response.start", "status": 200})
    if how.startswith("/started"):
        raise LookupError("started")
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    if how.startswith("/half"):
        raise LookupError("half")


@pytest.mark.parametrize("when", ["", "late"])
def test_a_failure_is_500_and_in_the_log_and_half_an_answer_looks_like_half(
    when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with serving(_fails) as served:
            peer = await served.open()
            for how in ("before", "started"):
                peer.send(b"GET /%b%b HTTP/1.1\r\nHost: h\r\n\r\n" % (how.encode(), when.encode()))
                assert (await peer.answer())[0] == 500
            peer.send(b"GET /half%b HTTP/1.1\r\nHost: h\r\n\r\n" % when.encode())
            assert (await peer.rest()).endswith(b"4\r\nhalf\r\n")
            returned = await served.exchange(b"GET /unfinished HTTP/1.1\r\nHost: h\r\n\r\n")
            assert returned.endswith(b"4\r\nhalf\r\n")
            assert served.server.state.errors == 4

    run(main)
    logged = capsys.readouterr()
    text = logged.err + logged.out
    assert text.count("LookupError") >= 3
    assert "without a whole answer" in text


LENGTH_1, LENGTH_MINUS_1 = (b"content-length", b"1"), (b"content-length", b"-1")


def test_an_application_that_is_cancelled_in_its_first_step_has_failed() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        async with serving(application) as served:
            assert (await served.exchange(GET)).startswith(b"HTTP/1.1 500 ")

    run(main)


BROKEN: dict[str, list[Message]] = {
    "status": [{"type": "http.response.start", "status": 99}],
    "split": [
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nset-cookie: c")]}
    ],
    "name": [{"type": "http.response.start", "status": 200, "headers": [(b"a\nb", b"c")]}],
    "length": [{"type": "http.response.start", "status": 200, "headers": [LENGTH_MINUS_1]}],
    "longer": [{"type": "http.response.start", "status": 200, "headers": [LENGTH_1]}],
    "order": [{"type": "http.response.body", "body": b"x"}],
    "kind": [{"type": "http.nonsense"}],
}


@pytest.mark.parametrize("how", list(BROKEN))
def test_an_answer_that_cannot_be_sent_is_500_and_none_of_it_leaves(how: str) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in BROKEN[how]:
            await send(message)
        await send({"type": "http.response.body", "body": b"body"})

    async def main() -> None:
        async with serving(application) as served:
            data = await served.exchange(GET)
            assert b"set-cookie" not in data
            assert data.startswith(b"HTTP/1.1 500 "), data

    run(main)
