"""A real server on a loopback port, and a raw HTTP client, for tests of the edge."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from madang.edge import Application, EdgeSettings, Server
from madang.hub import Hub

LIMIT_S = 20.0


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an async test on uvloop with a limit."""

    async def limited() -> None:
        await asyncio.wait_for(main(), LIMIT_S)

    uvloop.run(limited())


@dataclass
class Running:
    server: Server
    hub: Hub
    port: int
    sock: socket.socket
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]

    def has(self, **counts: int) -> Callable[[], bool]:
        """Return a condition on the server's statistics."""
        return lambda: counts.items() <= self.server.statistics().items()


@asynccontextmanager
async def serving(
    application: Application, settings: EdgeSettings | None = None, hub: Hub | None = None
) -> AsyncIterator[Running]:
    """Serve on a free port of loopback and close it afterwards."""
    hub = hub or Hub()
    server = Server(application, settings or EdgeSettings(sweep_interval_ms=20), hub)
    sock = bound()
    running = Running(server, hub, sock.getsockname()[1], sock)
    await server.start([sock])
    try:
        yield running
    finally:
        await server.close()
        sock.close()
        for client in running.clients:
            client.writer.transport.abort()
        for _ in range(3):  # let uvloop close what was aborted
            await asyncio.sleep(0)


def bound() -> socket.socket:
    """Return a socket bound to a free port of loopback."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


async def eventually(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait until a condition holds."""
    until = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < until, "condition not met in time"
        await asyncio.sleep(0.005)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Client:
    """Speaks raw bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answers: list[Answer] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, head_only: bool = False) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT_S)
        lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            if name:
                assert name not in headers, f"{name} twice"
                headers[name] = value
        answer = Answer(int(lines[0].split(" ")[1]), headers)
        if not head_only and "content-length" in headers:
            answer.body = await self.reader.readexactly(int(headers["content-length"]))
        return answer

    async def ended(self) -> bytes:
        """Return what is left until the server ends the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(), LIMIT_S)
        except ConnectionResetError:
            return b""

    def reset(self) -> None:
        """End the connection so that the peer sees it as broken, not as finished."""
        sock = self.writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: madang.test", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: madang.test",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
