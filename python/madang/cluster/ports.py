"""The public ports: one listening SO_REUSEPORT socket per port and slot, open as long as we live.

A worker inherits the socket of its slot and so does its replacement, so the accept queue outlives
the worker. A first bind without SO_REUSEPORT makes sure that nobody else is on the port. The kernel
counts the sockets of a group in the order in which they came, so only the last is ever closed.
Sockets that systemd made beforehand come first; they stay when their slot goes, for the next one.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from madang.cluster import balance, steering
from madang.cluster.errors import PortTaken
from madang.cluster.handles import Share, given_socket, handle
from madang.cluster.settings import PortSettings

TCP_INFO_QUEUE = struct.Struct("=24xII")
"""tcpi_unacked and tcpi_sacked: where the socket listens, its accept queue and the queue's limit.
Source: tcp(7), tcp.h."""
SO_MEMINFO = 55
MEMINFO_DROPS = struct.Struct("=32xI")
"""SK_MEMINFO_DROPS: where the socket listens, what it had no room for. Source: sock_diag.h."""


class Queue(NamedTuple):
    """The accept queue of one slot's socket; `dropped` counts since it was opened."""

    waiting: int
    limit: int
    dropped: int


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
            listener = self._another()
        self.listeners.append(listener)

    def _another(self) -> socket.socket:
        """Make a socket of our own. Raises PortTaken."""
        try:
            return _listen(self._family, self.address, self._backlog)
        except PortTaken as error:
            if not self._given:
                raise
            count = len(self._given)
            text = (
                f"port {self.name} has {count} {'socket' if count == 1 else 'sockets'} from"
                " systemd, which only its own user can add to, and each instance needs one:"
                " repeat ListenStream= in the socket unit, once for each instance"
                f" ({error.message})"
            )
            raise PortTaken(text, **error.data) from error

    @property
    def places(self) -> int:
        """How many sockets the kernel knows of: those of the slots, and any more that were given.

        What came to the others before `steer` could say otherwise waits there for somebody.
        """
        return max(len(self.listeners), len(self._given))

    def at(self, place: int) -> int | None:
        """Return the descriptor of the socket at `place`, a slot or one that was given."""
        found = self.listeners if place < len(self.listeners) else self._given
        return found[place].fileno() if place < len(found) else None

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

    def leave(self) -> dict[str, object]:
        """Return what a successor needs to go on with these sockets."""
        return {
            "name": self.name,
            "listeners": [handle(listener) for listener in self.listeners],
        }

    @classmethod
    def take_over(
        cls, settings: PortSettings, backlog: int, share: Share, given: Sequence[socket.socket]
    ) -> Port:
        """Return the port that was left; nothing happens to its sockets."""
        port = cls.__new__(cls)
        port.name = settings.name
        port._backlog = backlog
        port._given = list(given)
        port.listeners = [given_socket(written) for written in share["listeners"]]
        port._family = port.listeners[0].family
        port.address = port.listeners[0].getsockname()[:2]
        port._program = []  # the next `steer` says the same again
        return port

    def queued(self, slot: int) -> int:
        """Return how many connections wait to be accepted from the socket of `slot`."""
        return self._look(slot)[0]

    def queue(self, slot: int) -> Queue:
        """Return the accept queue of `slot`."""
        raw = self.listeners[slot].getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO_DROPS.size)
        return Queue(*self._look(slot), int(MEMINFO_DROPS.unpack(raw)[0]))

    def _look(self, slot: int) -> tuple[int, int]:
        raw = self.listeners[slot].getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_QUEUE.size
        )
        waiting, limit = TCP_INFO_QUEUE.unpack(raw)
        return int(waiting), int(limit)

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
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _taken(*address[:2], error) from error


def _listen(family: socket.AddressFamily, address: tuple[str, int], backlog: int) -> socket.socket:
    with ExitStack() as undo:
        try:
            listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            undo.callback(listener.close)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(backlog)
        except OSError as error:
            raise _taken(*address[:2], error) from error
        undo.pop_all()
    return listener


def _taken(host: str, port: int, error: OSError) -> PortTaken:
    remedy = "choose another port or end what has it"
    if error.errno == errno.EACCES:
        remedy = "ports as low as this are for root and CAP_NET_BIND_SERVICE: choose a higher one"
    elif error.errno == errno.EADDRNOTAVAIL:
        remedy = "this machine has no such address"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        remedy = "run fewer processes or raise the limit of open files"
    text = f"cannot listen on {host}:{port}: {error.strerror}; {remedy}"
    return PortTaken(text, host=host, port=port)
