"""A hub connection's transport that remembers what is written to it."""

from __future__ import annotations

from madang.hub import Connection, Hub


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
        """Return short unmasked frames, decoded."""
        data = b"".join(self.writes)
        found = []
        while data:
            found.append(data[2 : 2 + data[1]].decode())
            data = data[2 + data[1] :]
        return found


def join(hub: Hub) -> tuple[Wire, Connection]:
    """Connect to a hub."""
    wire = Wire()
    return wire, hub.connect("127.0.0.1", wire)
