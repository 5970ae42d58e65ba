"""The public ports: one listening SO_REUSEPORT socket per port and slot, open as long as we live.

A worker inherits the socket of its slot and so does its replacement, so the accept queue outlives
the worker. A first bind without SO_REUSEPORT makes sure that nobody else is on the port.
"""

from __future__ import annotations

import socket

from madang.cluster import steering
from madang.cluster.errors import PortTaken
from madang.cluster.settings import PortSettings


class Port:
    """The sockets of one public port, in slot order."""

    def __init__(self, settings: PortSettings, slots: int, backlog: int) -> None:
        self.name = settings.name
        family, address = _resolve(settings)
        if address[1] != 0:
            _probe(family, address)
        self.listeners: list[socket.socket] = []
        for _ in range(slots):
            listener = _listen(family, address, backlog)
            self.listeners.append(listener)
            address = listener.getsockname()
        self.address: tuple[str, int] = (address[0], address[1])
        self._live: frozenset[int] | None = None
        self.steer(frozenset())

    def steer(self, live: frozenset[int]) -> None:
        """Send new connections to the `live` slots only."""
        if live != self._live:
            steering.attach(self.listeners[0], steering.program(live, len(self.listeners)))
            self._live = live

    def close(self) -> None:
        """Stop listening; what is still queued is reset."""
        for listener in self.listeners:
            listener.close()


def _resolve(settings: PortSettings) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise _taken(settings.host, settings.port, error) from error
    return found[0][0], (str(found[0][4][0]), int(found[0][4][1]))


def _probe(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise _taken(*address[:2], error) from error


def _listen(family: socket.AddressFamily, address: tuple[str, int], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise _taken(*address[:2], error) from error
    return listener


def _taken(host: str, port: int, error: OSError) -> PortTaken:
    text = (
        f"cannot listen on {host}:{port}: {error.strerror}; choose another port or end what has it"
    )
    return PortTaken(text, host=host, port=port)
