"""Takes the socket of a connection out of the event loop, without a word to the peer.

The transport is ended while a second descriptor keeps the connection open, so that neither a FIN
nor a reset goes out. Invariant: what the peer was not yet sent is known to the byte. uvloop goes on
writing until it calls `connection_lost` and closes its descriptor right behind that call, so the
rest is measured there; asyncio forgets the rest in `abort`, so there it is measured before.
"""

from __future__ import annotations

import asyncio
import os
import socket


class Detached(asyncio.Protocol):
    """The successor of a connection's protocol until the transport has ended."""

    def __init__(self, transport: asyncio.Transport) -> None:
        sock = transport.get_extra_info("socket")
        self.socket = socket.socket(fileno=os.dup(sock.fileno()))
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._measures_late = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        self.unsent_bytes = transport.get_write_buffer_size()
        transport.set_protocol(self)
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Measure what was not sent; the descriptor of the transport is closed after this."""
        if self._measures_late:
            self.unsent_bytes = self._transport.get_write_buffer_size()
        self.ended.set_result(None)


def is_plain(transport: asyncio.Transport) -> bool:
    """Tell whether a transport is a socket and no more; where TLS ends here it is not."""
    return transport.get_extra_info("sslcontext") is None
