"""Serve an ASGI application in this process, and talk to it in bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from madang.edge.asgi.lifespan import Lifespan
from madang.edge.asgi.loading import AsgiApplication
from madang.edge.asgi.server import AsgiServer
from madang.edge.asgi.settings import AsgiSettings

LIMIT_S = 10.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop of the kind that serves in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_limited(main()))


async def _limited(coroutine: Awaitable[None]) -> None:
    await asyncio.wait_for(coroutine, 3 * LIMIT_S)


@asynccontextmanager
async def serving(application: AsgiApplication, **options: object) -> AsyncIterator[Served]:
    """Serve `application` with `options` beside the defaults of a test."""
    quick = {"sweep_interval_ms": 10, "linger_timeout_ms": 300, "lifespan": "off"}
    table: dict[str, Any] = {"target": "-", **quick, **options}
    settings = AsgiSettings(**table)
    lifespan = Lifespan(application, settings)
    await lifespan.startup()
    server = AsgiServer(application, settings, lifespan.state)
    server.start()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await server.listeners.listen(listener)
    served = Served(server, listener.getsockname()[1])
    try:
        yield served
    finally:
        for peer in served.peers:
            peer.writer.close()
        await server.close()
        await lifespan.shutdown()
        listener.close()


class Served:
    """A running server."""

    def __init__(self, server: AsgiServer, port: int) -> None:
        self.server = server
        self.port = port
        self.peers: list[Peer] = []
        self.url = f"http://127.0.0.1:{port}"

    async def open(self) -> Peer:
        """Connect."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def exchange(self, data: bytes, pieces: list[bytes] | None = None) -> bytes:
        """Send, say that it is all, and return everything that comes until the end."""
        peer = await self.open()
        for piece in pieces or [data]:
            peer.writer.write(piece)
            if pieces:
                await asyncio.sleep(0.001)
        peer.writer.write_eof()
        return await peer.rest()


class Peer:
    """One connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        """Return what comes up to and with `end`."""
        return await asyncio.wait_for(self.reader.readuntil(end), LIMIT_S)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return status, headers and body of an answer with a length."""
        head = await self.until(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if line)
        size = int(headers.get(b"content-length", b"0"))
        body = await asyncio.wait_for(self.reader.readexactly(size), LIMIT_S)
        return int(lines[0].split(b" ")[1]), headers, body

    async def rest(self) -> bytes:
        """Return what comes until the end of the connection, and end it."""
        try:
            return await asyncio.wait_for(self.reader.read(), LIMIT_S)
        finally:
            self.writer.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition, within a limit."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.002)
