"""WebSockets on the same port: an ordinary client, hostile, slow and resuming ones."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import tracemalloc

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from madang.edge import (
    ApiError,
    Application,
    EdgeSettings,
    Principal,
    Request,
    Role,
    WebSocketRoute,
)
from madang.hub import Channel, ChannelSettings, Connection, Hub, HubSettings, Position
from madang.wire.websocket import apply_mask
from tests.support.edge import Client, Running, eventually, get, run, serving


class Room:
    """Sessions that echo, fail, subscribe and resume."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []
        self.seen: list[tuple[bytes, bool]] = []
        self.hub = Hub(HubSettings(outbox_bytes_max=200_000))
        settings = ChannelSettings(history_count_max=100, history_bytes_max=10_000_000)
        self.channel: Channel = self.hub.channel("news", settings)
        self.channel.begin(Position(1, 0))

    def open(self, request: Request, connection: Connection) -> Visitor:
        if request.query().get("refuse"):
            raise ApiError(403, "not you")
        connection.authenticated = "authenticate" not in request.query()
        return Visitor(self, connection)

    def application(self) -> Application:
        return Application(
            routes=(),
            websocket_routes=(
                WebSocketRoute("/ws", Role.PUBLIC, self.open, ("chat.v1",)),
                WebSocketRoute("/private/{room}", Role.TRADER, self.open),
            ),
            authenticator=Keys(),
        )

    def publish(self, offset: int, payload: bytes) -> None:
        self.channel.publish(Position(1, offset), lambda _: (payload, False), len(payload))


class Keys:
    def authenticate(self, request: Request) -> Principal | None:
        if request.cookie("session") == "s":
            return Principal(1, Role.TRADER, "page", by_cookie=True)
        known = request.headers.get("apca-api-key-id") == "trader"
        return Principal(1, Role.TRADER, "trader", by_cookie=False) if known else None


class Visitor:
    def __init__(self, room: Room, connection: Connection) -> None:
        self.room = room
        self.connection = connection

    def on_message(self, payload: bytes, binary: bool) -> None:
        self.room.seen.append((payload, binary))
        if payload == b"fail":
            raise RuntimeError("never-tell")
        if payload.startswith(b"listen"):
            since = payload[7:].decode()
            position = Position(1, int(since)) if since else None
            recovery = self.room.channel.recover(position)
            self.connection.send(json.dumps({"recovered": recovery.recovered}).encode())
            self.connection.subscribe(self.room.channel, position)
        elif payload == b"leave":
            self.connection.close(4003, "as asked")
        else:
            self.connection.send(payload, binary)

    def on_close(self, code: int, reason: str) -> None:
        self.room.ended.append((code, reason))


def settings(**changes: object) -> EdgeSettings:
    return msgspec.convert({"sweep_interval_ms": 10, **changes}, EdgeSettings)


def dial(running: Running, path: str = "/ws", **options: object) -> connect:
    return connect(f"ws://127.0.0.1:{running.port}{path}", **options)  # type: ignore[arg-type]


async def closed(peer: ClientConnection) -> tuple[int, str]:
    """Return code and reason that the server closed with."""
    frame = None
    try:
        while True:
            await peer.recv()
    except ConnectionClosed as end:
        frame = end.rcvd
    return (int(frame.code), frame.reason) if frame is not None else (1006, "")


def test_messages_of_every_kind_come_back_as_they_were() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(), room.hub) as running:
            async with dial(running, subprotocols=["chat.v1"]) as peer:
                assert peer.subprotocol == "chat.v1"
                assert not peer.protocol.extensions  # permessage-deflate was offered, and declined
                for message in ("hello", "안녕" * 1_000, b"\x00\xff" * 30_000, "", b""):
                    await peer.send(message)
                    assert await peer.recv() == message
                await peer.send(["frag", "men", "ted"])
                assert await peer.recv() == "fragmented"
                await (await peer.ping(b"are you there"))
            await eventually(lambda: room.ended == [(1000, "")])
            assert running.server.statistics()["websockets"] == 0
            assert running.server.statistics()["hub_connections"] == 0

    run(main)


def test_what_cannot_be_upgraded_gets_an_http_answer() -> None:
    async def main() -> None:
        room = Room()
        cases = [
            ("/ws?refuse=1", {}, 403),
            ("/private/a", {}, 401),
            ("/nothing", {}, 404),
            ("/private/a", {"Cookie": "session=s"}, 403),
            ("/private/a", {"Cookie": "session=s", "Origin": "https://evil.test"}, 403),
            ("/ws", {"Cookie": "x=y", "Origin": "https://evil.test"}, 403),
        ]
        async with serving(room.application(), settings(), room.hub) as running:
            for path, headers, status in cases:
                with pytest.raises(InvalidStatus) as caught:
                    await dial(running, path, additional_headers=headers)
                response = caught.value.response
                assert response.status_code == status
                assert json.loads(response.body or b"")["code"] // 100_000 == status
            client = await running.connect()
            client.send(get("/ws"))
            assert (await client.answer()).status == 426
            origin = f"http://127.0.0.1:{running.port}"
            headers = {"Cookie": "session=s", "Origin": origin}
            async with dial(running, "/private/a", additional_headers=headers) as peer:
                await peer.send("in")
                assert await peer.recv() == "in"
            await eventually(lambda: not room.hub.connections)

    run(main)


async def raw(running: Running, path: str = "/ws") -> Client:
    """Open a WebSocket by hand."""
    client = await running.connect()
    key = base64.b64encode(b"0123456789abcdef").decode()
    client.send(
        get(
            path,
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        )
    )
    assert (await client.answer()).status == 101
    return client


def frame(first: int, payload: bytes, mask: bytes = b"abcd") -> bytes:
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
    return head + mask + apply_mask(payload, mask)


async def close_code(client: Client) -> int:
    """Read until the end and return the code of the close frame, which comes last."""
    data = await client.ended()
    tail = data[data.rindex(b"\x88") :]
    code: int = struct.unpack_from("!H", tail, 2)[0]
    return code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),
        (frame(0xC1, b"x"), 1002),
        (frame(0x83, b"x"), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x09, b"x"), 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, struct.pack("!H", 1005)), 1002),
        (b"\x82\xff" + struct.pack("!Q", 65_537) + b"abcd", 1009),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
def test_frames_that_break_the_rules_are_told_and_cut(data: bytes, code: int) -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(close_timeout_ms=50), room.hub) as running:
            client = await raw(running)
            client.send(data)
            assert await close_code(client) == code
            await eventually(lambda: len(room.ended) == 1)
            assert room.ended[0][0] == code
            assert room.seen == []

    run(main)


def test_a_frame_sent_with_the_upgrade_is_not_lost() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(), room.hub) as running:
            client = await running.connect()
            key = base64.b64encode(b"0123456789abcdef").decode()
            upgrade = get(
                "/ws",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {key}",
            )
            client.send(get("/nothing") + upgrade + frame(0x81, b"early"))
            assert (await client.answer()).status == 404
            assert (await client.answer()).status == 101
            assert await client.reader.readexactly(7) == b"\x81\x05early"

    run(main)


def test_a_session_that_fails_is_closed_without_a_traceback() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(), room.hub) as running:
            async with dial(running) as peer:
                await peer.send("fail")
                assert await closed(peer) == (1011, "internal error")
            async with dial(running) as peer:
                await peer.send("leave")
                assert await closed(peer) == (4003, "as asked")
            await eventually(lambda: len(room.ended) == 2)
            assert room.ended[1] == (4003, "as asked")

    run(main)


def test_who_does_not_sign_in_is_closed() -> None:
    async def main() -> None:
        room = Room()
        limits = settings(websocket_authentication_timeout_ms=100)
        async with serving(room.application(), limits, room.hub) as running:
            async with dial(running, "/ws?authenticate=1") as peer:
                assert (await closed(peer))[0] == 4500
            async with dial(running) as peer:
                await asyncio.sleep(0.2)
                await peer.send("still here")
                assert await peer.recv() == "still here"

    run(main)


def test_a_half_open_peer_is_found_by_ping_and_a_quiet_one_stays() -> None:
    async def main() -> None:
        room = Room()
        limits = settings(ping_interval_ms=60, pong_timeout_ms=60, close_timeout_ms=50)
        async with (
            serving(room.application(), limits, room.hub) as running,
            dial(running, ping_interval=None) as quiet,  # answers pings by itself
        ):
            client = await raw(running)  # answers nothing
            assert await close_code(client) == 4002
            await eventually(lambda: len(room.ended) == 1)
            await quiet.send("here")
            assert await quiet.recv() == "here"

    run(main)


def test_a_flooding_peer_is_cut_and_costs_little() -> None:
    async def main() -> None:
        room = Room()
        limits = settings(websocket_messages_per_s_max=100, close_timeout_ms=100)
        async with serving(room.application(), limits, room.hub) as running:
            for kind in (0x81, 0x89, 0x82):
                room.seen.clear()
                client = await raw(running)
                client.send(frame(kind, b"x" * 10) * 20_000)
                await eventually(lambda: running.server.statistics()["websockets"] == 0)
                assert room.ended[-1][0] == 4502
                assert len(room.seen) <= 200
                client.writer.transport.abort()

    run(main)


def test_a_subscriber_that_does_not_read_is_cut_within_its_budget() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(close_timeout_ms=100), room.hub) as running:
            slow = await raw(running)
            slow.send(frame(0x81, b"listen "))
            async with dial(running, max_queue=None) as reader:
                await reader.send("listen ")
                assert json.loads(await reader.recv()) == {"recovered": True}
                await eventually(lambda: room.channel.subscribers == 2)
                slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
                tracemalloc.start()
                count = 2_000
                for offset in range(1, count + 1):
                    room.publish(offset, b"%06d" % offset + b"x" * 10_000)  # 20 MB in all
                    if offset % 10 == 0:
                        for _ in range(10):
                            assert str(await reader.recv())[:6].isdigit()
                held, _ = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                await eventually(lambda: len(room.ended) == 1)
                assert room.ended[0][0] == 4000
                assert room.hub.statistics()["slow_consumers"] == 1
                assert held < 12_000_000  # history of a megabyte or ten, not what the slow one owes
                assert room.channel.subscribers == 1

    run(main)


def test_a_client_resumes_on_its_position_without_loss() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(), room.hub) as running:
            for offset in range(1, 201):
                room.publish(offset, b"%d" % offset)
            async with dial(running) as peer:
                await peer.send("listen 150")
                assert json.loads(await peer.recv()) == {"recovered": True}
                room.publish(201, b"201")
                assert [int(await peer.recv()) for _ in range(51)] == list(range(151, 202))
            async with dial(running) as peer:
                await peer.send("listen 10")
                assert json.loads(await peer.recv()) == {"recovered": False}
                room.publish(202, b"202")
                assert await peer.recv() == "202"

    run(main)


def test_a_drain_asks_clients_to_come_back() -> None:
    async def main() -> None:
        room = Room()
        async with serving(room.application(), settings(), room.hub) as running:
            peers = [await dial(running) for _ in range(5)]
            draining = asyncio.create_task(running.server.drain(5_000))
            for peer in peers:
                assert (await closed(peer))[0] == 1012
            assert await draining
            assert [code for code, _ in room.ended] == [1012] * 5

    run(main)
