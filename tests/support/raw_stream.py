"""Stream clients over raw sockets: thousands of them in one process, and none too polite."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import psutil

LIMIT_S = 30.0
POLL_S = 0.005
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Return a client's frame with a mask of zeros."""
    first = (0x80 if final else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


def upgrade(path: str, headers: dict[str, str] | None = None) -> bytes:
    """Return the request that begins a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()), "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()


_OPEN: set[RawClient] = set()


def abort_all() -> None:
    """End what a test left open; a uvloop that ends with a connection open may never return."""
    for client in list(_OPEN):
        client.transport.abort()


class RawClient(asyncio.Protocol):
    """One connection; `frames` holds (opcode, payload) of everything that came after the 101."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.upgraded = False
        self.ended = False
        self.transport: asyncio.Transport
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        _OPEN.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.ended = True
        _OPEN.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        buffer = self._buffer
        buffer += data
        if not self.upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer)
            self.upgraded = True
            del buffer[: end + 4]
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
            if len(buffer) < start + size:
                return
            self.frames.append((buffer[0] & 0x0F, bytes(buffer[start : start + size])))
            if self.frames[-1][0] == PING:
                self.transport.write(frame(self.frames.pop()[1], PONG))
            elif self.frames[-1][0] == CLOSE:
                self.transport.close()
            del buffer[: start + size]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(data)

    def say(self, **message: object) -> None:
        """Send one message."""
        self.send(frame(json.dumps(message).encode()))

    def messages(self) -> list[dict[str, Any]]:
        """Return every message of the data stream that came."""
        found: list[dict[str, Any]] = []
        for opcode, payload in self.frames:
            if opcode == TEXT:
                found += json.loads(payload)
        return found

    @property
    def close_code(self) -> int | None:
        """The code of the close frame, None while none came."""
        for opcode, payload in self.frames:
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")
        return None

    def vanish(self) -> None:
        """End as if the cable was cut: no close frame, a reset."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:  # else the server was quicker
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def dial(
    port: int, path: str, headers: dict[str, str] | None = None, *, receive_bytes: int = 0
) -> RawClient:
    """Return a connection that asked for the upgrade; `receive_bytes` is the kernel's buffer."""
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    _, client = await loop.create_connection(RawClient, sock=sock)
    client.send(upgrade(path, headers))
    return client


async def dial_many(
    port: int, count: int, path: str, headers: dict[str, str], *, at_once: int = 200
) -> list[RawClient]:
    """Return many connections, opened `at_once` at a time."""
    clients: list[RawClient] = []
    while len(clients) < count:
        some = min(at_once, count - len(clients))
        clients += await asyncio.gather(*(dial(port, path, headers) for _ in range(some)))
    return clients


async def until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until a condition holds, or fail naming what did not come."""
    limit = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < limit, f"not within {limit_s} s: {what}"
        await asyncio.sleep(POLL_S)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds."""
    found: int = psutil.Process(pid).memory_info().rss
    return found
