"""A hub connection's transport that remembers what is written to it."""

from __future__ import annotations

from madang.hub import Connection, Hub

LENGTH_FOLLOWS = 126


class Wire:
    """A transport that remembers what is written."""

    def __init__(self) -> None:
        self.writable = True
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.writes.append(data)

    def begin_close(self, code: int, reason: str) -> None:
        """Note how the connection is closed."""
        self.closed = (code, reason)

    def messages(self) -> list[str]:
        """Return unmasked frames of less than 64 KiB, decoded."""
        data = b"".join(self.writes)
        found = []
        while data:
            start, length = 2, data[1]
            if length == LENGTH_FOLLOWS:
                start, length = 4, int.from_bytes(data[2:4], "big")
            found.append(data[start : start + length].decode())
            data = data[start + length :]
        return found


def join(hub: Hub) -> tuple[Wire, Connection]:
    """Connect to a hub."""
    wire = Wire()
    return wire, hub.connect("127.0.0.1", wire)
