"""Many WebSocket clients that keep an account of what they hear; a process of its own.

`python -m bench.reload_listeners PORT PATH COUNT [--numbered]` prints `started` when every
client is connected (and has heard a number), and when its input ends one JSON object: connections
that were closed with their codes, numbers missed and repeated, the longest time without a number on
any one connection. A client that is closed does not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from typing import cast

import uvloop

CLOSE = 8
PING = 9
CONNECTING_MAX = 100
START_LIMIT_S = 60.0
_OFFSET = b'"offset":'
_MESSAGE = b'{"type":"message"'


class Listener(asyncio.Protocol):
    """One client."""

    def __init__(self, path: str) -> None:
        self.heard = 0
        self.missed = 0
        self.repeated = 0
        self.longest_gap_ns = 0
        self.ended = False
        self.code: int | None = None
        self.open = asyncio.get_running_loop().create_future()
        self._last = 0
        self._last_ns = 0
        self._buffer = b""
        self._upgraded = False
        self._path = path
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.ended = True
        if not self.open.done():
            self.open.set_exception(exc or ConnectionResetError("closed before it was open"))

    def data_received(self, data: bytes) -> None:
        """Take whole frames (the servers' are never longer than 65,535 bytes here)."""
        data = self._buffer + data if self._buffer else data
        at = 0
        if not self._upgraded:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._buffer = data
                return
            self._upgraded = True
            if not data.startswith(b"HTTP/1.1 101"):
                self._transport.abort()
                return
            self.open.set_result(None)
        end = len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if end < start + size:
                break
            self._take(data[at] & 0x0F, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if payload.startswith(_MESSAGE):
            self._count(payload)
        elif opcode == PING:
            self._transport.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)
        elif opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            self._transport.close()

    def _count(self, payload: bytes) -> None:
        at = payload.index(_OFFSET) + len(_OFFSET)
        offset = int(payload[at : payload.index(b",", at)])
        now_ns = time.monotonic_ns()
        if self._last:
            self.missed += max(0, offset - self._last - 1)
            self.repeated += offset <= self._last
            self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self._last_ns)
        self._last, self._last_ns = max(offset, self._last), now_ns
        self.heard += 1

    def silent_until(self, now_ns: int) -> None:
        """Count the time since the last number as a gap, for one that hears no more."""
        if self._last and not self.ended:
            self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self._last_ns)

    def end(self) -> None:
        """Go."""
        self._transport.abort()


async def connect_all(host: str, port: int, path: str, count: int) -> list[Listener]:
    """Connect, a few at a time."""
    loop = asyncio.get_running_loop()
    listeners: list[Listener] = []
    for at in range(0, count, CONNECTING_MAX):
        made = [
            loop.create_connection(lambda: Listener(path), host, port)
            for _ in range(min(CONNECTING_MAX, count - at))
        ]
        fresh = [protocol for _, protocol in await asyncio.gather(*made)]
        await asyncio.gather(*(listener.open for listener in fresh))
        listeners += fresh
    return listeners


async def run(host: str, port: int, path: str, count: int, *, numbered: bool) -> dict[str, object]:
    """Listen until the input ends; return the account."""
    listeners = await connect_all(host, port, path, count)
    if numbered:
        async with asyncio.timeout(START_LIMIT_S):
            while not all(listener.heard for listener in listeners):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    print("started", flush=True)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), over.set)
    await over.wait()
    loop.remove_reader(sys.stdin.fileno())
    now_ns = time.monotonic_ns()
    for listener in listeners:
        listener.silent_until(now_ns)
    closed = [listener for listener in listeners if listener.ended or listener.code is not None]
    account: dict[str, object] = {
        "closed": len(closed),
        "codes": dict(Counter(str(listener.code) for listener in closed)),
        "heard": sum(listener.heard for listener in listeners),
        "missed": sum(listener.missed for listener in listeners),
        "repeated": sum(listener.repeated for listener in listeners),
        "longest_gap_ms": max(listener.longest_gap_ns for listener in listeners) / 1e6,
    }
    for listener in listeners:
        listener.end()
    return account


def main() -> None:
    """Parse the command line, run, print the account."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("count", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--numbered", action="store_true", help="the stream is numbered")
    given = parser.parse_args()
    print(
        json.dumps(
            uvloop.run(
                run(given.host, given.port, given.path, given.count, numbered=given.numbered)
            )
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
