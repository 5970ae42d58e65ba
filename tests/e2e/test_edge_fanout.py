"""Many and slow stream clients over real sockets: bounded, and others undisturbed."""

from __future__ import annotations

import asyncio
import json

import msgspec
from websockets.asyncio.client import connect

from madang.edge import Application, EdgeSettings, Request, Role, WebSocketRoute
from madang.hub import Connection, Hub, HubSettings, Position
from tests.support.edge import eventually, run, serving

BURST = 500
KEYS = 20
ROUNDS = 400


class Watcher:
    def __init__(self, hub: Hub, connection: Connection) -> None:
        connection.authenticated = True
        connection.watch(hub.state_channel("books"))

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take nothing."""

    def on_close(self, code: int, reason: str) -> None:
        """Know nothing of an end."""


def application(hub: Hub) -> Application:
    def open_(_request: Request, connection: Connection) -> Watcher:
        return Watcher(hub, connection)

    return Application(routes=(), websocket_routes=(WebSocketRoute("/ws", Role.PUBLIC, open_),))


def say(hub: Hub, key: int, number: int) -> None:
    payload = json.dumps({"key": key, "number": number, "rest": "x" * 5_000}).encode()
    hub.state_channel("books").set(str(key), Position(1, number), lambda _: (payload, False))


def test_a_reader_of_state_that_stops_finds_the_newest_and_costs_no_memory() -> None:
    async def main() -> None:
        hub = Hub(HubSettings(outbox_bytes_max=200_000))
        async with serving(application(hub), hub=hub) as running:
            url = f"ws://127.0.0.1:{running.port}/ws"
            async with connect(url, max_queue=1) as slow, connect(url, max_queue=None) as quick:
                books = hub.state_channel("books")
                await eventually(lambda: books.subscribers == 2)
                for number in range(1, ROUNDS + 1):  # 40 MB in all
                    for key in range(KEYS):
                        say(hub, key, number)
                    for _ in range(KEYS):
                        assert json.loads(await quick.recv())["number"] == number
                    assert hub.statistics()["outbox_bytes"] <= 400_000
                assert books.conflated > 0
                newest: dict[int, int] = {}
                received = 0
                while len(newest) < KEYS or min(newest.values()) < ROUNDS:
                    message = json.loads(await slow.recv())
                    assert message["number"] > newest.get(message["key"], 0)
                    newest[message["key"]] = message["number"]
                    received += 1
                assert received < KEYS * ROUNDS
                assert hub.statistics()["slow_consumers"] == 0

    run(main)


def test_a_burst_of_connections_is_served_while_others_get_their_messages() -> None:
    async def main() -> None:
        hub = Hub()
        async with serving(application(hub), hub=hub) as running:
            url = f"ws://127.0.0.1:{running.port}/ws"
            books = hub.state_channel("books")
            async with connect(url) as other:
                dialled = [asyncio.create_task(running.connect()) for _ in range(BURST)]
                for number in range(1, 51):
                    say(hub, 1, number)
                    assert json.loads(await other.recv())["number"] == number
                for client in await asyncio.gather(*dialled):
                    client.send(
                        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                    )
                await eventually(lambda: books.subscribers == BURST + 1)
                assert hub.take_presence_changes() == {"books": BURST + 1}
            await eventually(lambda: books.subscribers == BURST)
        assert hub.statistics()["connections"] == 0

    run(main)


def test_connections_per_address_are_limited_as_configured() -> None:
    async def main() -> None:
        hub = Hub()
        limits = msgspec.convert({"connections_per_address_max": 3}, EdgeSettings)
        async with serving(application(hub), limits, hub) as running:
            clients = [await running.connect() for _ in range(4)]
            assert (await clients[3].answer()).status == 503
            key = "count_refused_connections_per_address_max"
            assert running.server.statistics()[key] == 1

    run(main)
