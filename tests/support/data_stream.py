"""A plain client of the data stream, in either codec, that keeps books as the guide says."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgpack
from websockets.sync.client import ClientConnection, connect

LIMIT_S = 20.0
Message = dict[str, Any]


class DataClient:
    """One connection; `received` holds every message in order."""

    def __init__(self, connection: ClientConnection, packed: bool) -> None:
        self.connection = connection
        self.received: list[Message] = []
        self._packed = packed

    def send(self, **message: object) -> None:
        """Send one message in this client's codec."""
        self.connection.send(msgpack.packb(message) if self._packed else json.dumps(message))

    def read(self, timeout_s: float = LIMIT_S) -> list[Message]:
        """Return the messages of the next frame."""
        frame = self.connection.recv(timeout_s)
        assert isinstance(frame, bytes) is self._packed
        if isinstance(frame, bytes):
            found = msgpack.unpackb(frame)
        else:
            found = json.loads(frame, parse_float=Decimal)
        assert isinstance(found, list)
        assert found
        self.received += found
        return found

    def until(self, condition: Callable[[Message], bool]) -> Message:
        """Read until a message fits, and return it."""
        limit_s = time.monotonic() + LIMIT_S
        while True:
            assert time.monotonic() < limit_s, self.received[-5:]
            for message in self.read():
                if condition(message):
                    return message

    def subscribe(self, **lists: list[str]) -> Message:
        """Subscribe and return the answer."""
        self.send(action="subscribe", **lists)
        return self.until(lambda m: m["T"] in ("subscription", "error"))


@contextmanager
def data_client(
    url: str, headers: dict[str, str] | None = None, *, packed: bool = False
) -> Iterator[DataClient]:
    """Yield a client that has read `connected`, and `authenticated` where headers sign it in."""
    sent = dict(headers or {})
    if packed:
        sent["Content-Type"] = "application/msgpack"
    with connect(url, additional_headers=sent, max_size=None) as connection:
        client = DataClient(connection, packed)
        assert client.read() == [{"T": "success", "msg": "connected"}]
        if headers:
            assert client.read() == [{"T": "success", "msg": "authenticated"}]
        yield client


class Book:
    """A book kept from `o` messages."""

    def __init__(self) -> None:
        self.sequence = -1
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self, message: Message) -> None:
        """Follow a message; it must lead on from what stands and to its checksum."""
        if message.get("r"):
            self.bids, self.asks = {}, {}
        else:
            assert message["pu"] == self.sequence
        for levels, changes in ((self.bids, message["b"]), (self.asks, message["a"])):
            for level in changes:
                price, size = round(level["p"] * 10_000), round(level["s"] * 10**9)
                if size:
                    levels[price] = size
                else:
                    del levels[price]
        self.sequence = message["u"]
        assert message["cs"] == self.checksum()

    def checksum(self) -> int:
        """Return the CRC-32 of the ten best bids and asks."""
        best = [*sorted(self.bids.items(), reverse=True)[:10], *sorted(self.asks.items())[:10]]
        return zlib.crc32("|".join(f"{price}:{size}" for price, size in best).encode())
