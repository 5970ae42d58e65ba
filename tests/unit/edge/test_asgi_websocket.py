"""WebSockets of an ASGI process: opening, refusing, messages, back-pressure, every ending."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import websockets.asyncio.client as client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from madang.edge.asgi.loading import Receive, Scope, Send
from tests.support.asgi import Served, run, serving, until

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT_HI = b"\x81\x82\0\0\0\0hi"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, repeat what comes, tell in the scope's state how it ended."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    scope["state"]["ends"].append((message["code"], message["reason"]))


def connect(served: Served, **more: Any) -> client.connect:  # noqa: ANN401 - options of a library
    return client.connect(f"ws://127.0.0.1:{served.port}/ws?a=b", **more)


def test_messages_come_back_and_the_end_is_told() -> None:
    async def main() -> None:
        async with serving(echo) as served:
            ends: list[Any] = []
            served.server.state.app_state["ends"] = ends
            async with connect(served, subprotocols=["one", "two"]) as peer:
                assert peer.subprotocol == "one"
                for message in ("hello", "한국어" * 20_000, b"\0\xff", b""):
                    await peer.send(message)
                    assert await peer.recv() == message
                await peer.send(["in ", "two parts"])
                assert await peer.recv() == "in two parts"
                await (await peer.ping())
                await peer.close(4321, "bye")
            await until(lambda: ends == [(4321, "bye")])
            assert served.server.state.websockets == 0
            raw = await served.open()
            raw.send(UPGRADE + TEXT_HI)  # the first message behind the request
            await raw.until(b"\r\n\r\n")
            assert await raw.until(b"hi") == b"\x81\x02hi"
            raw.writer.transport.abort()
            await until(lambda: ends[1:] == [(1006, "")])
            assert not served.server.state.tasks

    run(main)


def test_the_scope_of_a_websocket() -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope)
            await send({"type": "websocket.close"})

        async with serving(application) as served:
            with pytest.raises(InvalidStatus, match="403"):
                await connect(served, subprotocols=["one", "two"])
            scope = seen[0]
            assert scope["type"] == "websocket"
            assert "method" not in scope
            assert (scope["scheme"], scope["path"], scope["query_string"]) == ("ws", "/ws", b"a=b")
            assert scope["subprotocols"] == ["one", "two"]
            assert scope["extensions"] == {"websocket.http.response": {}}

    run(main)


def test_a_refusal_may_have_a_response_of_its_own() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-why", b"money")]
        start = {"type": "websocket.http.response.start", "status": 402, "headers": headers}
        await send(start)
        body = {"type": "websocket.http.response.body", "body": b"pay", "more_body": True}
        await send(body)
        await send({"type": "websocket.http.response.body", "body": b" first"})
        assert (await receive())["type"] == "websocket.connect"
        assert (await receive())["type"] == "websocket.disconnect"

    async def main() -> None:
        async with serving(application) as served:
            with pytest.raises(InvalidStatus) as refused:
                await connect(served)
            response = refused.value.response
            assert (response.status_code, response.headers["x-why"]) == (402, "money")
            assert response.body == b"pay first"

    run(main)


@pytest.mark.parametrize(("how", "code"), [("close", 3003), ("return", 1000), ("raise", 1011)])
def test_the_application_ends_a_connection(how: str, code: int) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "headers": [(b"x-a", b"b")]})
        await receive()
        await receive()
        if how == "raise":
            raise LookupError("meant")
        if how == "close":
            await send({"type": "websocket.close", "code": 3003, "reason": "over"})
            with pytest.raises(RuntimeError):
                await send({"type": "websocket.send", "text": "late"})

    async def main() -> None:
        async with serving(application) as served, connect(served) as peer:
            assert peer.response is not None
            assert peer.response.headers["x-a"] == "b"
            await peer.send("go")
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert peer.close_code == code
            assert (peer.close_reason == "over") is (how == "close")

    run(main)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ((b"Version: 13", b"Version: 12"), 426),
        ((b"Key: dGhl", b"Key: "), 400),
        ((b"GET", b"POST"), 405),
    ],
)
def test_a_bad_handshake_is_refused(wrong: tuple[bytes, bytes], status: int) -> None:
    async def main() -> None:
        async with serving(echo) as served:
            answer = await served.exchange(UPGRADE.replace(*wrong))
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer
            assert (b"sec-websocket-version: 13" in answer) is (status == 426)

    run(main)


def test_another_upgrade_is_answered_as_if_it_was_not_asked() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["type"].encode()})

    async def main() -> None:
        async with serving(application) as served:
            peer = await served.open()
            peer.send(UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c"))
            status, headers, body = await peer.answer()
            assert (status, headers[b"connection"], body) == (200, b"close", b"http")

    run(main)


def test_what_the_peer_may_not_do_ends_with_its_code() -> None:
    async def main() -> None:
        ends: list[Any] = []
        async with serving(echo, websocket_message_bytes_max=1_000) as served:
            served.server.state.app_state["ends"] = ends
            async with connect(served) as peer:
                await peer.send("x" * 1_001)
                await peer.wait_closed()
                assert peer.close_code == 1009
            raw = await served.open()
            raw.send(UPGRADE + b"\x81\x02hi")  # not masked
            await raw.until(b"\r\n\r\n")
            assert (await raw.rest())[2:4] == (1002).to_bytes(2, "big")
            await until(lambda: [code for code, _ in ends] == [1009, 1002])

    run(main)


def test_reading_stops_while_the_application_does_not_receive() -> None:
    async def main() -> None:
        go = asyncio.Event()
        received = 0

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal received
            await receive()
            await send({"type": "websocket.accept"})
            await go.wait()
            while (await receive())["type"] == "websocket.receive":
                received += 1

        async with serving(application) as served, connect(served, ping_interval=None) as peer:

            async def pour() -> None:
                for _ in range(300):
                    await peer.send(b"x" * 100_000)
                await peer.close()

            pouring = asyncio.create_task(pour())
            await asyncio.sleep(0.3)
            assert not pouring.done()
            go.set()
            await pouring
            await until(lambda: received == 300)

    run(main)


def test_send_waits_while_the_peer_does_not_read_and_raises_when_it_is_cut() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            try:
                while True:
                    await send({"type": "websocket.send", "bytes": b"x" * 100_000})
            except OSError as error:
                ended.append(type(error).__name__)
                raise

        async with serving(application, send_timeout_ms=200) as served:
            raw = await served.open()
            raw.send(UPGRADE)
            await until(lambda: ended == ["ClientGone"])
            await until(lambda: not served.server.state.tasks)

    run(main)


def test_a_silent_peer_is_pinged_and_then_ended() -> None:
    async def main() -> None:
        ends: list[Any] = []
        options = {"ping_interval_ms": 50, "pong_timeout_ms": 50, "close_timeout_ms": 50}
        async with serving(echo, **options) as served:
            served.server.state.app_state["ends"] = ends
            raw = await served.open()
            raw.send(UPGRADE)
            await raw.until(b"\r\n\r\n")
            assert (await raw.rest())[:6] == b"\x89\x00\x88\x11\x03\xf3"
            await until(lambda: ends and ends[0][0] == 1011)
            async with connect(served) as alive:
                await asyncio.sleep(0.4)
                await alive.send("still")
                assert await alive.recv() == "still"

    run(main)


def test_an_application_that_does_not_decide_is_refused_in_time() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        async with serving(application, websocket_open_timeout_ms=50) as served:
            raw = await served.open()
            raw.send(UPGRADE)
            assert (await raw.rest()).startswith(b"HTTP/1.1 503 ")
            await until(lambda: not served.server.state.tasks)

    run(main)


def test_draining_tells_the_code_to_come_back_upon() -> None:
    async def main() -> None:
        ends: list[Any] = []
        async with serving(echo) as served:
            served.server.state.app_state["ends"] = ends
            async with connect(served) as peer:
                await peer.send("x")
                await peer.recv()
                assert await served.server.drain()
                await peer.wait_closed()
                assert peer.close_code == 1012
            assert ends == [(1012, "service restart")]

    run(main)
