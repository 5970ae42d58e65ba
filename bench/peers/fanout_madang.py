"""Our side of bench/fanout.py: one worker's edge and hub, every message published to a channel.

A line "RATE SECONDS" on stdin starts evenly spaced publishing; messages begin with their due time.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import time

import uvloop

from madang.edge import Application, EdgeSettings, Request, Role, Server, WebSocketRoute
from madang.hub import Channel, ChannelSettings, Connection, Hub, Position
from madang.hub.history import Encoder

WINDOW_MS = 9
HISTORY = 1_000


class Listener:
    """A client that only listens."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        connection.authenticated = True
        connection.subscribe(channel)

    def on_message(self, payload: bytes, binary: bool) -> None:
        """Take nothing."""

    def on_close(self, code: int, reason: str) -> None:
        """Know nothing of an end."""


def always(text: bytes) -> Encoder:
    """Return an encoder that says the same in every dialect."""
    return lambda _: (text, False)


async def publish(channel: Channel, rate: int, seconds: float) -> None:
    """Publish at even distances, and what a late timer left behind at once."""
    begin = time.monotonic_ns()
    total = round(rate * seconds)
    sent = 0
    offset = channel.position.offset if channel.position else 0
    while sent < total:
        due = min(total, (time.monotonic_ns() - begin) * rate // 10**9)
        for at in range(sent, due):
            text = f"{begin + at * 10**9 // rate:020}".ljust(100, "x").encode()
            channel.publish(Position(1, offset + at + 1), always(text))
        sent = due
        await asyncio.sleep(max(0.001, 1 / rate))


async def main() -> None:
    """Serve until stdin ends."""
    hub = Hub()
    channel = hub.channel(
        "m", ChannelSettings(flush_window_ms=WINDOW_MS, history_count_max=HISTORY)
    )

    def open_(_request: Request, connection: Connection) -> Listener:
        return Listener(connection, channel)

    application = Application(
        routes=(), websocket_routes=(WebSocketRoute("/", Role.PUBLIC, open_),)
    )
    server = Server(application, EdgeSettings(connections_per_address_max=20_000), hub)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.start([sock])
    gc.freeze()
    print(sock.getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    running: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        rate, seconds = line.split()
        running.add(asyncio.create_task(publish(channel, int(rate), float(seconds))))
    await server.close()


uvloop.run(main())
