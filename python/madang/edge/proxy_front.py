"""Before HTTP: the PROXY header of a balancer, which says whose connection this is.

With `[edge] proxy_protocol` every connection begins with one, and only networks of
`trusted_proxies` may connect. The HTTP protocol that follows sees the client's address as the
transport's peer name and is otherwise the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from madang.edge.state import ServerState
from madang.wire.proxy_protocol import ProxyHeaderError, parse_proxy_header


class ProxiedTransport:
    """A transport whose peer name is what the balancer said; all else is the real one's."""

    def __init__(self, transport: asyncio.Transport, peer: tuple[str, int]) -> None:
        self._transport = transport
        self._peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return the client's address as `peername`."""
        if name == "peername":
            return self._peer
        return self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> object:
        found: object = getattr(self._transport, name)
        return found


class ProxyFront(asyncio.Protocol):
    """One accepted connection until its PROXY header is read, then `make()` serves it."""

    def __init__(self, state: ServerState, make: Callable[[], asyncio.Protocol]) -> None:
        self.deadline_s = state.now_s + state.settings.header_timeout_ms / 1000
        self._state = state
        self._make = make
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let only a known balancer speak for others."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._state.proxies.trusts(address):
            self._end("refused_proxy_untrusted")
        else:
            self._state.protocols.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that ended before its header was whole."""
        self._state.protocols.discard(self)

    def data_received(self, data: bytes) -> None:
        """Read the header; what follows it goes to the protocol behind."""
        if self._transport.is_closing():
            return
        try:
            self._received += data
            header = parse_proxy_header(self._received)
        except ProxyHeaderError:
            self._end("refused_proxy_header")
            return
        if header is None:
            return
        self._state.protocols.discard(self)
        successor = self._make()
        transport: Any = self._transport
        if header.source is not None:
            transport = ProxiedTransport(self._transport, header.source)
        self._transport.set_protocol(successor)
        successor.connection_made(transport)
        rest = self._received[header.size :]
        if rest and not self._transport.is_closing():
            successor.data_received(rest)

    def on_deadline(self, now_s: float) -> None:
        """End a connection whose header does not come."""
        self._end("refused_proxy_timeout")

    def on_drain(self) -> None:
        """End: nothing was asked here."""
        self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._transport.abort()

    def _end(self, count: str) -> None:
        self._state.counts[count] += 1
        self._transport.abort()
