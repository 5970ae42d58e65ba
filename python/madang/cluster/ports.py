"""The public ports: one listening SO_REUSEPORT socket per port and slot, open as long as we live.

A worker inherits the socket of its slot and so does its replacement, so the accept queue outlives
the worker. A first bind without SO_REUSEPORT makes sure that nobody else is on the port. The kernel
counts the sockets of a group in the order in which they came, so only the last is ever closed.
Sockets that systemd made beforehand come first; they stay when their slot goes, for the next one.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence

from madang.cluster import balance, steering
from madang.cluster.errors import PortTaken
from madang.cluster.settings import PortSettings

TCP_INFO_UNACKED = struct.Struct("=24xI")
"""tcpi_unacked, which counts the accept queue where the socket listens. Source: tcp(7), tcp.h."""


class Port:
    """The sockets of one public port, in slot order."""

    def __init__(
        self,
        settings: PortSettings,
        slots: int,
        backlog: int,
        given: Sequence[socket.socket] = (),
    ) -> None:
        """Listen with one socket for each slot; those `given` are used before any is made."""
        self.name = settings.name
        self._backlog = backlog
        self._given = [_adopted(settings.name, listener) for listener in given]
        self._family, address = _resolve(settings)
        if given:
            self._family, address = given[0].family, given[0].getsockname()
        elif address[1] != 0:
            _probe(self._family, address)
        self.address: tuple[str, int] = (address[0], address[1])
        self.listeners: list[socket.socket] = []
        try:
            for _ in range(slots):
                self.add()
                self.address = self.listeners[-1].getsockname()[:2]
        except PortTaken:
            self.close()
            raise
        self._program: list[steering.Instruction] = []
        self.steer(frozenset(), {})

    def add(self) -> None:
        """Open the socket of one more slot; it gets nothing before the next `steer`."""
        if len(self.listeners) < len(self._given):
            listener = self._given[len(self.listeners)].dup()
            listener.listen(self._backlog)
        else:
            listener = _listen(self._family, self.address, self._backlog)
        self.listeners.append(listener)

    def remove(self) -> None:
        """Close the socket of the last slot, in every process that has it, once it is drained."""
        listener = self.listeners.pop()
        if len(self.listeners) >= len(self._given):
            listener.shutdown(socket.SHUT_RD)
        listener.close()

    def steer(self, live: frozenset[int], shares: Mapping[int, float]) -> None:
        """Send new connections to the `live` slots only: by `shares`, evenly without them."""
        if shares:
            code = steering.weighted_program(balance.thresholds(shares))
        else:
            code = steering.program(live, len(self.listeners))
        if code != self._program:
            steering.attach(self.listeners[0], code)
            self._program = code

    def queued(self, slot: int) -> int:
        """Return how many connections wait to be accepted from the socket of `slot`."""
        raw = self.listeners[slot].getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_UNACKED.size
        )
        return int(TCP_INFO_UNACKED.unpack(raw)[0])

    def close(self) -> None:
        """Stop listening; what is still queued is reset."""
        for listener in self.listeners:
            listener.close()


def _adopted(name: str, listener: socket.socket) -> socket.socket:
    """Return a socket that systemd made. Raises PortTaken where it cannot be one of a group."""
    host, port = listener.getsockname()[:2]
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        text = f"the socket unit of {name} needs ReusePort=yes"
        raise PortTaken(text, host=host, port=port)
    return listener


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
