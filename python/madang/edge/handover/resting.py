"""What HTTP connections between two requests have in common when they move.

Nothing is under way on them, so whether the move comes about changes nothing here, and the next
process takes one up like a connection it has just accepted.
"""

from __future__ import annotations

import asyncio
import socket


class Resting(asyncio.Protocol):
    """The part of `Mobile` and `Thawed` that is the same for every server."""

    def moved(self, taker: str) -> None:
        """See `Mobile`."""

    def stay(self) -> None:
        """See `Mobile`."""

    async def go_on(self, sock: socket.socket) -> None:
        """See `Thawed`."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self, sock)

    def discard(self) -> None:
        """See `Thawed`."""


def has_sent_all(transport: asyncio.Transport) -> bool:
    """Tell whether the connection stays open and nothing waits to be written."""
    return not transport.is_closing() and not transport.get_write_buffer_size()
